"""Bins that merge: batched == at once == merged in any order."""

import functools
import itertools
import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets.calibration import BinStatistics, ReliabilityCurve


@st.composite
def scored_batches(draw):
    pairs = st.tuples(st.floats(0, 1), st.booleans())
    batches = draw(st.lists(st.lists(pairs, min_size=1, max_size=20), min_size=1, max_size=6))
    order = draw(st.permutations(range(len(batches))))
    return batches, order


def binned(pairs, **options):
    scores = torch.tensor([score for score, _ in pairs], dtype=torch.float64)
    return BinStatistics.from_scores(scores, torch.tensor([hit for _, hit in pairs]), **options)


@given(scored_batches(), st.integers(1, 20), st.sampled_from(["width", "mass"]))
def test_batched_equals_at_once_equals_any_order(drawn, bins, binning):
    batches, order = drawn
    at_once = binned(list(itertools.chain(*batches)), bins=bins, binning=binning)
    parts = [binned(batch, edges=at_once.edges) for batch in batches]
    forward = functools.reduce(operator.add, parts)
    shuffled = functools.reduce(BinStatistics.merge, [parts[i] for i in order])
    for merged in (forward, shuffled):
        assert torch.equal(merged.counts, at_once.counts)
        assert torch.equal(merged.outcome_sums, at_once.outcome_sums)
        torch.testing.assert_close(
            merged.confidence_sums, at_once.confidence_sums, rtol=1e-12, atol=1e-300
        )
        for norm in ("l1", "l2", "max"):
            torch.testing.assert_close(
                merged.calibration_error(norm=norm),
                at_once.calibration_error(norm=norm),
                rtol=1e-9,
                atol=1e-12,
            )
    assert at_once.num_samples == sum(map(len, batches))


def test_top_label_and_class_wise_stream(make_predictions):
    logits, labels = make_predictions(100)
    probs = logits.softmax(-1)
    for build in (BinStatistics.top_label, BinStatistics.class_wise):
        merged = build(probs[:30], labels[:30]) + build(probs[30:], labels[30:])
        at_once = build(probs, labels)
        assert merged.num_samples == 100
        torch.testing.assert_close(merged.calibration_error(), at_once.calibration_error())


def test_later_mass_batches_take_the_first_edges(make_predictions):
    logits, labels = make_predictions(100)
    probs = logits.softmax(-1)
    first = BinStatistics.top_label(probs[:50], labels[:50], binning="mass")
    second = BinStatistics.top_label(probs[50:], labels[50:], edges=first.edges)
    assert int((first + second).counts.sum()) == 100
    own = BinStatistics.top_label(probs[50:], labels[50:], binning="mass")
    with pytest.raises(ValueError, match="same bins and edges"):
        first + own


def test_floor_is_optional(make_predictions):
    for seed in range(20):
        logits, labels = make_predictions(100, seed=seed)
        statistics = BinStatistics.top_label(logits.softmax(-1), labels)
        signed = statistics.calibration_error(debiased=True, floor=False)
        floored = statistics.calibration_error(debiased=True)
        assert floored == max(signed, torch.zeros(()))


def test_curve_of_streamed_statistics():
    curve = ReliabilityCurve.from_statistics(binned([(0.2, True), (0.9, False)], bins=2))
    assert curve.confidence.tolist() == [0.2, 0.9]


@pytest.mark.parametrize(
    ("scores", "outcomes", "options", "message"),
    [
        (torch.rand(3), torch.ones(2), {}, "one shape"),
        (torch.rand(0), torch.rand(0), {}, "N >= 1"),
        (torch.tensor([0.5, 1.5]), torch.ones(2), {}, r"`scores` must be in \[0, 1\].*1\.5"),
        (torch.tensor([0.5, torch.nan]), torch.ones(2), {}, r"must be in \[0, 1\]"),
        (torch.rand(2), torch.ones(2), {"bins": 0}, "`bins` must be at least 1, got 0"),
        (torch.rand(2), torch.ones(2), {"binning": "size"}, '"width" or "mass", got \'size\''),
        (torch.rand(2), torch.ones(2), {"edges": torch.tensor([1.0, 0.0])}, "`edges` must be"),
    ],
)
def test_bad_scores(scores, outcomes, options, message):
    with pytest.raises(ValueError, match=message):
        BinStatistics.from_scores(scores, outcomes, **options)


def test_bad_norms(make_predictions):
    statistics = binned([(0.2, True)])
    with pytest.raises(ValueError, match=r'`norm` must be "l1", "l2" or "max", got \'l3\''):
        statistics.calibration_error(norm="l3")
    with pytest.raises(ValueError, match='got "max"'):
        statistics.calibration_error(norm="max", debiased=True)
    logits, labels = make_predictions(20)
    with pytest.raises(ValueError, match="one set of bins"):
        ReliabilityCurve.from_statistics(BinStatistics.class_wise(logits.softmax(-1), labels))
