"""Averaged logits against sums of fractions, and what groups and labels may be."""

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from softtargets.calibration import TemperatureScaling, aggregate, evaluate

FINITE = st.floats(-1e300, 1e300, allow_subnormal=True)


@st.composite
def grouped(draw, values=FINITE):
    rows = draw(st.integers(1, 12))
    logits = draw(st.lists(st.lists(values, min_size=3, max_size=3), min_size=rows, max_size=rows))
    groups = draw(st.lists(st.sampled_from("abcd"), min_size=rows, max_size=rows))
    return torch.tensor(logits, dtype=torch.float64) - 7, groups


def exact_means(logits, groups):
    """Means of fractions, by group."""
    members = defaultdict(list)
    for row, name in zip(logits.tolist(), groups, strict=True):
        members[name].append([Fraction(value) for value in row])
    return {
        name: [float(sum(column) / len(rows)) for column in zip(*rows, strict=True)]
        for name, rows in members.items()
    }


@settings(max_examples=150, deadline=None)
@given(grouped())
def test_means_are_those_of_fractions(drawn):
    logits, groups = drawn
    found, expected = aggregate(logits, groups), exact_means(logits, groups)
    assert found.groups == tuple(expected)
    assert found.logits.dtype == torch.float64
    largest = logits.abs().amax(0).tolist()
    for mean, name in zip(found.logits.tolist(), found.groups, strict=True):
        for value, right, scale in zip(mean, expected[name], largest, strict=True):
            # One rounding, or 2^-70 of the largest term where terms cancel.
            assert abs(value - right) <= 2**-52 * abs(right) + 2**-69 * scale
    assert found.counts.tolist() == [groups.count(name) for name in found.groups]
    assert [found.groups[group] for group in found.inverse] == groups


