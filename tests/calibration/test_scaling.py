"""Scaling class by class: the minimum scipy finds, refused where it does not carry over."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn

import softtargets
from softtargets.calibration import (
    ClasswiseTemperatureScaling,
    TemperatureScaling,
    VectorScaling,
    accuracy,
    newton,
)
from softtargets.calibration import negative_log_likelihood as nll

BY_CLASS = [VectorScaling, ClasswiseTemperatureScaling]
EVERY = [TemperatureScaling, *BY_CLASS]


def uneven(make_predictions, num_samples, num_classes, seed=0):
    """Logits whose classes were stretched and shifted differently, so that there is much to fit."""
    logits, labels = make_predictions(num_samples, num_classes, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    stretch = torch.rand(num_classes, generator=generator, dtype=torch.float64) * 2 + 0.3
    return logits * stretch + torch.randn(num_classes, generator=generator).double(), labels


def least_by_scipy(logits, labels, biased):
    num_classes = logits.shape[1]
    bounds = [(1 / 20, 20.0)] * num_classes + [(-20.0, 20.0)] * (num_classes * biased)

    def loss(values):
        parameters = torch.tensor(values, requires_grad=True)
        scale, bias = parameters[:num_classes], parameters[num_classes:]
        scores = logits.masked_fill(logits == -torch.inf, 0) * scale + (bias if biased else 0)
        scores = scores.masked_fill(logits == -torch.inf, -torch.inf)
        value = nn.functional.cross_entropy(scores, labels)
        value.backward()
        return value.item(), parameters.grad.numpy()

    start = np.repeat([1.0, 0.0], [num_classes, num_classes * biased])
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.fun


@pytest.mark.parametrize("kind", BY_CLASS)
@pytest.mark.parametrize(("num_samples", "num_classes"), [(300, 2), (400, 5), (60, 20)])
def test_equals_scipy(make_predictions, kind, num_samples, num_classes):
    logits, labels = uneven(make_predictions, num_samples, num_classes)
    scaling = kind().fit(logits, labels, folds=None)
    expected = least_by_scipy(logits, labels, kind is VectorScaling)
    assert float(nll(scaling(logits), labels)) == pytest.approx(expected, abs=1e-7)
    assert scaling.improved
    assert not scaling.refused


@pytest.mark.parametrize("kind", BY_CLASS)
def test_masked_classes(make_predictions, kind):
    logits, labels = uneven(make_predictions, 300, 6)
    generator = torch.Generator().manual_seed(1)
    masked = torch.rand(logits.shape, generator=generator) < 0.2
    masked[torch.arange(300), labels] = False
    logits = logits.masked_fill(masked, -torch.inf)
    scaling = kind().fit(logits, labels, folds=None)
    expected = least_by_scipy(logits, labels, kind is VectorScaling)
    assert float(nll(scaling(logits), labels)) == pytest.approx(expected, abs=1e-7)
    assert torch.equal(scaling(logits) == -torch.inf, masked)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 40), st.sampled_from(BY_CLASS))
def test_nothing_within_the_bounds_is_better(seed, num_classes, num_samples, kind):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_samples, num_classes, dtype=torch.float64, generator=generator)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    scaling = kind().fit(logits, labels, folds=None)
    least = nll(scaling(logits), labels)
    single = TemperatureScaling().fit(logits, labels)
    assert least <= nll(logits / single.temperature, labels) + 1e-12
    fit = scaling.get_extra_state()
    for size in (1e-3, 0.1, 1.0):
        moves = torch.randn(20, 2, num_classes, dtype=torch.float64, generator=generator) * size
        for by_scale, by_bias in moves:
            other = logits * (fit["scale"] + by_scale).clamp(0.05, 20)
            if fit["bias"] is not None:
                other = other + (fit["bias"] + by_bias).clamp(-20, 20)
            assert least <= nll(other, labels) + 1e-10


@pytest.mark.parametrize("kind", BY_CLASS)
def test_blocks_change_nothing(make_predictions, monkeypatch, kind):
    logits, labels = uneven(make_predictions, 100, 5)
    at_once = nll(kind().fit(logits, labels, folds=None)(logits), labels)
    monkeypatch.setattr(newton, "_BLOCK_ELEMENTS", 200)
    monkeypatch.setattr(newton, "_MOST_KEPT", 0)
    blocked = nll(kind().fit(logits, labels, folds=None)(logits), labels)
    torch.testing.assert_close(blocked, at_once, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", BY_CLASS)
def test_noise_is_refused_and_structure_is_not(make_predictions, kind):
    logits, labels = make_predictions(150, 30, sharpness=2.0)
    new, new_labels = make_predictions(2000, 30, sharpness=2.0, seed=1)
    fitted = kind().fit(logits, labels, folds=None)
    assert nll(fitted(new), new_labels) > nll(new / fitted.temperature, new_labels)
    cautious = kind().fit(logits, labels)
    assert cautious.refused
    torch.testing.assert_close(cautious(new), new / cautious.temperature)
    assert repr(cautious).endswith(", refused: the single temperature stays)")

    logits, labels = uneven(make_predictions, 1000, 4)
    assert not kind().fit(logits, labels).refused


@pytest.mark.parametrize("kind", BY_CLASS)
def test_what_is_accepted_beats_the_temperature_on_new_samples(make_predictions, kind):
    logits, labels = uneven(make_predictions, 4000, 5)
    scaling = kind().fit(logits[:2000], labels[:2000])
    single = TemperatureScaling().fit(logits[:2000], labels[:2000])
    assert nll(scaling(logits[2000:]), labels[2000:]) < nll(single(logits[2000:]), labels[2000:])


def test_parameters_of_a_known_distortion(make_predictions):
    logits, labels = make_predictions(10_000, 3, scale=1.0)
    stretch = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    by_class = ClasswiseTemperatureScaling().fit(logits * stretch, labels, folds=None)
    torch.testing.assert_close(by_class.temperatures, stretch, rtol=0.1, atol=0)
    shift = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    vector = VectorScaling().fit(logits * stretch + shift, labels, folds=None)
    torch.testing.assert_close(vector.scale, 1 / stretch, rtol=0.1, atol=0)
    # A bias added to all classes says nothing.
    bias = vector.bias - vector.bias.mean()
    expected = -shift / stretch
    torch.testing.assert_close(bias, expected - expected.mean(), rtol=0, atol=0.1)


@pytest.mark.parametrize("kind", EVERY)
def test_a_split_without_errors_is_at_the_bound(kind):
    logits = 4 * torch.eye(3).repeat(5, 1) + torch.rand(15, 3)
    scaling = kind().fit(logits, torch.arange(3).repeat(5))
    assert scaling.at_bound
    assert scaling.improved
    assert scaling.temperature == 0.05
    assert "underconfident, at_bound" in repr(scaling)
    assert scaling(logits).isfinite().all()


@pytest.mark.parametrize("kind", BY_CLASS)
def test_nothing_to_gain(kind):
    scaling = kind().fit(torch.zeros(30, 3), torch.arange(3).repeat(10), folds=None)
    assert scaling.refused
    assert not scaling.improved
    assert not scaling.at_bound
    assert torch.equal(scaling(torch.ones(2, 3)), torch.ones(2, 3))


def test_a_search_that_does_not_end_is_an_error(make_predictions, monkeypatch):
    monkeypatch.setattr(newton, "_MAX_STEPS", 1)
    with pytest.raises(RuntimeError, match="no minimum of the NLL within 1 steps"):
        VectorScaling().fit(*uneven(make_predictions, 100, 3))


def test_a_class_without_samples_is_at_the_bound(make_predictions):
    logits, labels = make_predictions(200, 4)
    kept = labels != 3
    scaling = VectorScaling().fit(logits[kept], labels[kept], folds=None)
    assert scaling.at_bound
    assert scaling(logits)[kept].softmax(-1)[:, 3].mean() < 1e-6
    assert scaling(logits).isfinite().all()


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_dtype(make_predictions, kind, dtype):
    logits, labels = uneven(make_predictions, 200, 4)
    narrow = logits.to(dtype).requires_grad_()
    fitted = kind().fit(narrow, labels)
    scaled = fitted(narrow)
    assert scaled.dtype == dtype
    exact = kind().fit(narrow.detach().double(), labels)(narrow.detach().double())
    torch.testing.assert_close(scaled.detach(), exact.to(dtype))
    scaled.sum().backward()
    assert narrow.grad.dtype == dtype
    assert narrow.grad.isfinite().all()


@pytest.mark.parametrize("kind", EVERY)
def test_is_a_module(make_predictions, kind, tmp_path):
    logits, labels = uneven(make_predictions, 200, 4)
    scaling = kind().fit(logits, labels)
    expected = scaling(logits)
    torch.save(scaling.state_dict(), tmp_path / "scaling.pt")
    loaded = kind()
    loaded.load_state_dict(torch.load(tmp_path / "scaling.pt", weights_only=True))
    halved = copy.deepcopy(scaling).half()
    behind = nn.Sequential(nn.Identity(), scaling)
    for other in (loaded, halved, behind, pickle.loads(pickle.dumps(scaling))):
        assert torch.equal(other(logits), expected)
    assert repr(loaded) == repr(scaling)
    assert list(scaling.parameters()) == []
    empty = kind()
    empty.load_state_dict(kind().state_dict())
    assert repr(empty) == f"{kind.__name__}(not fitted)"


@pytest.mark.parametrize("kind", BY_CLASS)
def test_errors(make_predictions, kind):
    logits, labels = make_predictions(20, 4)
    with pytest.raises(RuntimeError, match=f"`{kind.__name__}` must be fitted before use"):
        kind()(logits)
    with pytest.raises(RuntimeError, match="must be fitted"):
        kind().refused  # noqa: B018
    with pytest.raises(ValueError, match=r"must have 4 classes .* got shape \(20, 3\)"):
        kind().fit(logits, labels)(logits[:, :3])
    masked = logits.masked_fill(nn.functional.one_hot(labels, 4).bool(), -torch.inf)
    with pytest.raises(ValueError, match="finite at each sample's label"):
        kind().fit(masked, labels)
    with pytest.raises(ValueError, match=r"`folds` must be in 2 \.\. 20.*got 21"):
        kind().fit(logits, labels, folds=21)


def test_fitted_by_smoothing_is_underconfident():
    """Label smoothing holds a model back; scaling gives the confidence back, T < 1."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, digits = datasets.load_digits(return_X_y=True)
    inputs, labels = torch.from_numpy(images).float() / 16, torch.from_numpy(digits)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    training, fitting, testing = order.split([1000, 400, 397])
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = softtargets.cross_entropy(model(inputs[training]), labels[training], smoothing=0.3)
        loss.backward()
        optimizer.step()
    logits = model(inputs).detach()
    scaling = TemperatureScaling().fit(logits[fitting], labels[fitting])
    assert scaling.underconfident
    assert not scaling.at_bound
    assert repr(scaling).endswith(", underconfident)")
    held, answers = logits[testing], labels[testing]
    assert nll(scaling(held), answers) < 0.7 * nll(held, answers)
    assert accuracy(scaling(held), answers) == accuracy(held, answers)


# netcal 1.4.0, `TemperatureScaling().fit` on the probabilities in float64 (on float32 ones it
# stays at 1): temperature, and NLL of what it returns.
NETCAL = {
    "c10_lenet5": (1.39677948, 1.3114974370624),
    "c10_wrn16_4": (2.05254428, 0.2744869690450),
    "c100_densenet_bc100": (2.11760232, 0.8766141622372),
    "c100_wrn16_4": (1.11114601, 0.9474552423589),
}


@pytest.mark.parametrize("model", list(NETCAL))
def test_agrees_with_netcal(shared_data, model):
    with np.load(shared_data / "calibration" / "netcal_cifar_probs.npz") as arrays:
        probs = torch.from_numpy(arrays[f"{model}_probs"]).double()
        labels = torch.from_numpy(arrays[f"y_{model.split('_')[0]}"]).long()
    eps = torch.finfo(torch.float64).eps
    logits = probs.clamp(eps, 1 - eps).log()  # netcal's clipping
    scaling = TemperatureScaling().fit(logits, labels)
    temperature, loss = NETCAL[model]
    assert scaling.temperature == pytest.approx(temperature, rel=5e-6)
    assert float(nll(scaling(logits), labels)) == pytest.approx(loss, rel=1e-8)
