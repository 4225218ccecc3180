"""The temperature is the exact minimiser of the NLL, or says that it is not determined."""

import pytest
import torch
from scipy.optimize import minimize_scalar

from softtargets.calibration import TemperatureScaling, accuracy, negative_log_likelihood
from softtargets.calibration import temperature as temperature_module


def by_scipy(logits, labels):
    def loss(inverse):
        return float(negative_log_likelihood(logits.double() * inverse, labels))

    return (
        1 / minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10}).x
    )


@pytest.mark.parametrize("sharpness", [0.2, 0.7, 1.0, 1.4, 3.0, 10.0])
@pytest.mark.parametrize("num_classes", [2, 10])
def test_equals_scipy(make_predictions, sharpness, num_classes):
    logits, labels = make_predictions(400, num_classes, sharpness=sharpness)
    scaling = TemperatureScaling().fit(logits, labels)
    # A minimum found from values alone is good to the square root of their rounding.
    assert scaling.temperature == pytest.approx(by_scipy(logits, labels), rel=1e-6)
    assert scaling.improved
    assert not scaling.at_bound


def test_slope_of_the_loss_vanishes(make_predictions):
    logits, labels = make_predictions(400, sharpness=2.0)
    inverse = torch.tensor(
        1 / TemperatureScaling().fit(logits, labels).temperature,
        dtype=torch.float64,
        requires_grad=True,
    )
    torch.nn.functional.cross_entropy(logits * inverse, labels).backward()
    assert abs(float(inverse.grad)) < 1e-12


def test_scales_with_the_logits(make_predictions):
    logits, labels = make_predictions(300)
    once = TemperatureScaling().fit(logits, labels).temperature
    thrice = TemperatureScaling().fit(3 * logits, labels).temperature
    assert thrice == pytest.approx(3 * once, rel=1e-12)


def test_blocks_and_order_change_nothing(make_predictions, monkeypatch):
    logits, labels = make_predictions(100, sharpness=2.0)
    at_once = TemperatureScaling().fit(logits, labels).temperature
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(temperature_module, "_BLOCK_ELEMENTS", 70)
    blocked = TemperatureScaling().fit(logits[order], labels[order]).temperature
    assert blocked == pytest.approx(at_once, rel=1e-12)


def test_split_without_errors_is_at_the_bound():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    scaling = TemperatureScaling().fit(logits, torch.tensor([0, 1]))
    assert (scaling.temperature, scaling.at_bound, scaling.improved) == (0.05, True, True)


def test_useless_model_is_at_the_bound():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    scaling = TemperatureScaling().fit(logits, torch.tensor([1, 0]))
    assert (scaling.temperature, scaling.at_bound, scaling.improved) == (20.0, True, True)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.full((3, 4), 7.0), [0, 1, 2]),  # no temperature changes anything
        (torch.zeros(2, 1), [0, 0]),  # one class
        (torch.tensor([[1000.0, 0.0]]), [0]),  # the NLL is 0 already
        (torch.tensor([[1.0, 0.0]] * 4).mul(3).log_softmax(-1), [0, 0, 0, 0]),
    ],
)
def test_stays_at_one_unless_the_loss_falls(logits, labels):
    labels = torch.tensor(labels)
    scaling = TemperatureScaling().fit(logits, labels)
    before = negative_log_likelihood(logits, labels)
    after = negative_log_likelihood(scaling(logits.double()), labels)
    assert (after < before) == scaling.improved
    if not scaling.improved:
        assert scaling.temperature == 1
        assert not scaling.at_bound


def test_calibrated_logits_stay():
    """Frequencies equal to the probabilities: T = 1 is the minimum already."""
    logits = torch.tensor([[3.0, 1.0]], dtype=torch.float64).log().expand(4, 2)
    scaling = TemperatureScaling().fit(logits, torch.tensor([0, 0, 0, 1]))
    assert scaling.temperature == pytest.approx(1, abs=1e-7)


def test_masked_classes(make_predictions):
    logits, labels = make_predictions(300, 6, sharpness=2.0)
    padding = torch.full((300, 2), -torch.inf, dtype=logits.dtype)
    masked = torch.cat([logits, padding], 1)
    expected = TemperatureScaling().fit(logits, labels)
    scaling = TemperatureScaling().fit(masked, labels)
    assert scaling.temperature == pytest.approx(expected.temperature, rel=1e-12)
    assert torch.equal(scaling(masked)[:, 6:], padding)
    with pytest.raises(ValueError, match="finite at each sample's label"):
        TemperatureScaling().fit(masked, torch.full((300,), 7))


def test_large_offsets_do_not_matter(make_predictions):
    logits, labels = make_predictions(300, sharpness=2.0)
    expected = TemperatureScaling().fit(logits, labels).temperature
    shifted = TemperatureScaling().fit(logits + 1e4, labels).temperature
    assert shifted == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_call_keeps_dtype_gradient_and_predictions(make_predictions, dtype):
    logits, labels = make_predictions(100, sharpness=2.0)
    narrow = logits.to(dtype).requires_grad_()
    scaling = TemperatureScaling().fit(narrow, labels)
    scaled = scaling(narrow)
    assert scaled.dtype == dtype
    assert scaled.requires_grad
    assert accuracy(scaling(logits), labels) == accuracy(logits, labels)


@pytest.mark.parametrize("name", ["temperature", "at_bound", "improved"])
def test_use_before_fit_is_an_error(name):
    with pytest.raises(RuntimeError, match=r"must be fitted before use; call `\.fit"):
        getattr(TemperatureScaling(), name)
    with pytest.raises(RuntimeError, match="must be fitted"):
        TemperatureScaling()(torch.zeros(1, 2))
