"""Top-k sums of online label smoothing: what is kept, and what is promised of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.smoothing.top_k_sums import Slots
from tests import reference
from tests.smoothing.online_cases import batch, learn, targets_of


def kept_by_hand(batches, slots):
    """Sums by label: each sample's largest, of which the largest stay after every batch."""
    kept = {}
    for logits, labels in batches:
        for y in set(labels.tolist()):
            sums = kept.get(y, {})
            for z in logits[labels == y].numpy():
                p = reference.softmax(z)
                for c in np.argsort(-p)[:slots]:
                    sums[int(c)] = sums.get(int(c), 0.0) + p[c]
            kept[y] = dict(sorted(sums.items(), key=lambda pair: -pair[1])[:slots])
    return kept


def test_top_k_sums_are_those_by_hand():
    k, top_k = 30, 3
    policy = st.OnlineLabelSmoothing(k, storage="top_k", top_k=top_k, correct_only=False)
    batches = [batch(200, seed, torch.float64, k) for seed in range(4)]
    for logits, labels in batches:
        learn(policy, logits, labels)
    kept = kept_by_hand(batches, 2 * top_k)
    slots = policy._table.sums.local
    for y, sums in kept.items():
        got = dict(zip(slots.classes[y].tolist(), slots.sums[y].tolist(), strict=True))
        assert got == pytest.approx(sums, rel=1e-12)
        assert slots.sums[y].tolist() == sorted(slots.sums[y].tolist(), reverse=True)
    counts = policy._table.sums.counts()
    assert torch.equal(counts, torch.cat([y for _, y in batches]).bincount(minlength=k))
    policy.end_epoch()
    y = max(kept)
    (first, value), *_ = sorted(kept[y].items(), key=lambda pair: -pair[1])
    assert policy.matrix[y, first].item() == pytest.approx(value / int(counts[y]), rel=1e-12)


@given(
    seed=some.integers(0, 10_000),
    k=some.integers(2, 40),
    top_k=some.integers(1, 12),
    sizes=some.lists(some.integers(1, 60), min_size=1, max_size=4),
    scale=some.sampled_from([0.1, 1.0, 5.0]),
)
def test_kept_sums_are_lower_bounds_and_the_mass_is_right(seed, k, top_k, sizes, scale):
    policy = st.OnlineLabelSmoothing(k, storage="top_k", top_k=top_k, correct_only=False)
    true, counts = torch.zeros(k, k, dtype=torch.float64), torch.zeros(k, dtype=torch.int64)
    for i, n in enumerate(sizes):
        logits, labels = batch(n, seed + i, k=k)
        logits = scale * logits
        learn(policy, logits, labels)
        true.index_add_(0, labels, logits.double().softmax(-1))
        counts += labels.bincount(minlength=k)
    slots = policy._table.sums.local
    classes = slots.classes[:k].long()
    assert bool((slots.sums[k] == 0).all())
    at = true.gather(-1, classes.clamp(min=0))
    assert bool((slots.sums[:k] <= at * (1 + 1e-5) + 1e-6).all())
    assert bool((slots.sums[:k].sum(-1) <= counts * (1 + 1e-5)).all())
    assert torch.equal(policy._table.sums.counts(), counts)
    seen = counts > 0
    used = (classes[seen] >= 0).sum(-1)
    assert bool((used == classes.shape[1]).all())
    for row in classes[seen].tolist():
        assert len(set(row)) == len(row)
    policy.end_epoch()
    dense = targets_of(policy).dense()
    torch.testing.assert_close(dense.sum(-1), torch.ones(k, dtype=torch.float64))
    assert bool((dense >= -1e-7).all())


def test_slots_merge_in_parts_as_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (50,), generator=generator)
    sums, classes = torch.rand(50, 6, generator=generator, dtype=torch.float64).sort(-1)
    whole, parts = (Slots.empty(6, 6, sums) for _ in range(2))
    whole.merge(labels, classes, sums)
    monkeypatch.setattr("softtargets.smoothing.top_k_sums.MERGED_ROWS", 7)
    parts.merge(labels, classes, sums)
    torch.testing.assert_close(whole.sums, parts.sums)
    parts.merge(labels[:0], classes[:0], sums[:0])
    assert torch.equal(whole.classes[5], torch.full((6,), -1, dtype=torch.int32))


def test_a_vocabulary_takes_k_entries_per_word():
    policy = st.OnlineLabelSmoothing(50_000, storage="top_k")
    held = [*policy.buffers(), policy._table.sums.local.classes, policy._table.sums.local.sums]
    assert sum(x.nbytes for x in held) < 50_001 * 24 * 32 + 1
    assert "storage='top_k', top_k=32" in repr(policy)
