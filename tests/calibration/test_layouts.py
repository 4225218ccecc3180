"""Every metric in every layout: the same number as for the rows that count, flattened."""

import pytest
import torch

from softtargets import calibration
from softtargets.calibration.samples import Samples
from tests.calibration.metrics import EVERY


@pytest.fixture
def maps(make_predictions):
    """Probabilities (4, 5, 3, 6), labels (4, 3, 6), a fifth of them ignored, and the rows kept."""
    logits, labels = make_predictions(72, 5, sharpness=1.5)
    probs = logits.softmax(-1)
    ignored = torch.rand(72, generator=torch.Generator().manual_seed(1)) < 0.2
    rows, kept = probs[~ignored], labels[~ignored]
    labels = labels.masked_fill(ignored, -100).view(4, 3, 6)
    return probs.view(4, 3, 6, 5).movedim(-1, 1).contiguous(), labels, rows, kept


@pytest.fixture(params=[None, 40, 10**9], ids=lambda size: f"blocks of {size}")
def _blocks(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr("softtargets.calibration.samples._BLOCK_ELEMENTS", request.param)
        monkeypatch.setattr("softtargets.calibration.binning._BLOCK_ELEMENTS", request.param)


def same(actual, expected):
    torch.testing.assert_close(
        torch.as_tensor(actual), torch.as_tensor(expected), rtol=1e-12, atol=1e-14
    )


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_any_layout(metric, maps):
    probs, labels, rows, kept = maps
    expected = metric(rows, kept)
    same(metric(probs, labels), expected)
    # The same with other strides, the classes last or first, and another index to ignore.
    same(metric(probs.movedim(1, -1), labels, class_dim=-1), expected)
    same(metric(probs.movedim(1, 0), labels, class_dim=0), expected)
    voc = labels.masked_fill(labels == -100, 255).to(torch.uint8)
    same(metric(probs, voc, ignore_index=255), expected)
    tokens = probs.movedim(1, -1).flatten(1, 2)
    same(metric(tokens, labels.flatten(1), class_dim=-1), expected)


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_what_is_ignored_is_not_read(metric, maps):
    probs, labels, rows, kept = maps
    poisoned = probs.movedim(1, -1).clone()
    poisoned[labels == -100] = torch.nan
    same(metric(poisoned, labels, class_dim=-1), metric(rows, kept))


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_nothing_left_is_an_error(metric):
    with pytest.raises(ValueError, match="at least one label, all 2 are `ignore_index`, -100"):
        metric(torch.full((2, 2), 0.5), torch.tensor([-100, -100]))


@pytest.mark.parametrize("name", [name for name in EVERY if "curve" not in name])
def test_order_does_not_matter(name, make_predictions):
    logits, labels = make_predictions(80, 4)
    probs = logits.softmax(-1).half()
    metric, generator = EVERY[name], torch.Generator().manual_seed(3)
    order = torch.randperm(80, generator=generator)
    same(metric(probs[order], labels[order]), metric(probs, labels))
    classes = torch.randperm(4, generator=generator)
    renamed = classes.argsort()[labels]
    same(metric(probs[:, classes], renamed), metric(probs, labels))


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes(metric, dtype, make_predictions):
    logits, labels = make_predictions(60, 4)
    # Quarters: a distribution in every dtype.
    counts = torch.nn.functional.one_hot((4 * logits).softmax(-1).multinomial(4), 4).sum(1)
    probs = counts.clamp_min(0).double() / 4 * 0.96875 + 0.0078125
    same(metric(probs.to(dtype), labels), metric(probs, labels))
    assert torch.as_tensor(metric(probs.to(dtype), labels)).dtype != dtype


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_one_sample_and_one_class(metric):
    for probs in (torch.tensor([[0.75, 0.25]]), torch.ones(1, 1), torch.ones(3, 1)):
        value = torch.as_tensor(metric(probs, torch.zeros(len(probs), dtype=torch.int64)))
        assert bool(value.isfinite().all())


def test_nothing_is_copied_whole(maps):
    probs, labels, _, _ = maps
    samples = Samples.of(probs, labels, "probs")
    assert samples.scores.data_ptr() == probs.data_ptr()
    blocks = list(samples.row_blocks())
    assert sum(len(rows) for rows, _ in blocks) == samples.num_samples


def test_places_are_named(maps, monkeypatch):
    probs, labels, _, _ = maps
    labels[2, 1, 4] = 3
    probs[2, :, 1, 4] = 0.5
    for size in (10, 10**6):
        monkeypatch.setattr("softtargets.calibration.samples._BLOCK_ELEMENTS", size)
        with pytest.raises(ValueError, match=r"position \(2, 1, 4\) sums to 2\.5"):
            calibration.brier_score(probs, labels)
    labels[1, 0, 3] = 5
    with pytest.raises(ValueError, match=r"in 0 \.\. 4, got 5 at \(1, 0, 3\); mark what has no l"):
        calibration.brier_score(probs, labels)
    with pytest.raises(
        ValueError, match=r"\(4, 5, 3\), that of `probs` without.* 3, got \(4, 3, 6"
    ):
        calibration.brier_score(probs, labels, class_dim=3)
    with pytest.raises(ValueError, match="`class_dim` must be a dimension of `probs`, which has 4"):
        calibration.brier_score(probs, labels, class_dim=4)
    with pytest.raises(TypeError, match="`ignore_index` must be an integer, got NoneType"):
        calibration.brier_score(probs, labels, ignore_index=None)


def test_a_byte_label_is_not_minus_100():
    """In uint8, -100 would wrap around to 156."""
    probs = torch.full((2, 200), 1 / 200)
    labels = torch.tensor([156, 0], dtype=torch.uint8)
    assert float(calibration.accuracy(probs, labels)) == 0.5
    curve = calibration.reliability_curve(probs, labels)
    assert curve.count.tolist() == [2]
