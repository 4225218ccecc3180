"""Batched, at once, merged in any order: the same numbers, and those of the functions."""

import functools
import math
import operator
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets import calibration
from softtargets.calibration import ReliabilityCurve, StreamingCalibration

OF_PROBS = {
    "accuracy": calibration.accuracy,
    "brier_score": calibration.brier_score,
    "expected_calibration_error": calibration.expected_calibration_error,
    "expected_calibration_error_debiased": functools.partial(
        calibration.expected_calibration_error, debiased=True
    ),
    "classwise_calibration_error": calibration.classwise_calibration_error,
    "classwise_calibration_error_debiased": functools.partial(
        calibration.classwise_calibration_error, debiased=True
    ),
}
OF_RANKS = {
    "area_under_risk_coverage": calibration.area_under_risk_coverage,
    "excess_area_under_risk_coverage": calibration.excess_area_under_risk_coverage,
}


def streamed(labels, num_classes=10, **arguments):
    stream = StreamingCalibration(num_classes, class_wise=True)
    stream.update(labels, **arguments)
    return stream.compute()


def assert_same(found, expected, **tolerances):
    for name in [*OF_PROBS, *OF_RANKS, "negative_log_likelihood"]:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), **tolerances), name


@pytest.mark.parametrize("num_classes", [1, 2, 10, 200])
@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_equals_the_functions(make_predictions, num_classes, kind):
    logits, labels = make_predictions(700, num_classes, sharpness=1.5)
    probs = logits.softmax(-1)
    found = streamed(labels, num_classes, **{kind: probs if kind == "probs" else logits})
    for name, function in OF_PROBS.items():
        assert getattr(found, name) == pytest.approx(float(function(probs, labels)), rel=1e-9), name
    expected = float(calibration.negative_log_likelihood(logits, labels))
    assert found.negative_log_likelihood == pytest.approx(expected, rel=1e-9)
    for name, function in OF_RANKS.items():
        assert getattr(found, name) == pytest.approx(float(function(probs, labels)), abs=1e-3), name
    assert found.num_samples == 700


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_logits(make_predictions, dtype):
    logits, labels = make_predictions(500, 20)
    narrow = logits.to(dtype)
    found = streamed(labels, 20, logits=narrow)
    exact = streamed(labels, 20, logits=narrow.double())
    assert_same(found, exact, abs=3e-7)


def test_saturated_and_masked_logits():
    logits = torch.tensor([[50.0, 0.0, -torch.inf], [0.0, 200.0, 0.0], [3.0, 3.0, 1.0]])
    found = streamed(torch.tensor([1, 1, 1]), 3, logits=logits)
    expected = float(calibration.negative_log_likelihood(logits, torch.tensor([1, 1, 1])))
    assert found.negative_log_likelihood == pytest.approx(expected, rel=1e-6)
    assert found.accuracy == pytest.approx(1 / 3)  # of equal logits the first is the prediction
    masked = streamed(torch.tensor([2, 1, 0]), 3, logits=logits)
    assert masked.negative_log_likelihood == math.inf


@st.composite
def batches_and_order(draw):
    sizes = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
    order = draw(st.permutations(range(len(sizes))))
    return [*sizes, 5], [*order, len(sizes)]


@given(batches_and_order(), st.integers(1, 8), st.integers(1, 20), st.integers(0, 1000))
def test_batched_equals_at_once_equals_any_order(drawn, num_classes, bins, seed):
    sizes, order = drawn
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(sum(sizes), num_classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(num_classes, (sum(sizes),), generator=generator)

    def empty():
        return StreamingCalibration(num_classes, bins=bins, class_wise=True)

    at_once, batched, parts = empty(), empty(), []
    at_once.update(labels, logits=logits)
    for x, y in zip(logits.split(sizes), labels.split(sizes), strict=True):
        batched.update(y, logits=x)
        parts.append(empty())
        parts[-1].update(y, logits=x)
    merged = functools.reduce(operator.add, [parts[i] for i in order])
    for other in (batched, merged):
        assert_same(other.compute(), at_once.compute(), rel=1e-9, abs=1e-12)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 1000), st.sampled_from([1e-3, 1, 9]))
def test_of_equal_maxima_the_first_is_the_prediction(num_classes, num_samples, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    shape = (num_samples, num_classes)
    # None of them may be taken for a probability, as rows of 0 and 1 would be.
    logits = 3 + scale * torch.randint(-1, 2, shape, generator=generator).float()
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    for arguments in ({"logits": logits}, {"probs": logits.softmax(-1)}):
        stream = StreamingCalibration(num_classes)
        stream.update(labels, **arguments)
        expected = float(calibration.accuracy(*arguments.values(), labels))
        assert stream.compute().accuracy == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60))
def test_area_is_exact_where_ranks_are_scores(pairs):
    """Confidences far enough apart are ranked apart; equal ones are ties, in random order."""
    odds = torch.tensor([rank / 4 for rank, _ in pairs], dtype=torch.float64)
    labels = torch.tensor([int(wrong) for _, wrong in pairs])
    probs = torch.sigmoid(torch.stack([odds, -odds], 1))
    found = streamed(labels, 2, probs=probs)
    for name, function in OF_RANKS.items():
        expected = float(function(probs, labels))
        assert getattr(found, name) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    curve = calibration.risk_coverage_curve(probs, labels)
    torch.testing.assert_close(found.risk_coverage.coverage, curve.coverage)
    torch.testing.assert_close(found.risk_coverage.risk, curve.risk)
    assert (found.risk_coverage.threshold <= curve.threshold + 1e-12).all()


