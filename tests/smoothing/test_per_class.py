"""Rates by class: `LabelSmoothing` with one rate per class, and label-aware smoothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.testing import check_policy
from tests.smoothing.cases import assert_copies, assert_loss, batch, one_hot

K = 4
RATES = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
PRIOR = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
TABLE = torch.stack([PRIOR.roll(i) for i in range(K)])
COUNTS = [500, 80, 200, 20]


def smoothed(given, rates, prior=None):
    """Label by label: each entry keeps 1 - its own rate, the rest goes to its own prior."""
    size, rates = given.shape[-1], np.asarray(rates)
    result = np.zeros_like(given)
    for k in range(size):
        row = np.full(size, 1 / size) if prior is None else np.asarray(prior)
        row = row[k] if row.ndim == 2 else row
        result += given[..., k : k + 1] * ((1 - rates[k]) * np.eye(size)[k] + rates[k] * row)
    return result


def by_hand(counts, head, tail):
    least, most = min(counts), max(counts)
    if least == most:
        return [head] * len(counts)
    return [
        tail + (head - tail) * math.sin(math.pi * (n - least) / (2 * (most - least)))
        for n in counts
    ]


MAKE = {
    "uniform": lambda: st.LabelSmoothing(RATES),
    "prior": lambda: st.LabelSmoothing(RATES, PRIOR),
    "table": lambda: st.LabelSmoothing(RATES, TABLE),
    "K-1": lambda: st.LabelSmoothing(RATES / 2, convention="K-1"),
    "label aware": lambda: st.LabelAwareSmoothing(COUNTS, 0.4, 0.1),
}
EXPECTED = {
    "uniform": lambda given: smoothed(given, RATES),
    "prior": lambda given: smoothed(given, RATES, PRIOR),
    "table": lambda given: smoothed(given, RATES, TABLE),
    "K-1": lambda given: smoothed(given, RATES / 2 * K / (K - 1)),
    "label aware": lambda given: smoothed(given, by_hand(COUNTS, 0.4, 0.1)),
}


@pytest.mark.parametrize("kind", MAKE)
def test_battery(kind):
    check_policy(MAKE[kind], K, compiles=True)


@pytest.mark.parametrize("kind", MAKE)
def test_labels_have_their_own_rate(kind):
    logits, labels = batch(K)
    given = one_hot(labels, K)
    assert_loss(MAKE[kind](), logits, labels, EXPECTED[kind](given), given)
    assert_copies(MAKE[kind](), st.Target.from_labels(labels, K), logits)


@pytest.mark.parametrize("kind", MAKE)
def test_mixed_labels_and_rows_too(kind):
    logits, labels = batch(K)
    other, lam = labels.flip(0), torch.rand(12, dtype=torch.float64)
    part = lam[:, None].numpy()
    given = part * one_hot(labels, K) + (1 - part) * one_hot(other, K)
    mixed = st.Target.from_labels(labels, K, dtype=torch.float64).mix(
        st.Target.from_labels(other, K, dtype=torch.float64), lam
    )
    assert_loss(MAKE[kind](), logits, mixed, EXPECTED[kind](given), given)
    assert_loss(MAKE[kind](), logits, torch.tensor(given), EXPECTED[kind](given), given)


def test_5_5_mixup_then_smoothing_equals_smoothing_then_mixup():
    _, labels = batch(K)
    a = st.Target.from_labels(labels, K, dtype=torch.float64)
    b = st.Target.from_labels(labels.flip(0), K, dtype=torch.float64)
    for make in MAKE.values():
        policy = make()
        left, right = policy(a.mix(b, 0.3)), policy(a).mix(policy(b), 0.3)
        torch.testing.assert_close(left.dense(), right.dense(), rtol=0, atol=1e-15)


@given(some.floats(0, 1))
def test_one_rate_for_all_is_plain_smoothing(rate):
    _, labels = batch(K)
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    plain = target.smooth(rate).dense()
    each = st.LabelSmoothing(torch.full((K,), rate, dtype=torch.float64))(target).dense()
    torch.testing.assert_close(each, plain, rtol=0, atol=1e-15)
    equal = st.LabelAwareSmoothing(torch.full((K,), 7), head=rate, tail=0.0)(target).dense()
    torch.testing.assert_close(equal, plain, rtol=0, atol=1e-15)


@given(some.lists(some.integers(0, 10**6), min_size=1, max_size=8), some.floats(0, 1))
def test_label_aware_rates_are_their_formula(counts, head):
    policy = st.LabelAwareSmoothing(counts, head, 0.1)
    rates = policy.rates(torch.float64)
    np.testing.assert_allclose(rates.numpy(), by_hand(counts, head, 0.1), rtol=0, atol=1e-14)
    if min(counts) < max(counts):
        assert rates[counts.index(max(counts))].item() == pytest.approx(head)
        assert rates[counts.index(min(counts))].item() == pytest.approx(0.1)


def test_counts_of_any_kind_and_the_state():
    expected = st.LabelAwareSmoothing(COUNTS, 0.4, 0.1).rates(torch.float64)
    for counts in (torch.tensor(COUNTS), torch.tensor(COUNTS).double(), tuple(COUNTS)):
        assert torch.equal(st.LabelAwareSmoothing(counts, 0.4, 0.1).rates(torch.float64), expected)
    other = st.LabelAwareSmoothing([1, 1, 1, 1], 0.4, 0.1)
    other.load_state_dict(st.LabelAwareSmoothing(COUNTS, 0.4, 0.1).state_dict())
    assert torch.equal(other.rates(torch.float64), expected)
    assert "class_counts=(4,), head=0.4, tail=0.1" in repr(other)
    rates = st.LabelSmoothing(torch.zeros(K, dtype=torch.float64))
    rates.load_state_dict(st.LabelSmoothing(RATES).state_dict())
    assert torch.equal(rates.rate, RATES)
    assert "rate=<(4,)>" in repr(rates)


def test_negative_rates_by_class_need_permission():
    policy = st.LabelSmoothing(RATES - 0.5, allow_negative=True)
    logits, labels = batch(K)
    given = one_hot(labels, K)
    assert_loss(policy, logits, labels, smoothed(given, RATES - 0.5), given)
    with pytest.raises(ValueError, match=r"got -0\.5; .*allow_negative=True"):
        st.LabelSmoothing(RATES - 0.5)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: st.LabelSmoothing(RATES + 1), ValueError, r"`rate` must be in \[0, 1\], got 2"),
        (lambda: st.LabelSmoothing(RATES * float("nan")), ValueError, "got nan"),
        (lambda: st.LabelSmoothing(RATES[0]), ValueError, r"shape \(K,\).*got \(\); for one rate"),
        (lambda: st.LabelSmoothing(torch.tensor([0, 1])), TypeError, "floating point tensor"),
        (lambda: st.LabelAwareSmoothing([], 0.4, 0.1), ValueError, r"shape \(K,\).*got \(0,\)"),
        (lambda: st.LabelAwareSmoothing([[1]], 0.4, 0.1), ValueError, r"got \(1, 1\); count"),
        (lambda: st.LabelAwareSmoothing([3, -1], 0.4, 0.1), ValueError, "got -1 for class 1"),
        (lambda: st.LabelAwareSmoothing([3, float("nan")], 0.4, 0.1), ValueError, "got nan"),
        (lambda: st.LabelAwareSmoothing([True], 0.4, 0.1), TypeError, "hold numbers, got"),
        (lambda: st.LabelAwareSmoothing([3, 1], 1.4, 0.1), ValueError, r"`head` must be in"),
        (lambda: st.LabelAwareSmoothing([3, 1], 0.4, -0.1), ValueError, r"`tail` must be in"),
    ],
)
def test_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("kind", ["uniform", "label aware"])
def test_targets_that_do_not_fit(kind):
    policy = MAKE[kind]()
    with pytest.raises(ValueError, match="rates for 4 classes and `target` has 3"):
        policy(st.Target.from_labels(torch.tensor([0]), 3))
    with pytest.raises(TypeError, match="labels, mixed labels or rows of probabilities"):
        policy(st.Target.from_labels(torch.tensor([0]), K).map_classes(torch.eye(K)))


@pytest.mark.parametrize("counts", [[500_000.0, 20.0, 3000.0], [5e5 + 0.5, 20.25, 3000.0]])
def test_counts_survive_half_precision(counts):
    policy = st.LabelAwareSmoothing(torch.tensor(counts), head=0.4, tail=0.1)
    expected = policy.rates()
    least, most = min(counts), max(counts)
    share = torch.tensor([(n - least) / (most - least) for n in counts])
    torch.testing.assert_close(expected, 0.1 + 0.3 * torch.sin(share * torch.pi / 2))
    torch.testing.assert_close(policy.half().rates(), expected, rtol=0, atol=1e-3)
