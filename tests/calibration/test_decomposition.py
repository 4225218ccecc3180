"""The Brier score's terms against loops, and the identity they obey."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets import calibration


def loop_terms(scores, outcomes, bins):
    """All terms of one event's forecasts, each by its definition."""
    size = len(scores)
    index = [max(0, min(bins - 1, -int(-s * bins // 1) - 1)) for s in scores]
    members = [[i for i in range(size) if index[i] == b] for b in range(bins)]
    base = sum(outcomes) / size
    terms = dict.fromkeys(("reliability", "resolution", "variance", "covariance"), 0.0)
    for inside in filter(None, members):
        n = len(inside)
        forecast = sum(scores[i] for i in inside) / n
        rate = sum(outcomes[i] for i in inside) / n
        terms["reliability"] += n * (forecast - rate) ** 2 / size
        terms["resolution"] += n * (rate - base) ** 2 / size
        terms["variance"] += sum((scores[i] - forecast) ** 2 for i in inside) / size
        terms["covariance"] += (
            2 * sum((scores[i] - forecast) * (outcomes[i] - rate) for i in inside) / size
        )
    brier = sum((s - y) ** 2 for s, y in zip(scores, outcomes, strict=True)) / size
    return [
        brier,
        terms["reliability"],
        terms["resolution"],
        base * (1 - base),
        terms["variance"],
        terms["covariance"],
    ]


def identity(terms):
    brier, reliability, resolution, uncertainty, variance, covariance = map(float, terms)
    assert brier == pytest.approx(
        reliability - resolution + uncertainty + variance - covariance, abs=1e-13
    )


# Bins of powers of two, so that a loop without float64 edges puts samples in the same bins.
@pytest.mark.parametrize("bins", [1, 4, 16])
@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_equals_loops(make_predictions, bins, sharpness):
    logits, labels = make_predictions(150, 4, sharpness=sharpness)
    probs = logits.softmax(-1)
    by_class = [
        loop_terms(probs[:, k].tolist(), (labels == k).long().tolist(), bins) for k in range(4)
    ]
    terms = calibration.brier_decomposition(probs, labels, bins=bins)
    expected = [sum(column) for column in zip(*by_class, strict=True)]
    assert [float(term) for term in terms] == pytest.approx(expected, abs=1e-13)
    confidence, predicted = probs.max(-1)
    terms = calibration.brier_decomposition(probs, labels, of="top_label", bins=bins)
    expected = loop_terms(confidence.tolist(), (predicted == labels).long().tolist(), bins)
    assert [float(term) for term in terms] == pytest.approx(expected, abs=1e-13)


@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 20),
    st.sampled_from(["width", "mass"]),
    st.integers(0, 2**31),
)
def test_identity(num_samples, num_classes, bins, binning, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 4, (num_samples, num_classes), generator=generator).double()
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    probs = logits.softmax(-1)
    options = {"bins": bins, "binning": binning}
    terms = calibration.brier_decomposition(probs, labels, **options)
    identity(terms)
    torch.testing.assert_close(terms.brier, calibration.brier_score(probs, labels))
    assert min(float(term) for term in terms[:5]) >= -1e-15
    top = calibration.brier_decomposition(probs, labels, of="top_label", **options)
    identity(top)
    l2 = calibration.expected_calibration_error(probs, labels, norm="l2", **options)
    assert float(top.reliability) == pytest.approx(float(l2) ** 2, abs=1e-14)
    right = calibration.accuracy(probs, labels)
    torch.testing.assert_close(top.uncertainty, right * (1 - right))


def test_closed_forms():
    labels = torch.tensor([0, 0, 0, 1])
    calibrated = torch.tensor([[0.75, 0.25]] * 4)  # knows the rate and nothing else
    terms = calibration.brier_decomposition(calibrated, labels)
    assert [float(term) for term in terms] == pytest.approx([0.375, 0, 0, 0.375, 0, 0])
    oracle = torch.eye(2)[labels]
    terms = calibration.brier_decomposition(oracle, labels)
    assert [float(term) for term in terms] == pytest.approx([0, 0, 0.375, 0.375, 0, 0])
    terms = calibration.brier_decomposition(1 - oracle, labels)
    assert [float(term) for term in terms] == pytest.approx([2, 2, 0.375, 0.375, 0, 0])


def test_binary_is_half_of_two_classes(make_predictions):
    logits, labels = make_predictions(90, 2)
    probs = logits.softmax(-1)
    # With an odd number of bins both columns of a sample are in mirrored bins.
    both = calibration.brier_decomposition(probs, labels, bins=7)
    one = calibration.binary_brier_decomposition(probs[:, 1], labels, bins=7)
    identity(one)
    for double, single in zip(both, one, strict=True):
        assert float(double) == pytest.approx(2 * float(single), abs=1e-14)


def test_unknown_form():
    with pytest.raises(ValueError, match='`of` must be "classes" or "top_label", got \'label\''):
        calibration.brier_decomposition(torch.ones(1, 1), torch.tensor([0]), of="label")
