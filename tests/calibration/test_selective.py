"""Selective risk against all orderings of equal scores, counted in fractions."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets import calibration
from softtargets.calibration.selective import area

# Errors and scores decide everything; two columns say which samples are errors.
PROBS = torch.tensor([[0.75, 0.25]])


def predictions(errors):
    """Probabilities and labels of samples that are errors where they say so."""
    return PROBS.repeat(len(errors), 1), torch.tensor(errors, dtype=torch.int64)


def expected_risks(scores, errors):
    """Risk of the n highest scores, n = 1 .. N, averaged over all orders of equal scores."""
    size = len(scores)
    ranks = sorted(range(size), key=lambda i: -scores[i])
    groups = [list(g) for _, g in itertools.groupby(ranks, key=lambda i: scores[i])]
    totals, orders = [Fraction(0)] * size, 0
    for parts in itertools.product(*map(itertools.permutations, groups)):
        orders += 1
        wrong = 0
        for n, i in enumerate(itertools.chain(*parts), start=1):
            wrong += errors[i]
            totals[n - 1] += Fraction(wrong, n)
    return [total / orders for total in totals]


tied = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=6)


@given(tied)
def test_equals_all_orderings(pairs):
    scores, errors = map(list, zip(*pairs, strict=True))
    risks = expected_risks(scores, errors)
    probs, labels = predictions(errors)
    chosen = torch.tensor(scores, dtype=torch.float32)
    size = len(errors)
    value = calibration.area_under_risk_coverage(probs, labels, scores=chosen)
    assert float(value) == pytest.approx(float(sum(risks) / size), abs=1e-14)
    best = sum(expected_risks([-e for e in errors], errors)) / size
    excess = calibration.excess_area_under_risk_coverage(probs, labels, scores=chosen)
    assert float(excess) == pytest.approx(float(sum(risks) / size - best), abs=1e-14)
    for n in range(1, size + 1):
        risk = calibration.risk_at_coverage(probs, labels, coverage=n / size, scores=chosen)
        assert float(risk) == pytest.approx(float(risks[n - 1]), abs=1e-14)
    curve = calibration.risk_coverage_curve(probs, labels, scores=chosen)
    for coverage, risk, threshold in zip(
        curve.coverage.tolist(), curve.risk.tolist(), curve.threshold.tolist(), strict=True
    ):
        inside = [e for s, e in pairs if s >= threshold]
        assert coverage == pytest.approx(len(inside) / size)
        assert risk == pytest.approx(sum(inside) / len(inside))


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 1)), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_only_the_order_of_scores_counts(pairs, random):
    scores, errors = map(list, zip(*pairs, strict=True))
    first = area(torch.tensor(scores, dtype=torch.float64), torch.tensor(errors))
    for monotone in (lambda s: s**3, lambda s: math.exp(s / 10), lambda s: 5 * s - 1):
        changed = torch.tensor([float(monotone(s)) for s in scores], dtype=torch.float64)
        assert torch.equal(area(changed, torch.tensor(errors)), first)
    random.shuffle(pairs)
    scores, errors = map(list, zip(*pairs, strict=True))
    assert torch.equal(area(torch.tensor(scores, dtype=torch.float64), torch.tensor(errors)), first)


def test_equal_scores_know_nothing():
    probs, labels = predictions([1, 0, 0, 0, 1] * 20)
    assert float(calibration.area_under_risk_coverage(probs, labels)) == pytest.approx(0.4)
    for coverage in (0.01, 0.35, 1):
        risk = calibration.risk_at_coverage(probs, labels, coverage=coverage)
        assert float(risk) == pytest.approx(0.4)


def test_closed_forms():
    right, wrong = predictions([0] * 7), predictions([1] * 7)
    for probs, labels, risk in ((*right, 0), (*wrong, 1)):
        assert calibration.area_under_risk_coverage(probs, labels) == risk
        assert calibration.excess_area_under_risk_coverage(probs, labels) == 0
        assert calibration.risk_at_coverage(probs, labels, coverage=0.5) == risk
    # One error of N at the end or at the start.
    probs, labels = predictions([0] * 9 + [1])
    scores = torch.arange(10.0)
    harmonic = sum(1 / n for n in range(1, 11)) / 10
    last = calibration.area_under_risk_coverage(probs, labels, scores=-scores)
    assert float(last) == pytest.approx(0.01)
    first = calibration.area_under_risk_coverage(probs, labels, scores=scores)
    assert float(first) == pytest.approx(harmonic)
    excess = calibration.excess_area_under_risk_coverage(probs, labels, scores=scores)
    assert float(excess) == pytest.approx(harmonic - 0.01)
    best = calibration.excess_area_under_risk_coverage(probs, labels, scores=-scores)
    assert float(best) == 0


def test_the_highest_probability_is_the_score(make_predictions):
    logits, labels = make_predictions(100, 4)
    probs = logits.softmax(-1)
    value = calibration.area_under_risk_coverage(probs, labels)
    named = calibration.area_under_risk_coverage(probs, labels, scores=probs.amax(-1))
    assert torch.equal(value, named)


def test_shares_of_samples_are_not_rounded_up():
    """0.07 * 100 is a little above 7 in float64."""
    probs, labels = predictions([0] * 7 + [1] * 93)
    scores = -torch.arange(100.0)
    assert calibration.risk_at_coverage(probs, labels, coverage=0.07, scores=scores) == 0
    risk = calibration.risk_at_coverage(probs, labels, coverage=0.0701, scores=scores)
    assert float(risk) == pytest.approx(1 / 8)


def test_scores_that_do_not_fit():
    probs, labels = predictions([0, 1])
    for metric in (calibration.area_under_risk_coverage, calibration.risk_coverage_curve):
        with pytest.raises(ValueError, match=r"`scores` must have the shape of `labels`, \(2,\)"):
            metric(probs, labels, scores=torch.zeros(3))
        with pytest.raises(ValueError, match="`scores` must hold no NaN, got one for sample 1"):
            metric(probs, labels, scores=torch.tensor([0, torch.nan]))
        with pytest.raises(TypeError, match="`scores` must be a floating point tensor"):
            metric(probs, labels, scores=[1.0, 2.0])
    for coverage in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"`coverage` must be in \(0, 1\], got"):
            calibration.risk_at_coverage(probs, labels, coverage=coverage)
    with pytest.raises(TypeError, match="`coverage` must be a number, got str"):
        calibration.risk_at_coverage(probs, labels, coverage="all")


def test_scores_follow_the_layout():
    """Scores of ignored positions are left out, be they NaN."""
    probs = PROBS.repeat(4, 1).view(2, 2, 2)
    labels = torch.tensor([[0, -100], [1, 0]])
    scores = torch.tensor([[0.9, torch.nan], [0.5, 0.7]])
    value = calibration.area_under_risk_coverage(probs, labels, scores=scores, class_dim=-1)
    assert float(value) == pytest.approx(1 / 9)
