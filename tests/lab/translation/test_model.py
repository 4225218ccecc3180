"""The Transformer: padding is nothing, the future unseen, and the cache changes no number."""

import pytest
import torch
from torch.nn import functional

import softtargets as st
from softtargets.lab.translation.beam import MEAN, NO_PENALTY, LengthPenalty, beam_search
from softtargets.lab.translation.model import Size, Transformer, sinusoids
from softtargets.lab.translation.vocabulary import END, PAD, START
from tests.lab.translation.reversing import sentences, trained

V = 11


def model():
    size = Size(vocabulary=V, width=16, heads=2, layers=2, feed_forward=24)
    built = Transformer(size).double().eval()
    # Away from the symmetric start: biases and norms that matter.
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return built


def batch():
    source = torch.randint(3, V, (3, 5))
    target = torch.randint(3, V, (3, 4))
    source[0, 3:], source[2, 4:] = PAD, PAD
    inputs = torch.cat([torch.full((3, 1), START), target], 1)
    labels = torch.cat([target, torch.full((3, 1), END)], 1)
    inputs[1, 3:], labels[1, 3:] = PAD, PAD
    labels[1, 2] = END
    return source, inputs, labels


def longer(tokens, by):
    return functional.pad(tokens, (0, by), value=PAD)


@pytest.mark.parametrize("head", ["logits", "fused"])
def test_padding_changes_nothing_and_gets_no_gradient(head):
    transformer, (source, inputs, labels) = model(), batch()
    results = []
    for more in (0, 3):
        seen = []
        handle = transformer.embedding.register_forward_hook(
            lambda _, given, out, seen=seen: (out.retain_grad(), seen.append((given[0], out)))[0]
        )
        y = longer(labels, more)
        hidden = transformer.hidden(longer(source, more), longer(inputs, more))
        if head == "logits":
            loss = st.sequence_cross_entropy(
                transformer.logits(hidden), y, smoothing=0.1, ignore_index=PAD
            )
        else:
            weight = transformer.embedding.weight
            loss = st.linear_cross_entropy(hidden, weight, y, smoothing=0.1, ignore_index=PAD)
        transformer.zero_grad()
        loss.backward()
        handle.remove()
        for tokens, embedded in seen:
            assert bool((embedded.grad[tokens == PAD] == 0).all())
            assert bool((embedded.grad[tokens != PAD] != 0).any(-1).all())
        gradients = [each.grad.clone() for each in transformer.parameters()]
        results.append((loss.detach(), *gradients))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


def test_the_future_is_unseen():
    transformer, (source, inputs, _) = model(), batch()
    logits = transformer(source, inputs)
    for place in range(1, inputs.shape[1]):
        changed = inputs.clone()
        changed[:, place:] = 3 + (changed[:, place:] + 1) % (V - 3)
        after = transformer(source, changed)
        torch.testing.assert_close(after[:, :place], logits[:, :place])
        assert not torch.allclose(after[0, place], logits[0, place])


def test_the_cache_changes_no_number():
    transformer, (source, *_) = model(), batch()
    beams = torch.randint(3, V, (3, 4, 6))
    beams[:, :, 0] = START
    with torch.no_grad():
        decoding = transformer.decoding(source)
        # One beam grows into four that share their start.
        decoding.step(beams[:, :1, 0])
        decoding.select(None, torch.zeros(3, 4, dtype=torch.long))
        for length in range(2, 7):
            logits = decoding.step(beams[:, :, length - 1])
            for row in range(len(source)):
                sources = source[row].expand(beams.shape[1], -1)
                whole = transformer(sources, beams[row, :, :length])[:, -1]
                torch.testing.assert_close(logits[row], whole, rtol=1e-10, atol=1e-12)
            order = torch.rand(beams.shape[:2]).argsort(-1)
            left = torch.tensor([1, 0]) if length == 4 else None
            if left is not None:
                order, beams, source = order[left], beams[left], source[left]
            decoding.select(left, order)
            beams = beams.gather(1, order.unsqueeze(-1).expand_as(beams))


@pytest.mark.parametrize("penalty", [NO_PENALTY, LengthPenalty(), MEAN], ids=str)
@pytest.mark.parametrize("width", [1, 4])
def test_sentences_together_and_one_by_one(width, penalty):
    transformer = model()
    source = torch.randint(3, V, (6, 7))
    for row, length in enumerate([3, 7, 1, 5, 7, 2]):
        source[row, length:] = PAD
    limits = 2 * (source != PAD).sum(-1) + 3
    keywords = {"width": width, "penalty": penalty, "keep": width}
    together = beam_search(transformer.decoding(source), limits, **keywords)
    again = beam_search(transformer.decoding(source), limits, **keywords)
    for row in range(len(source)):
        alone = source[row : row + 1, : int((source[row] != PAD).sum())]
        found = beam_search(transformer.decoding(alone), limits[row : row + 1], **keywords)
        for rank in range(width):
            assert found.sequence(0, rank) == together.sequence(row, rank)
            assert together.sequence(row, rank) == again.sequence(row, rank)
        torch.testing.assert_close(found.scores[0], together.scores[row])
    assert torch.equal(together.scores, again.scores)


def test_scores_are_the_models_own_log_probabilities():
    transformer, (source, *_) = model(), batch()
    found = beam_search(transformer.decoding(source), torch.full((3,), 6), width=3, keep=3)
    for row in range(3):
        for rank in range(3):
            labels = found.tokens[row, rank, : found.lengths[row, rank]].unsqueeze(0)
            inputs = torch.cat([torch.tensor([[START]]), labels[:, :-1]], 1)
            with torch.no_grad():
                nll = st.sequence_cross_entropy(
                    transformer(source[row : row + 1], inputs), labels, normalizer="sequence"
                )
            assert float(found.log_probs[row, rank]) == pytest.approx(-float(nll), abs=1e-10)


def test_positions_are_those_of_the_paper():
    encodings = sinusoids(3, 2, 8)
    for row, place in enumerate((3.0, 4.0)):
        for pair in range(4):
            angle = torch.tensor(place / 10_000 ** (2 * pair / 8))
            torch.testing.assert_close(encodings[row, pair], angle.sin())
            torch.testing.assert_close(encodings[row, 4 + pair], angle.cos())


def test_it_learns_to_reverse():
    source, _, labels = sentences(64, seed=10_000)
    found = beam_search(trained(160).decoding(source), torch.full((64,), 9), width=3)
    expected = [row[: row.index(END)] for row in labels.tolist()]
    right = sum(found.sequence(row) == each for row, each in enumerate(expected))
    assert right >= 48


def test_training_mode_does_not_decode():
    transformer, (source, *_) = model().train(), batch()
    with pytest.raises(ValueError, match=r"`model` must be in eval mode to decode; call `\.eval"):
        transformer.decoding(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "`layers` must be at least 1, got 0"),
        ({"width": 20, "heads": 4}, "`width` must be a multiple of 2 [*] heads, 8, got 20"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_sizes(change, message):
    with pytest.raises(ValueError, match=message):
        Size(**{"vocabulary": V, **change})