def test_ranks_cost_little(make_predictions):
    logits, labels = make_predictions(20_000, 10, sharpness=2.0)
    found = streamed(labels, logits=logits)
    for name, function in OF_RANKS.items():
        expected = float(function(logits.softmax(-1), labels))
        assert getattr(found, name) == pytest.approx(expected, abs=2e-5), name


def test_layouts_and_ignored_labels(make_predictions):
    logits, labels = make_predictions(600, 5)
    expected = streamed(labels, 5, logits=logits)
    maps, targets = logits.view(6, 10, 10, 5), labels.view(6, 10, 10)
    for dim, scores in ((1, maps.movedim(-1, 1)), (-1, maps)):
        stream = StreamingCalibration(5, class_wise=True, class_dim=dim, ignore_index=255)
        stream.update(torch.full_like(targets, 255), logits=scores)
        half = targets.where(torch.arange(6).view(6, 1, 1) < 3, 255)
        stream.update(half, logits=scores)
        rest = targets.where(torch.arange(6).view(6, 1, 1) >= 3, 255)
        stream.update(rest.byte(), logits=scores)
        assert stream.compute().num_samples == 600
        assert_same(stream.compute(), expected, rel=1e-9)


def test_size_is_constant():
    stream = StreamingCalibration(100, class_wise=True)
    generator = torch.Generator().manual_seed(0)

    def size():
        return len(pickle.dumps(stream.state_dict()))

    before = size()
    for rows in (10, 10_000):
        logits = torch.randn(rows, 100, generator=generator)
        stream.update(torch.randint(100, (rows,), generator=generator), logits=logits)
        assert size() == before


def test_bins_serve_other_errors(make_predictions):
    logits, labels = make_predictions(300)
    probs = logits.softmax(-1)
    found = streamed(labels, probs=probs)
    largest = calibration.expected_calibration_error(probs, labels, norm="max")
    torch.testing.assert_close(found.top_label.calibration_error(norm="max"), largest)
    curve = ReliabilityCurve.from_statistics(found.top_label)
    torch.testing.assert_close(
        curve.confidence, calibration.reliability_curve(probs, labels).confidence
    )
    assert "BinStatistics" not in repr(found)


def test_saved_and_restored(make_predictions, tmp_path):
    logits, labels = make_predictions(100)
    stream = StreamingCalibration(10, class_wise=True)
    stream.update(labels[:60], logits=logits[:60])
    torch.save(stream.state_dict(), tmp_path / "stream.pt")
    restored = StreamingCalibration(10, class_wise=True)
    restored.load_state_dict(torch.load(tmp_path / "stream.pt", weights_only=True))
    for other in (stream, restored, pickle.loads(pickle.dumps(restored))):
        other.update(labels[60:], logits=logits[60:])
        assert_same(other.compute(), streamed(labels, logits=logits), rel=1e-12)
    assert repr(stream) == "StreamingCalibration(num_classes=10, num_samples=100)"
    with pytest.raises(ValueError, match=r"shapes.*build the accumulator with the arguments"):
        StreamingCalibration(10).load_state_dict(stream.state_dict())
    stream.reset()
    assert repr(stream).endswith("num_samples=0)")


def test_follows_the_device(make_predictions):
    stream = StreamingCalibration(10).to("meta")
    assert stream.device.type == "meta"
    logits, labels = make_predictions(10)
    stream = StreamingCalibration(10).to("cpu")
    stream.sync()  # one process: nothing to do
    stream.update(labels, logits=logits.requires_grad_())
    assert stream.device.type == "cpu"
    assert stream.compute().num_samples == 10


def test_bad_batches_count_nothing(make_predictions):
    logits, labels = make_predictions(600, 1000)
    stream = StreamingCalibration(1000, class_wise=True)
    logits[500, 3] = torch.nan
    with pytest.raises(ValueError, match="`logits` must hold no NaN, got one in row 500"):
        stream.update(labels, logits=logits)
    with pytest.raises(ValueError, match=r"`probs` must have entries .* in row 0"):
        stream.update(labels, probs=logits)
    with pytest.raises(ValueError, match="`labels` must be in 0"):
        stream.update(labels + 1000, logits=logits)
    with pytest.raises(ValueError, match=r"must have 1000 classes in dimension 1, got .*999"):
        stream.update(labels, logits=logits[:, 1:])
    with pytest.raises(TypeError, match="one of `probs=` and `logits=` must be given, got none"):
        stream.update(labels)
    with pytest.raises(TypeError, match="got both"):
        stream.update(labels, probs=logits, logits=logits)
    with pytest.raises(TypeError, match="`labels` must hold integers"):
        stream.update(labels.float(), logits=logits)
    stream.update(labels[:0], logits=logits[:0])
    with pytest.raises(ValueError, match="at least one sample, got none; call `update` first"):
        stream.compute()


def test_bad_arguments():
    with pytest.raises(ValueError, match="`num_classes` must be at least 1"):
        StreamingCalibration(0)
    with pytest.raises(ValueError, match="`bins` must be at least 1"):
        StreamingCalibration(2, bins=0)
    with pytest.raises(ValueError, match=r"same arguments, got .*bins=5"):
        StreamingCalibration(2) + StreamingCalibration(2, bins=5)
