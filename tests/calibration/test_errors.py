"""Binned errors against loops in plain Python and against torchmetrics."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from softtargets import calibration


def loop_bins(scores, outcomes, bins, binning):
    """Per bin (count, mean score, mean outcome), without empty bins."""
    edges = [k / bins for k in range(bins + 1)]
    if binning == "mass":
        ranked = sorted(scores)
        inner = [ranked[math.ceil(k * len(scores) / bins) - 1] for k in range(1, bins)]
        edges = [0.0, *inner, 1.0]
    result = []
    for b in range(bins):
        inside = [
            i for i, s in enumerate(scores) if edges[b] < s <= edges[b + 1] or (b == 0 and s == 0)
        ]
        if inside:
            n = len(inside)
            mean_score = math.fsum(scores[i] for i in inside) / n
            result.append((n, mean_score, sum(outcomes[i] for i in inside) / n))
    return result


def loop_error(scores, outcomes, bins=15, binning="width", norm="l1", debiased=False):
    filled = loop_bins(scores, outcomes, bins, binning)
    total = len(scores)
    if norm == "max":
        return max(abs(a - c) for _, c, a in filled)
    if norm == "l2":
        squared = 0.0
        for n, c, a in filled:
            noise = 0.0
            if debiased:
                noise = a * (1 - a) / (n - 1) if n > 1 else c * (1 - c)
            squared += n / total * ((a - c) ** 2 - noise)
        return math.copysign(math.sqrt(abs(squared)), squared)
    plain = sum(n / total * abs(a - c) for n, c, a in filled)
    if not debiased:
        return plain
    rates = [(n * a + c) / (n + 1) for n, c, a in filled]
    variances = [r * (1 - r) / n for r, (n, _, _) in zip(rates, filled, strict=True)]
    noise = sum(n * v for v, (n, _, _) in zip(variances, filled, strict=True))
    seen = sum(n * (a - c) ** 2 for n, c, a in filled)
    shrink = math.sqrt(max(0.0, 1 - noise / seen)) if seen else 0.0
    excess = 0.0
    for v, (n, c, a) in zip(variances, filled, strict=True):
        fitted, spread = shrink * abs(a - c), math.sqrt(v)
        if spread:
            density = math.exp(-((fitted / spread) ** 2) / 2) * math.sqrt(2 / math.pi)
            folded = spread * density + fitted * math.erf(fitted / spread / math.sqrt(2))
            excess += n / total * (folded - fitted)
    return plain - excess


def top_label(probs, labels):
    rows = probs.tolist()
    scores = [max(row) for row in rows]
    hits = [int(row.index(max(row)) == y) for row, y in zip(rows, labels.tolist(), strict=True)]
    return scores, hits


@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize(
    ("norm", "debiased"),
    [("l1", False), ("l2", False), ("max", False), ("l1", True), ("l2", True)],
)
@pytest.mark.parametrize(("size", "sharpness"), [(1, 1.0), (40, 1.0), (700, 1.0), (700, 1.8)])
def test_top_label_equals_loop(make_predictions, binning, bins, norm, debiased, size, sharpness):
    logits, labels = make_predictions(size, sharpness=sharpness)
    probs = logits.softmax(-1)
    options = {"bins": bins, "binning": binning, "norm": norm, "debiased": debiased}
    value = calibration.expected_calibration_error(probs, labels, **options)
    expected = loop_error(*top_label(probs, labels), **options)
    if norm == "l1" and debiased:
        expected = max(expected, 0.0)
    assert value.dtype == torch.float64
    assert value.ndim == 0
    value = float(value)
    if norm == "l2":  # the square root of a difference near 0 magnifies rounding
        value, expected = value * abs(value), expected * abs(expected)
    assert value == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("debiased", [False, True])
def test_class_wise_equals_loop(make_predictions, binning, debiased):
    logits, labels = make_predictions(300, 5, sharpness=1.3)
    probs = logits.softmax(-1)
    value = calibration.classwise_calibration_error(
        probs, labels, binning=binning, debiased=debiased
    )
    per_class = [
        loop_error(
            probs[:, k].tolist(), (labels == k).long().tolist(), binning=binning, debiased=debiased
        )
        for k in range(5)
    ]
    assert float(value) == pytest.approx(sum(per_class) / 5, abs=1e-12)


@pytest.mark.parametrize("debiased", [False, True])
def test_class_wise_norms(make_predictions, debiased):
    logits, labels = make_predictions(300, 5, sharpness=1.3)
    probs = logits.softmax(-1)
    each = [(probs[:, k].tolist(), (labels == k).long().tolist()) for k in range(5)]
    squares = [loop_error(*one, norm="l2", debiased=debiased) for one in each]
    mean = sum(abs(x) * x for x in squares) / 5
    value = calibration.classwise_calibration_error(probs, labels, norm="l2", debiased=debiased)
    assert float(value) == pytest.approx(math.copysign(abs(mean) ** 0.5, mean), abs=1e-12)
    if not debiased:
        value = calibration.classwise_calibration_error(probs, labels, norm="max")
        largest = max(loop_error(*one, norm="max") for one in each)
        assert float(value) == pytest.approx(largest, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [1, 2, 15, 16, 300])
def test_class_wise_reads_every_dtype_exactly(make_predictions, dtype, bins):
    """Also probabilities beside an edge, which its neighbours in a narrow dtype surround."""
    logits, labels = make_predictions(100, 4)
    rows = [[k / bins, 1 - k / bins, 0, 0] for k in range(bins + 1)][:100]
    probs = logits.softmax(-1)
    probs[: len(rows)] = torch.tensor(rows, dtype=torch.float64)
    probs = probs.to(dtype)
    per_class = [
        loop_error(probs.double()[:, k].tolist(), (labels == k).long().tolist(), bins=bins)
        for k in range(4)
    ]
    value = calibration.classwise_calibration_error(probs, labels, bins=bins)
    assert float(value) == pytest.approx(sum(per_class) / 4, abs=1e-12)


@given(
    st.integers(1, 60),
    st.integers(1, 5),
    st.integers(1, 20),
    st.sampled_from(["width", "mass"]),
    st.integers(0, 2**31),
)
def test_signed_parts(num_samples, num_classes, bins, binning, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 4, (num_samples, num_classes), generator=generator).double()
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    probs = logits.softmax(-1)
    options = {"bins": bins, "binning": binning}
    over = float(calibration.overconfidence_error(probs, labels, **options))
    under = float(calibration.underconfidence_error(probs, labels, **options))
    filled = loop_bins(*top_label(probs, labels), bins, binning)
    assert over == pytest.approx(
        sum(n * max(0, c - a) for n, c, a in filled) / num_samples, abs=1e-13
    )
    error = float(calibration.expected_calibration_error(probs, labels, **options))
    assert over + under == pytest.approx(error, abs=1e-13)
    confidence, accuracy = probs.amax(-1).mean(), calibration.accuracy(probs, labels)
    assert over - under == pytest.approx(float(confidence - accuracy), abs=1e-13)


def test_signed_parts_of_sure_models():
    sure, right, wrong = torch.eye(3), torch.arange(3), torch.tensor([1, 2, 0])
    uniform = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    for probs, labels, over, under in (
        (sure, right, 0, 0),
        (sure, wrong, 1, 0),
        (uniform, torch.zeros(3).long(), 0, 2 / 3),  # the first class is predicted, and right
        (uniform, torch.tensor([0, 1, 2]), 0, 0),
    ):
        assert float(calibration.overconfidence_error(probs, labels)) == pytest.approx(over)
        assert float(calibration.underconfidence_error(probs, labels)) == pytest.approx(under)


def test_class_wise_in_blocks(make_predictions, monkeypatch):
    logits, labels = make_predictions(50, 7)
    probs = logits.softmax(-1)
    at_once = [
        calibration.classwise_calibration_error(probs, labels, binning=binning)
        for binning in ("width", "mass")
    ]
    monkeypatch.setattr("softtargets.calibration.binning._BLOCK_ELEMENTS", 100)
    monkeypatch.setattr("softtargets.calibration.samples._BLOCK_ELEMENTS", 100)
    for value, binning in zip(at_once, ("width", "mass"), strict=True):
        blocked = calibration.classwise_calibration_error(probs, labels, binning=binning)
        torch.testing.assert_close(value, blocked, rtol=0, atol=1e-15)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("bins", [10, 15])
def test_agrees_with_torchmetrics(make_predictions, norm, bins):
    logits, labels = make_predictions(2000, sharpness=1.5)
    probs = logits.softmax(-1)
    ours = calibration.expected_calibration_error(probs, labels, bins=bins, norm=norm)
    theirs = multiclass_calibration_error(probs.float(), labels, 10, n_bins=bins, norm=norm)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_confidence_one_is_in_the_last_bin():
    """A peer puts confidence 1 in a bin of its own, so that errors there cannot cancel."""
    probs = torch.tensor([[1.0, 0.0], [0.95, 0.05]])
    labels = torch.tensor([1, 0])  # the sure one is wrong, the unsure one right: gaps -1 and +.05
    ours = calibration.expected_calibration_error(probs, labels, bins=10)
    theirs = multiclass_calibration_error(probs, labels, 2, n_bins=10, norm="l1")
    assert float(ours) == pytest.approx(0.475, abs=1e-6)  # |0.5 - 0.975|
    assert float(theirs) == pytest.approx(0.525, abs=1e-6)


def test_edges_belong_to_the_bin_below():
    scores = torch.tensor([0.0, 0.25, 0.5, 0.500001, 0.75, 1.0], dtype=torch.float64)
    statistics = calibration.BinStatistics.from_scores(scores, torch.ones(6), bins=4)
    assert statistics.counts.tolist() == [2, 1, 2, 1]


def test_equal_scores_stay_in_one_mass_bin():
    scores = torch.tensor([0.2, 0.9, 0.9, 0.9, 0.9, 1.0])
    statistics = calibration.BinStatistics.from_scores(scores, scores > 0, bins=3, binning="mass")
    assert statistics.counts.tolist() == [5, 0, 1]


def test_two_classes_use_the_predicted_class():
    probs = torch.tensor([[0.9, 0.1], [0.9, 0.1]], dtype=torch.float64)
    error = calibration.expected_calibration_error(probs, torch.tensor([0, 0]))
    assert float(error) == pytest.approx(0.1)  # with P(class 1) it would be 0.1 at score 0.1


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_extremes(debiased, binning):
    options = {"debiased": debiased, "binning": binning}
    sure = torch.eye(4)
    assert calibration.expected_calibration_error(sure, torch.arange(4), **options) == 0
    assert calibration.classwise_calibration_error(sure, torch.arange(4), **options) == 0
    wrong = calibration.expected_calibration_error(sure, torch.tensor([1, 2, 3, 0]), **options)
    assert float(wrong) == pytest.approx(1, abs=0.11 if debiased else 0)
    one_class = torch.ones(3, 1)
    assert calibration.expected_calibration_error(one_class, torch.zeros(3).long(), **options) == 0


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_order_of_samples_does_not_matter(make_predictions, binning):
    logits, labels = make_predictions(400)
    probs = logits.softmax(-1).half()  # ties
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    for function in (
        calibration.expected_calibration_error,
        calibration.classwise_calibration_error,
    ):
        for debiased in (False, True):
            first = function(probs, labels, binning=binning, debiased=debiased)
            second = function(probs[order], labels[order], binning=binning, debiased=debiased)
            torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes_are_read_exactly(make_predictions, dtype):
    logits, labels = make_predictions(300)
    probs = logits.softmax(-1).to(dtype)
    value = calibration.expected_calibration_error(probs, labels)
    assert float(value) == pytest.approx(loop_error(*top_label(probs.double(), labels)), abs=1e-12)


def test_debiased_is_small_for_a_calibrated_model(make_predictions):
    plain, debiased, signed_l2 = [], [], []
    for seed in range(100):
        logits, labels = make_predictions(500, seed=seed)
        statistics = calibration.BinStatistics.top_label(logits.softmax(-1), labels)
        plain.append(statistics.calibration_error())
        debiased.append(statistics.calibration_error(debiased=True, floor=False))
        squared = statistics.calibration_error(norm="l2", debiased=True)
        signed_l2.append(squared.sign() * squared.square())
    plain, debiased, signed_l2 = (
        float(torch.stack(x).mean()) for x in (plain, debiased, signed_l2)
    )
    assert plain > 0.04
    assert abs(debiased) < 0.3 * plain
    assert abs(signed_l2) < 0.001
