"""Verdicts follow from the interval and the rule alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softtargets.claims.intervals import Interval
from softtargets.claims.rule import Rule, Verdict, combined

NUMBERS = st.floats(-10, 10)


@pytest.mark.parametrize(
    ("rule", "low", "high", "expected"),
    [
        (Rule.greater(), 0.1, 0.3, "supported"),
        (Rule.greater(), -0.1, 0.3, "undecided"),
        (Rule.greater(), -0.3, -0.1, "refuted"),
        (Rule.greater(0.2), 0.1, 0.3, "undecided"),
        (Rule.greater(0.2), 0.05, 0.15, "refuted"),
        (Rule.greater(-0.5), -0.4, 0.1, "supported"),
        (Rule.less(0.1), -0.3, -0.2, "supported"),
        (Rule.less(0.1), -0.05, 0.05, "refuted"),
        (Rule.within(0.1), -0.05, 0.09, "supported"),
        (Rule.within(0.1), 0.05, 0.2, "undecided"),
        (Rule.within(0.1), 0.15, 0.2, "refuted"),
        (Rule.within(0.1), -0.3, 0.3, "undecided"),
        (Rule(above=0.05, below=0.15), 0.06, 0.14, "supported"),
        (Rule(above=0.05, below=0.15), 0.16, 0.2, "refuted"),
    ],
)
def test_the_interval_decides(rule, low, high, expected):
    assert rule.verdict(Interval((low + high) / 2, low, high), seeds=5) == expected


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_supported_is_inside_and_refuted_is_outside(a, b, c, d):
    above, below = sorted((a, b))
    low, high = sorted((c, d))
    if above == below:
        return
    verdict = Rule(above=above, below=below).verdict(Interval(low, low, high), seeds=9)
    assert (verdict == "supported") == (above < low and high < below)
    assert (verdict == "refuted") == (high <= above or low >= below)


def test_few_seeds_and_unknown_intervals_decide_nothing():
    rule = Rule.greater()
    assert rule.verdict(Interval(1.0, 0.9, 1.1), seeds=4) == "undecided"
    assert rule.verdict(Interval(1.0, math.nan, math.nan), seeds=5) == "undecided"
    assert Rule(above=0.0, seeds=2).verdict(Interval(1.0, 0.9, 1.1), seeds=2) == "supported"


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="`above` must be smaller"):
        Rule(above=1.0, below=1.0)


@pytest.mark.parametrize(
    ("tests", "conditions", "expected"),
    [
        ("ss", "", "supported"),
        ("su", "", "undecided"),
        ("sr", "", "refuted"),
        ("ur", "", "refuted"),
        ("ss", "s", "supported"),
        ("ss", "u", "undecided"),
        ("sr", "r", "undecided"),
    ],
)
def test_verdicts_on_several_things(tests, conditions, expected):
    letters = {"s": Verdict.SUPPORTED, "u": Verdict.UNDECIDED, "r": Verdict.REFUTED}
    told = combined([letters[each] for each in tests], [letters[each] for each in conditions])
    assert told == expected
