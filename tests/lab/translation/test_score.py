"""Scores of text and of tokens, and the baselines a model must beat."""

import math
import sys

import numpy as np
import pytest
import torch

from softtargets.lab import seeds
from softtargets.lab.errors import LabError
from softtargets.lab.translation.baselines import copied, unigram_nll, unigrams
from softtargets.lab.translation.batches import EncodedPairs
from softtargets.lab.translation.corpus import Pairs
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.predictions import predict_tokens
from softtargets.lab.translation.score import fit_temperature, score_text, score_tokens
from softtargets.lab.translation.vocabulary import END, START
from tests.reference import log_softmax

V = 9


class TestText:
    references = ("Ein Hund rennt im Freien.", "Zwei Männer sitzen hier.")

    def test_the_ends_of_the_scale_and_the_signature(self):
        pytest.importorskip("sacrebleu", reason="needs sacrebleu, from the extra `translation`")
        right = score_text(self.references, self.references)
        assert right.bleu == pytest.approx(100)
        assert right.chrf == pytest.approx(100)
        assert right.bleu_signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")
        assert right.chrf_signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|")
        wrong = score_text(["xyz qqq vvv www", "jjj kkk lll yyy"], self.references)
        assert wrong.bleu < 5
        assert wrong.chrf < 5

    def test_bleu_by_its_formula(self):
        """Four clipped n-gram precisions and the brevity penalty, on words."""
        pytest.importorskip("sacrebleu", reason="needs sacrebleu, from the extra `translation`")
        made, wanted = (
            ["a", "b", "c", "d", "e", "f", "a", "a"],
            ["a", "b", "c", "d", "e", "x", "f", "g", "h", "i"],
        )
        logs = 0.0
        for n in (1, 2, 3, 4):
            ours, theirs = (
                [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
                for words in (made, wanted)
            )
            matched = sum(min(ours.count(gram), theirs.count(gram)) for gram in set(ours))
            logs += math.log(matched / len(ours)) / 4
        expected = 100 * math.exp(logs + min(0, 1 - len(wanted) / len(made)))
        assert score_text([" ".join(made)], [" ".join(wanted)]).bleu == pytest.approx(expected)

    def test_without_sacrebleu(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
        with pytest.raises(LabError, match=r"need sacrebleu; pip install 'softtargets\[trans"):
            score_text(self.references, self.references)

    def test_errors(self):
        with pytest.raises(ValueError, match="must be as many, at least one, got 1 and 2"):
            score_text(["x"], self.references)
        with pytest.raises(ValueError, match="got 0 and 0"):
            score_text([], [])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = Transformer(Size(vocabulary=V, width=8, heads=2, layers=1, feed_forward=8)).eval()
    return built.double()


@pytest.fixture(scope="module")
def pairs():
    generator = np.random.default_rng(0)
    return EncodedPairs(
        source=[generator.integers(3, V, 1 + i % 5).tolist() for i in range(40)],
        target=[generator.integers(3, V, 1 + i % 7).tolist() for i in range(40)],
    )


def predictions(model, pairs, temperature=1.0):
    """Log-probabilities and labels, sentence by sentence, without padding."""
    rows, labels = [], []
    for source, target in zip(pairs.source, pairs.target, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*source, END]]), torch.tensor([[START, *target]]))[0]
        rows += [log_softmax(row / temperature) for row in logits.numpy()]
        labels += [*target, END]
    return np.array(rows), np.array(labels)


class TestTokens:
    @pytest.mark.parametrize("temperature", [1.0, 2.5])
    def test_by_sentence_without_padding(self, model, pairs, temperature):
        rows, labels = predictions(model, pairs, temperature)
        found = score_tokens(model, pairs, batch_tokens=30, temperature=temperature)
        assert found.tokens == len(labels)
        nll = -rows[np.arange(len(labels)), labels].mean()
        assert found.negative_log_likelihood == pytest.approx(nll, abs=1e-10)
        assert found.perplexity == pytest.approx(math.exp(nll), abs=1e-8)
        right = rows.argmax(1) == labels
        assert found.accuracy == pytest.approx(right.mean())
        confidence = np.exp(rows.max(1))
        bins = np.minimum((confidence * 15).astype(int), 14)
        gaps = [
            abs((right[bins == b] - confidence[bins == b]).sum()) / len(labels) for b in range(15)
        ]
        assert found.expected_calibration_error == pytest.approx(sum(gaps), abs=1e-10)
        assert found.expected_calibration_error_debiased < found.expected_calibration_error

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_numbers_of_a_record(self, model, pairs, dtype):
        same = Transformer(model.size).eval()
        same.load_state_dict(model.state_dict())
        same = same.to(dtype)
        predicted = predict_tokens(same, pairs, batch_tokens=30, temperature=1.7)
        assert predicted.nll.dtype == predicted.confidence.dtype == dtype
        found = score_tokens(same, pairs, batch_tokens=30, temperature=1.7)
        metrics = predicted.metrics(resamples=10, seed=3)
        assert {key: getattr(found, key) for key in metrics} == {
            key: estimate.value for key, estimate in metrics.items()
        }
        assert metrics["negative_log_likelihood"].low < found.negative_log_likelihood

    def test_the_temperature_of_least_nll(self, model, pairs):
        temperature = fit_temperature(model, pairs, batch_tokens=30).temperature
        best = score_tokens(model, pairs, temperature=temperature).negative_log_likelihood
        for other in (0.98, 1.02):
            nll = score_tokens(model, pairs, temperature=other * temperature)
            assert best < nll.negative_log_likelihood

    def test_errors(self, model, pairs):
        with pytest.raises(ValueError, match="`temperature` must be finite and > 0, got 0"):
            score_tokens(model, pairs, temperature=0.0)
        training = Transformer(model.size)
        with pytest.raises(ValueError, match=r"`model` must be in eval mode to be scored"):
            score_tokens(training, pairs)
        with pytest.raises(ValueError, match=r"`model` must be in eval mode to be scored"):
            fit_temperature(training, pairs)


class TestBaselines:
    train = Pairs(source=("a b", "c d"), target=("x y x", "x y z"))

    def test_copying(self):
        assert copied(("a b", "c")) == ["a b", "c"]

    def test_words_as_often_as_they_occur(self):
        sources = ["one two three four"] * 2000
        drawn = unigrams(self.train, sources, seeds.generator("unigrams", 0))
        assert drawn == unigrams(self.train, sources, seeds.generator("unigrams", 0))
        # Three target words for two source words.
        assert {len(each.split()) for each in drawn} == {6}
        words = " ".join(drawn).split()
        for word, share in (("x", 1 / 2), ("y", 1 / 3), ("z", 1 / 6)):
            assert words.count(word) / len(words) == pytest.approx(share, abs=0.02)

    def test_nll_of_frequencies(self):
        train, test = [[3, 3, 4], [3]], [[3], [5]]
        counts = np.ones(V)
        np.add.at(counts, [3, 3, 4, END, 3, END], 1)
        expected = -np.log(counts / counts.sum())[[3, END, 5, END]].mean()
        assert unigram_nll(train, test, END, V) == pytest.approx(expected, abs=1e-6)