@settings(max_examples=100, deadline=None)
@given(grouped(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit(drawn, random):
    logits, groups = drawn
    order = list(range(len(groups)))
    random.shuffle(order)
    one = aggregate(logits, groups)
    other = aggregate(logits[order], [groups[row] for row in order])
    place = [other.groups.index(name) for name in one.groups]
    assert torch.equal(one.logits, other.logits[place])
    assert torch.equal(one.counts, other.counts[place])


def test_many_members_in_any_order_and_blocks_are_the_same_to_the_bit(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(5000, 7, generator=generator)
    groups = torch.randint(3, (5000,), generator=generator)
    order = torch.randperm(5000, generator=generator)
    found = aggregate(logits, groups)
    monkeypatch.setattr("softtargets.calibration.aggregation._BLOCK_ELEMENTS", 100)
    other = aggregate(logits[order], groups[order])
    place = [other.groups.index(name) for name in found.groups]
    assert torch.equal(found.logits, other.logits[place])
    for name, mean in zip(found.groups, found.logits, strict=True):
        members = logits[groups == name].double()
        exact = [math.fsum(column.tolist()) / len(members) for column in members.T]
        torch.testing.assert_close(
            mean, torch.tensor(exact, dtype=torch.float64), rtol=1e-15, atol=0
        )


@settings(max_examples=60, deadline=None)
@given(grouped(st.floats(width=64, allow_nan=False, allow_infinity=False)))
def test_groups_of_one_member_are_that_member(drawn):
    logits, _ = drawn
    assert torch.equal(aggregate(logits, range(len(logits))).logits, logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_logits_are_averaged_in_float64(dtype):
    logits = torch.tensor([[60000.0, 1.0], [60000.0, 2.0], [1.0, 0.1]]).to(dtype)
    found = aggregate(logits, [0, 0, 0]).logits
    assert torch.equal(found, logits.double().sum(0, keepdim=True) / 3)


def test_a_class_masked_by_one_member_is_masked_in_the_group():
    inf = math.inf
    logits = torch.tensor([[1.0, -inf, 2.0], [3.0, -inf, -inf], [0.0, 5.0, 1.0]])
    found = aggregate(logits, ["a", "a", "b"]).logits
    assert found.tolist() == [[2.0, -inf, -inf], [0.0, 5.0, 1.0]]
    with pytest.raises(ValueError, match=r"class alive in each group, of 'b' the members mask all"):
        aggregate(torch.tensor([[0.0, -inf], [-inf, 0.0]]), ["b", "b"])


def test_probabilities_pass_as_logarithms_and_give_their_geometric_mean():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(30, 5, generator=generator, dtype=torch.float64)
    groups = torch.randint(7, (30,), generator=generator)
    probs = logits.softmax(-1)
    by_logits, by_probs = aggregate(logits, groups), aggregate(probs.log(), groups)
    torch.testing.assert_close(by_logits.logits.softmax(-1), by_probs.logits.softmax(-1))
    members = probs[groups == by_logits.groups[0]]
    mean = members.prod(0) ** (1 / len(members))
    torch.testing.assert_close(by_probs.logits.softmax(-1)[0], mean / mean.sum())
    certain = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    assert aggregate(certain.log(), [1, 1]).logits.softmax(-1).tolist() == [[0.0, 1.0, 0.0]]
    with pytest.raises(ValueError, match=r"every row is a distribution .* pass the logarithm"):
        aggregate(probs, groups)


def test_a_temperature_is_fitted_on_groups():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(4, (900,), generator=generator)
    groups = torch.arange(900).repeat_interleave(3)
    logits = 2 * torch.randn(2700, 4, generator=generator)
    logits[torch.arange(2700), label[groups]] += 4  # calibrated one by one
    found = aggregate(logits, groups, label[groups])
    assert torch.equal(found.labels, label)
    brute = torch.stack([logits[groups == name].double().mean(0) for name in range(900)])
    fitted, expected = (
        TemperatureScaling().fit(each, label).temperature for each in (found.logits, brute)
    )
    assert fitted == pytest.approx(expected, rel=1e-9)
    # Three independent views: the mean has a third of the noise, so it should be surer.
    assert 0.25 < fitted < 0.45
    single = TemperatureScaling().fit(logits, label[groups]).temperature
    assert 0.9 < single < 1.1
    report = evaluate(found.logits, found.labels, bootstrap=0)
    assert report.accuracy.value > evaluate(logits, label[groups], bootstrap=0).accuracy.value


def test_names_may_be_integers_strings_or_tuples():
    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for groups, names in (
        (torch.tensor([9, -2, 9], dtype=torch.int16), (9, -2)),
        (np.array([9, -2, 9]), (9, -2)),
        (np.array(["b", "a", "b"]), ("b", "a")),
        (zip("bab", [1, 1, 1], strict=True), (("b", 1), ("a", 1))),
    ):
        found = aggregate(logits, groups)
        assert found.groups == names
        assert found.logits.tolist() == [[3.0, 4.0], [3.0, 4.0]]
        assert found.inverse.tolist() == [0, 1, 0]
        assert len(found) == 2
        assert found.labels is None


def test_members_without_a_label_are_averaged_and_do_not_speak():
    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    labels = torch.tensor([-100, 1, -100, -100], dtype=torch.int16)
    found = aggregate(logits, ["a", "a", "a", "b"], labels)
    assert found.labels.tolist() == [1, -100]
    assert torch.equal(found.logits, aggregate(logits, ["a", "a", "a", "b"]).logits)
    other = torch.where(labels == -100, 255, labels).to(torch.uint8)
    assert aggregate(logits, list("aaab"), other, ignore_index=255).labels.tolist() == [1, 255]


LOGITS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize(
    ("logits", "groups", "labels", "error", "message"),
    [
        (LOGITS, "aba", None, TypeError, "one name per row, got a single string"),
        (
            LOGITS,
            ["a", "b"],
            None,
            ValueError,
            r"shape \(3,\), one name per row of `logits`, got 2",
        ),
        (LOGITS, torch.zeros(3, 1).long(), None, ValueError, r"got \(3, 1\)"),
        (LOGITS, torch.tensor(1), None, ValueError, r"got \(\)"),
        (LOGITS, torch.zeros(3), None, TypeError, "integers or names, got torch.float32"),
        (LOGITS, np.zeros((3, 1)), None, TypeError, "got list in row 0"),
        (LOGITS, list(torch.arange(3)), None, TypeError, "got Tensor in row 0; pass a tensor"),
        (LOGITS, ["a", None, "b"], None, ValueError, "a group in each row, got None in row 1"),
        (LOGITS, [1.0, 2.0, math.nan], None, ValueError, "got nan in row 2; give a row"),
        (LOGITS, [0, 0, 0], torch.tensor([0, 1]), ValueError, r"`labels` must have shape \(3,\)"),
        (LOGITS, [0, 0, 0], torch.tensor([0, 0, 2]), ValueError, "in 0 .. 1, got 2 at 2"),
        (LOGITS, [0, 0, 0], torch.zeros(3), TypeError, "integers, got torch.float32"),
        (LOGITS, [0, 0, 0], torch.full((3,), -100), ValueError, "at least one label"),
        (
            LOGITS,
            ["x", "y", "x"],
            torch.tensor([1, 0, 0]),
            ValueError,
            "same in all of a group, 'x' has 1 in row 0 and 0 in row 2; split",
        ),
        (LOGITS.view(1, 3, 2), [0], None, ValueError, r"must have shape \(N, K\), got \(1, 3, 2\)"),
        (LOGITS * math.nan, [0, 0, 0], None, ValueError, "no NaN, got one in row 0"),
        (LOGITS * math.inf, [0, 0, 0], None, ValueError, "finite or -inf, got inf in row 0"),
        (LOGITS[:0], [], None, ValueError, "at least one sample"),
        (LOGITS.long(), [0, 0, 0], None, TypeError, "floating point tensor, got torch.int64"),
    ],
)
def test_what_breaks_a_rule_is_named(logits, groups, labels, error, message):
    with pytest.raises(error, match=message):
        aggregate(logits, groups, labels)
