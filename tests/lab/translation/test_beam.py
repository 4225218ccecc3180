"""Beam search against all hypotheses of a toy language, and against a plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from softtargets.lab.translation.beam import MEAN, NO_PENALTY, LengthPenalty, Markers, beam_search
from tests.lab.translation.toy import END, START, Table, TableDecoding, divisor

PENALTIES = [NO_PENALTY, LengthPenalty(), MEAN, LengthPenalty(2.0, 0.0)]


def search(table, limits, width, penalty=NO_PENALTY, keep=1, **more):
    decoding = TableDecoding(table)
    found = beam_search(
        decoding,
        torch.tensor(limits),
        width=width,
        penalty=penalty,
        keep=keep,
        markers=Markers(**{"start": START, "end": END, "banned": (), **more}),
    )
    return found, decoding


def listed(found, sentence):
    """The hypotheses of a sentence as the toy language lists them."""
    return [
        (float(score), float(log_prob), tuple(tokens[:length].tolist()))
        for score, log_prob, tokens, length in zip(
            found.scores[sentence],
            found.log_probs[sentence],
            found.tokens[sentence],
            found.lengths[sentence],
            strict=True,
        )
        if length
    ]


def assert_same(ours, expected):
    assert [tokens for *_, tokens in ours] == [tokens for *_, tokens in expected]
    for (score, log_prob, _), (wanted, total, _) in zip(ours, expected, strict=True):
        assert score == pytest.approx(wanted, abs=1e-12)
        assert log_prob == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@given(size=some.integers(2, 4), limit=some.integers(1, 5), seed=some.integers(0, 10**6))
def test_a_wide_beam_is_exhaustive(penalty, size, limit, seed):
    table = Table(2, size, limit, seed)
    limits = [limit, max(1, limit - 1)]
    found, _ = search(table, limits, size**limit, penalty, keep=3 if size**limit > 2 else 1)
    for sentence, longest in enumerate(limits):
        every = table.every_hypothesis(sentence, longest, divisor(penalty))
        assert_same(listed(found, sentence), every[: found.scores.shape[1]])


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@given(width=some.integers(1, 6), keep=some.integers(1, 6), seed=some.integers(0, 10**6))
def test_stopping_early_and_batching_change_nothing(penalty, width, keep, seed):
    table, limits = Table(3, 5, 5, seed), [5, 3, 4]
    keep = min(keep, width)
    found, _ = search(table, limits, width, penalty, keep=keep)
    for sentence, limit in enumerate(limits):
        plain = table.plain_search(sentence, limit, width, divisor(penalty))
        assert_same(listed(found, sentence), plain[:keep])


@given(seed=some.integers(0, 10**6))
def test_one_beam_is_greedy_search(seed):
    table, limit = Table(1, 5, 6, seed), 6
    found, _ = search(table, [limit], 1)
    prefix = ()
    while True:
        steps = table.log_probs(0, prefix)
        token = END if len(prefix) == limit - 1 else int(steps.argmax())
        prefix = (*prefix, token)
        if token == END:
            break
    assert listed(found, 0)[0][2] == prefix
    assert bool(found.forced[0, 0]) == (len(prefix) == limit)


def certain(table, sentence, ends):
    """Make a sentence all but certain to end where it has `ends` tokens."""
    for prefix, row in table.rows[sentence].items():
        row[:] = 0.0
        row[END if len(prefix) == ends else 1] = 12.0


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_a_sentence_is_left_as_soon_as_nothing_better_can_follow(penalty):
    table = Table(2, 3, 8, 0)
    certain(table, 0, ends=1)
    certain(table, 1, ends=4)
    found, decoding = search(table, [8, 8], 2, penalty)
    asked = [sum(sentence in step for step in decoding.asked) for sentence in (0, 1)]
    assert found.lengths[:, 0].tolist() == [2, 5]
    if penalty is NO_PENALTY:
        assert asked == [2, 5]
    for sentence, steps in enumerate(asked):
        best, whole = float(found.scores[sentence, 0]), divisor(penalty)(8)
        reachable = [table.unfinished(sentence, n, 2)[0][0] / whole for n in (steps - 1, steps)]
        # Not too early, and, unless it had only just ended, not a step too late.
        assert steps == 8 or reachable[1] <= best
        assert reachable[0] > best or steps == found.lengths[sentence, 0]


def test_what_ends_at_the_limit_says_so():
    table = Table(2, 3, 4, 0)
    certain(table, 0, ends=3)
    certain(table, 1, ends=1)
    found, _ = search(table, [2, 4], 1)
    assert found.forced[:, 0].tolist() == [True, False]
    assert found.lengths[:, 0].tolist() == [2, 2]
    assert found.sequence(0) == [1]
    # Its own probability of ending is what it costs.
    log_prob = table.log_probs(0, ())[1] + table.log_probs(0, (1,))[END]
    assert float(found.log_probs[0, 0]) == pytest.approx(log_prob, abs=1e-12)


def test_banned_tokens_do_not_occur_and_give_nothing_away():
    table = Table(1, 4, 4, 3)
    found, _ = search(table, [4], 4**4, banned=(2,), keep=5)
    every = table.every_hypothesis(0, 4, divisor(NO_PENALTY))
    assert_same(listed(found, 0), [each for each in every if 2 not in each[2]][:5])


def test_nothing_where_no_hypothesis_has_a_probability():
    table = Table(2, 3, 3, 0)
    for row in table.rows[0].values():
        row[END] = -np.inf
    found, _ = search(table, [3, 3], 3, keep=2)
    assert found.lengths[0].tolist() == [0, 0]
    assert found.scores[0].tolist() == [-torch.inf, -torch.inf]
    assert found.sequence(0) == []
    assert not bool(found.forced[0].any())
    assert len(listed(found, 1)) == 2


def test_fewer_hypotheses_than_kept():
    table = Table(1, 2, 2, 0)
    found, _ = search(table, [2], 5, keep=5)
    assert found.lengths[0].sort(descending=True).values.tolist() == [2, 1, 0, 0, 0]
    assert found.tokens[0, 2:].tolist() == [[END, END]] * 3


def test_searching_twice_finds_the_same():
    table = Table(4, 5, 5, 1)
    one, other = (search(table, [5] * 4, 3, MEAN, keep=3)[0] for _ in range(2))
    for name in ("tokens", "lengths", "scores", "log_probs", "forced"):
        assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"width": 0}, ValueError, "`width` must be at least 1, got 0"),
        ({"keep": 3}, ValueError, r"`keep` must be in 1 \.\. `width`, 2, got 3; widen"),
        ({"start": -1}, ValueError, "`start` and `end` must be tokens, >= 0, got -1 and 0"),
        ({"banned": (END,)}, ValueError, "`banned` must not hold `end`, 0"),
        ({"limits": [3, 0]}, ValueError, r"`limits` must hold at least 1 .* got \[3, 0\]"),
        ({"limits": [3.0, 2.0]}, TypeError, "`limits` must be an int64 tensor .*float32"),
        ({"limits": [[3, 2]]}, TypeError, r"got torch.int64 of shape \(1, 2\)"),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, dict) else "",
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        search(Table(2, 3, 3, 0), **{"limits": [3, 3], "width": 2, **change})


def test_not_a_number_is_refused():
    table = Table(1, 3, 3, 0)
    table.rows[0][()][1] = np.nan
    with pytest.raises(ValueError, match="the logits must not be NaN"):
        search(table, [3], 2)


@pytest.mark.parametrize("name", ["exponent", "offset"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_penalties(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be finite and >= 0, got {value}"):
        LengthPenalty(**{name: value})


def test_named_penalties():
    lengths = torch.tensor([1, 7, 40])
    gnmt = (5 + lengths.double()) ** 0.6 / (5 + 1) ** 0.6
    torch.testing.assert_close(LengthPenalty().divisor(lengths), gnmt)
    torch.testing.assert_close(MEAN.divisor(lengths), lengths.double())
    torch.testing.assert_close(NO_PENALTY.divisor(lengths), torch.ones(3, dtype=torch.float64))
