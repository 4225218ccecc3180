"""Smoothing along space (SVLS) and time, position by position."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.smoothing import neighbours
from softtargets.terms import Entries
from softtargets.testing import check_policy
from tests.smoothing.cases import assert_copies, assert_loss, batch, one_hot

K = 5
SHAPES = [(2, 4, 5), (1, 3, 4, 2), (2, 1, 3)]


def spatial(given, sigma):
    """The definition: a Gaussian over the neighbours found, borders repeated."""
    dims = given.ndim - 2
    offsets = [o for o in itertools.product((-1, 0, 1), repeat=dims) if any(o)]
    heights = [math.exp(-sum(x * x for x in o) / (2 * sigma**2)) for o in offsets]
    result = np.zeros_like(given)
    for at in np.ndindex(given.shape[:-1]):
        kept = 1.0
        if not given[at].any():
            continue
        for offset, height in zip(offsets, heights, strict=True):
            moved = [
                min(max(x + o, 0), size - 1)
                for x, o, size in zip(at[1:], offset, given.shape[1:-1], strict=True)
            ]
            row = given[(at[0], *moved)]
            if row.any():
                share = 0.5 * height / sum(heights)
                result[at] += share * given[at].sum() * row / row.sum()
                kept -= share
        result[at] += kept * given[at]
    return result


def temporal(given, rate, ratio):
    result = np.zeros_like(given)
    for n, t in np.ndindex(given.shape[:2]):
        kept = 1.0
        for distance, weight in enumerate(ratio, 1):
            for other in (t - distance, t + distance):
                if 0 <= other < given.shape[1] and given[n, other].any():
                    share = rate * weight / (2 * sum(ratio))
                    row = given[n, other]
                    result[n, t] += share * given[n, t].sum() * row / row.sum()
                    kept -= share
        result[n, t] += kept * given[n, t]
    return result


def some_ignored(shape):
    logits, labels = batch(K, shape)
    labels[torch.rand(shape) < 0.2] = -100
    return logits, labels


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("sigma", [0.5, 1.0, 20.0])
def test_spatial_is_its_formula(shape, sigma):
    logits, labels = some_ignored(shape)
    given = one_hot(labels, K)
    policy = st.SpatialSmoothing(sigma)
    assert_loss(policy, logits, labels, spatial(given, sigma), given)
    assert_copies(policy, st.Target.from_labels(labels, K), logits)


@pytest.mark.parametrize(
    ("rate", "ratio"), [(0.1, (5, 2)), (0.4, (1,)), (1.0, (0, 1, 3)), (0, (1,))]
)
def test_temporal_is_its_formula(rate, ratio):
    logits, labels = some_ignored((3, 6))
    given = one_hot(labels, K)
    policy = st.TemporalSmoothing(rate, ratio)
    assert_loss(policy, logits, labels, temporal(given, rate, ratio), given)
    assert_copies(policy, st.Target.from_labels(labels, K), logits)


POLICIES = {
    "spatial": (lambda: st.SpatialSmoothing(1.0), (2, 4, 3)),
    "volume": (lambda: st.SpatialSmoothing(0.7), (1, 2, 3, 2)),
    "temporal": (lambda: st.TemporalSmoothing(0.2), (2, 7)),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_battery(kind):
    make, shape = POLICIES[kind]
    check_policy(make, K, batch_shape=shape, compiles=True)


@pytest.mark.parametrize("kind", POLICIES)
def test_nothing_of_size_n_k_is_built(kind):
    make, shape = POLICIES[kind]
    wide = st.Target.from_labels(torch.zeros(shape, dtype=torch.long), 10**9)
    smoothed = make()(wide)
    assert isinstance(smoothed.entries, Entries)
    assert smoothed.others == ()
    assert smoothed.entries.classes.shape[-1] == (
        5 if kind == "temporal" else 3 ** (len(shape) - 1)
    )


@pytest.mark.parametrize("block", [1, 2**18])
@pytest.mark.parametrize("kind", POLICIES)
def test_full_rows_hold_what_entries_hold(kind, block, monkeypatch):
    """Of few classes the target is rows, some maps at a time; of many it is entries."""
    make, shape = POLICIES[kind]
    shape = (3, *shape[1:])
    _, labels = some_ignored(shape)
    given = st.Target.from_labels(labels, K).mix(
        st.Target.from_labels(labels.flip(1), K), torch.tensor([1.0, 0.3, 0.0])
    )
    monkeypatch.setattr(neighbours, "BLOCK_POSITIONS", block)
    rows = make()(given)
    monkeypatch.setattr(neighbours, "DENSE_UP_TO", 0)
    entries = make()(given)
    assert len(rows.others) == 1
    assert entries.others == ()
    torch.testing.assert_close(rows.dense(), entries.dense())


@pytest.mark.parametrize("kind", POLICIES)
def test_full_rows_have_the_order_of_the_logits(kind):
    """So that products of both run through memory."""
    make, shape = POLICIES[kind]
    target = st.Target.from_labels(torch.zeros(shape, dtype=torch.long), K)
    maps = torch.zeros(shape[0], K, *shape[1:]).movedim(1, -1)
    for logits, expected in ((None, maps), (maps, maps), (torch.zeros(*shape, K), None)):
        values = make()(target, logits).others[0].values
        expected = logits if expected is None else expected
        assert values.stride() == expected.stride()


@pytest.mark.parametrize("kind", POLICIES)
def test_one_label_everywhere_stays_hard(kind):
    make, shape = POLICIES[kind]
    target = st.Target.from_labels(torch.full(shape, 2), K, dtype=torch.float64)
    torch.testing.assert_close(make()(target).dense(), target.dense(), rtol=0, atol=1e-15)


def test_the_centre_weighs_as_much_as_its_neighbours():
    labels = torch.zeros(1, 3, 3, dtype=torch.long)
    labels[0, 1, 1] = 1
    for sigma in (1e-200, 0.1, 1.0, 1e200):
        dense = st.SpatialSmoothing(sigma)(st.Target.from_labels(labels, 2)).dense()
        torch.testing.assert_close(dense[0, 1, 1], torch.tensor([0.5, 0.5]))
        assert bool(dense.isfinite().all())


@pytest.mark.parametrize("kind", POLICIES)
@given(lam=some.floats(0, 1))
def test_5_5_mixup_then_smoothing_equals_smoothing_then_mixup(kind, lam):
    make, shape = POLICIES[kind]
    a, b = (
        st.Target.from_labels(batch(K, shape, seed, ignored=False)[1], K, dtype=torch.float64)
        for seed in (1, 2)
    )
    left, right = make()(a.mix(b, lam)), make()(a).mix(make()(b), lam)
    torch.testing.assert_close(left.dense(), right.dense(), rtol=0, atol=1e-14)


def test_mixed_labels_keep_their_mass_beside_ignored_ones():
    logits, labels = some_ignored((2, 4, 5))
    _, other = batch(K, (2, 4, 5), seed=1, ignored=False)
    a, b = (st.Target.from_labels(x, K, dtype=torch.float64) for x in (labels, other))
    given = 0.25 * one_hot(labels, K) + 0.75 * one_hot(other, K)
    assert_loss(st.SpatialSmoothing(1.0), logits, a.mix(b, 0.25), spatial(given, 1.0), given)


def test_a_scheduled_rate():
    _, labels = batch(K, (2, 7))
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    policy = st.TemporalSmoothing(st.Schedule.linear(0.0, 0.2, 2))
    for rate in (0.0, 0.1, 0.2, 0.2):
        expected = st.TemporalSmoothing(rate)(target).dense()
        torch.testing.assert_close(policy(target).dense(), expected, rtol=0, atol=1e-15)
        policy.step()


@pytest.mark.parametrize("kind", POLICIES)
def test_a_smoothed_target_goes_into_linear_cross_entropy(kind, monkeypatch):
    monkeypatch.setattr("softtargets.engine.linear.CHUNK_ELEMENTS", 2 * K)
    make, shape = POLICIES[kind]
    _, labels = some_ignored(shape)
    hidden, weight = torch.randn(*shape, 3), torch.randn(K, 3)
    smoothed = make()(st.Target.from_labels(labels, K))
    fused = st.linear_cross_entropy(hidden, weight, smoothed)
    whole = st.cross_entropy(hidden @ weight.T, labels, smoothing=make(), class_dim=-1)
    torch.testing.assert_close(fused, whole)


def test_an_empty_batch():
    for shape in ((0, 3, 3), (2, 0, 3)):
        target = st.Target.from_labels(torch.zeros(shape, dtype=torch.long), K)
        assert st.SpatialSmoothing(1.0)(target).batch_shape == shape


def test_targets_that_do_not_fit():
    rows = st.Target.from_probs(torch.eye(K).expand(2, K, K))
    flat = st.Target.from_labels(torch.tensor([0]), K)
    with pytest.raises(TypeError, match="labels or mixed labels for TemporalSmoothing"):
        st.TemporalSmoothing(0.1)(rows)
    with pytest.raises(ValueError, match=r"batch shape \(N, T\).*got \(1,\).*unsqueeze\(0\)"):
        st.TemporalSmoothing(0.1)(flat)
    maps = st.Target.from_probs(torch.eye(K).expand(2, 3, K, K))
    with pytest.raises(TypeError, match="labels or mixed labels for SpatialSmoothing"):
        st.SpatialSmoothing(1.0)(maps)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 2, 3, 4, 5)], ids=str)
def test_what_is_no_batch_of_maps_or_volumes_is_refused(shape):
    labels = torch.zeros(shape, dtype=torch.long)
    message = r"\(N, H, W\) or \(N, D, H, W\).*unsqueeze\(0\).*TemporalSmoothing"
    with pytest.raises(ValueError, match=message):
        st.SpatialSmoothing(1.0)(st.Target.from_labels(labels, K))
    with pytest.raises(ValueError, match=message):
        st.cross_entropy(
            torch.randn(K, *shape), labels, smoothing=st.SpatialSmoothing(1.0), class_dim=0
        )


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: st.SpatialSmoothing(0), ValueError, "`sigma` must be finite and > 0"),
        (lambda: st.SpatialSmoothing(float("nan")), ValueError, "`sigma` must be finite"),
        (lambda: st.SpatialSmoothing("x"), TypeError, "`sigma` must be a number"),
        (lambda: st.TemporalSmoothing(1.5), ValueError, r"`rate` must be in \[0, 1\]"),
        (lambda: st.TemporalSmoothing(0.1, ()), ValueError, "hold a weight above 0"),
        (
            lambda: st.TemporalSmoothing(0.1, 5),
            TypeError,
            r"sequence of numbers, got 5; .*`\(x,\)`",
        ),
        (lambda: st.TemporalSmoothing(0.1, (0, 0)), ValueError, "hold a weight above 0"),
        (lambda: st.TemporalSmoothing(0.1, (-1, 2)), ValueError, r"`ratio` must be in \[0, inf\]"),
    ],
)
def test_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_repr():
    assert repr(st.SpatialSmoothing(1)) == "SpatialSmoothing(sigma=1)"
    assert repr(st.TemporalSmoothing()) == "TemporalSmoothing(rate=0.1, ratio=(5.0, 2.0))"
