"""Beam search finds what transformers' `generate` finds, for the same model and width."""

import pytest
import torch

from benchmarks.generate_twin import generated, twin
from softtargets.lab.translation.beam import MEAN, LengthPenalty, beam_search
from softtargets.lab.translation.vocabulary import PAD
from tests.lab.translation.reversing import V, sentences, trained

pytest.importorskip("transformers", reason="needs transformers")

LIMIT = 20


@pytest.fixture(scope="module")
def model():
    """Half trained: of several minds about most sentences."""
    return trained(60)


@pytest.fixture(scope="module")
def source():
    return sentences(24, seed=10_000)[0]


@pytest.fixture(scope="module")
def other(model):
    return twin(model)


def test_they_are_one_function(model, other, source):
    inputs = torch.randint(3, V, (24, 6))
    with torch.no_grad():
        theirs = other(input_ids=source, attention_mask=source != PAD, decoder_input_ids=inputs)
        torch.testing.assert_close(model(source, inputs), theirs.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("width", [2, 4, 10])
def test_they_find_the_same(model, other, source, width, exponent):
    penalty = LengthPenalty(exponent, 0.0)
    theirs, scores = generated(other, source, LIMIT, width=width, penalty=penalty)
    found = beam_search(
        model.decoding(source),
        torch.full((len(source),), LIMIT),
        width=width,
        penalty=penalty,
    )
    whole = ~found.forced[:, 0]
    assert int(whole.sum()) >= 20
    for row in whole.nonzero().squeeze(-1).tolist():
        assert found.sequence(row) == theirs[row]
        assert float(found.scores[row, 0]) == pytest.approx(scores[row], abs=1e-4)


def test_one_beam_is_their_greedy_search(model, other, source):
    theirs, _ = generated(other, source, LIMIT, width=1, penalty=LengthPenalty(0.0, 0.0))
    found = beam_search(model.decoding(source), torch.full((len(source),), LIMIT), width=1)
    for row in range(len(source)):
        tokens = found.sequence(row)
        assert tokens == theirs[row][: len(tokens)]
        assert bool(found.forced[row, 0]) == (len(theirs[row]) == LIMIT)


def test_an_offset_is_refused():
    with pytest.raises(ValueError, match="`penalty` must have the offset 0 here"):
        generated(None, None, 3, width=2, penalty=LengthPenalty())
    assert MEAN.offset == 0
