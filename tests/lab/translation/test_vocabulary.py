"""The subword vocabulary, batches of its tokens, and checkpoints tied to it."""

import json
import sys

import pytest
import torch

from softtargets.lab import seeds
from softtargets.lab.errors import LabError
from softtargets.lab.translation import checkpoint
from softtargets.lab.translation.batches import EncodedPairs, batches, encoded, grouped
from softtargets.lab.translation.corpus import Pairs
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.translate import translate
from softtargets.lab.translation.vocabulary import END, PAD, SMALLEST, START, Vocabulary

pytest.importorskip("tokenizers", reason="needs tokenizers, from the extra `translation`")

TEXT = [
    f"{who} {does} {where}."
    for who in ("A dog", "Two men", "Eine Katze", "Zwei Männer")
    for does in ("runs", "sit", "rennt", "sitzen")
    for where in ("here", "outside", "im Freien")
]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.learn(TEXT, 300)


class TestVocabulary:
    def test_any_text_comes_back(self, vocabulary):
        strange = ["Größe 😀 \u2028 x", " <s> </s>  <pad>", "\x00\x7f", "日本語"]
        tokens = vocabulary.encode([*TEXT, *strange])
        assert vocabulary.decode(tokens) == [*TEXT, *strange]
        assert vocabulary.size == 300
        for each in tokens:
            assert not {PAD, START, END} & set(each)
        assert max(map(len, tokens[: len(TEXT)])) < max(map(len, TEXT)) / 2

    def test_special_tokens_are_left_out(self, vocabulary):
        (tokens,) = vocabulary.encode(["A dog"])
        assert vocabulary.decode([[START, *tokens, END, PAD]]) == ["A dog"]

    def test_the_same_sentences_give_the_same_vocabulary(self, vocabulary, tmp_path):
        again = Vocabulary.learn(iter(TEXT), 300)
        assert again.digest == vocabulary.digest
        assert Vocabulary.learn(TEXT, 299).digest != vocabulary.digest
        vocabulary.save(tmp_path / "v.json")
        loaded = Vocabulary.load(tmp_path / "v.json")
        assert loaded.digest == vocabulary.digest
        assert loaded.encode(["A </s> dog"]) == vocabulary.encode(["A </s> dog"])

    def test_without_tokenizers(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(LabError, match=r"need tokenizers; pip install 'softtargets\[transl"):
            Vocabulary.learn(TEXT, 300)

    def test_errors(self, vocabulary, tmp_path):
        with pytest.raises(ValueError, match=rf"`size` must be at least {SMALLEST}, .* got 100"):
            Vocabulary.learn(TEXT, 100)
        with pytest.raises(LabError, match=r"has 26\d subwords, 5000 were .* --vocabulary 26\d$"):
            Vocabulary.learn(["A dog"], 5000)
        with pytest.raises(ValueError, match=r"`tokens` must be in 0 \.\. 299, .* got 300"):
            vocabulary.decode([[300]])
        path = tmp_path / "v.json"
        for content in ("", "{}", "\udc80"):
            path.write_bytes(content.encode("utf-8", "surrogateescape"))
            with pytest.raises(LabError, match=r"v\.json cannot be read as a vocabulary: .*learn"):
                Vocabulary.load(path)
        vocabulary.save(path)
        other = json.loads(path.read_text().replace('"<pad>"', '"<other>"'))
        path.write_text(json.dumps(other))
        with pytest.raises(LabError, match=r"must be the tokens 0, 1 and 2, got \[None, 1, 2\]"):
            Vocabulary.load(path)


def pairs_of(lengths):
    return EncodedPairs(
        source=[[3] * source for source, _ in lengths],
        target=[list(range(3, 3 + target)) for _, target in lengths],
    )


class TestBatches:
    lengths = tuple((1 + i % 7, 1 + i * 5 % 11) for i in range(60))

    def test_every_pair_comes_once_and_no_batch_is_too_large(self):
        pairs = pairs_of(self.lengths)
        for generator in (None, seeds.generator("batches", 0)):
            found = list(batches(pairs, 40, generator))
            assert sorted(torch.cat([batch.index for batch in found]).tolist()) == list(range(60))
            assert len(found) > 5
            for batch in found:
                assert max(batch.source.numel(), batch.labels.numel()) <= 40
                for row, i in enumerate(batch.index.tolist()):
                    source, target = pairs.source[i], pairs.target[i]
                    assert batch.source[row][batch.source[row] != PAD].tolist() == [*source, END]
                    assert batch.labels[row][batch.labels[row] != PAD].tolist() == [*target, END]
                    inputs = batch.inputs[row][: len(target) + 1].tolist()
                    assert inputs == [START, *target]
                    assert bool((batch.inputs[row][len(target) + 1 :] == PAD).all())

    def test_the_order_is_the_generators(self):
        lengths = [max(pair) for pair in self.lengths]

        def order(*parts):
            return grouped(lengths, 40, seeds.generator(*parts))

        assert order("order", 0, 1) == order("order", 0, 1)
        assert order("order", 0, 1) != order("order", 0, 2)
        firsts = [lengths[group[0]] for group in order("order", 0, 1)]
        assert firsts != sorted(firsts)
        assert [lengths[group[0]] for group in grouped(lengths, 40)] == sorted(firsts)

    def test_a_pair_longer_than_a_batch(self):
        pairs = pairs_of([(2, 2), (3, 9)])
        assert len(list(batches(pairs, 10))) == 2
        with pytest.raises(LabError, match=r"line 2 has 10 tokens, .* a batch holds 9; allow more"):
            list(batches(pairs, 9))

    def test_pairs_are_encoded(self, vocabulary):
        found = encoded(Pairs(source=("A dog",), target=("Eine Katze",)), vocabulary)
        assert vocabulary.decode([*found.source, *found.target]) == ["A dog", "Eine Katze"]
        assert len(found) == 1


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Transformer(Size(vocabulary=300, width=16, heads=2, layers=1, feed_forward=16)).eval()


class TestCheckpoint:
    def test_it_comes_back(self, model, vocabulary, tmp_path):
        checkpoint.save(tmp_path / "m.pt", model, vocabulary)
        loaded = checkpoint.load(tmp_path / "m.pt", vocabulary)
        assert loaded.size == model.size
        assert not loaded.training
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)

    def test_what_does_not_fit(self, model, vocabulary, tmp_path):
        other = Vocabulary.learn([each.upper() for each in TEXT], 300)
        path = tmp_path / "m.pt"
        checkpoint.save(path, model, vocabulary)
        message = (
            rf"m\.pt was trained with the vocabulary {vocabulary.digest} of 300 tokens, this one "
            rf"is {other.digest} of 300; load the one saved beside it"
        )
        with pytest.raises(LabError, match=message):
            checkpoint.load(path, other)
        with pytest.raises(ValueError, match="must have the model's 300 tokens, got 299"):
            checkpoint.save(path, model, Vocabulary.learn(TEXT, 299))

    def test_what_cannot_be_read(self, model, vocabulary, tmp_path):
        path = tmp_path / "m.pt"
        for content in (b"", b"nothing", {"model": 1}, {"size": {"depth": 3}}):
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                torch.save(content, path)
            with pytest.raises(LabError, match=r"m\.pt cannot be read as a translation model: "):
                checkpoint.load(path, vocabulary)
        checkpoint.save(path, model, vocabulary)
        content = torch.load(path, weights_only=True)
        del content["model"]["embedding.weight"]
        torch.save(content, path)
        with pytest.raises(LabError, match=r"(?s)m\.pt is damaged: .*embedding\.weight"):
            checkpoint.load(path, vocabulary)


class TestTranslate:
    def test_order_limits_and_batches(self, model, vocabulary):
        sources = [TEXT[i] for i in (5, 0, 31, 2, 17)]
        together = translate(model, vocabulary, sources, width=2)
        apart = translate(model, vocabulary, sources, width=2, batch_tokens=20)
        assert together.sentences == apart.sentences
        torch.testing.assert_close(torch.tensor(together.scores), torch.tensor(apart.scores))
        for source, translation in zip(sources, together.sentences, strict=True):
            assert translate(model, vocabulary, [source], width=2).sentences == [translation]
        # An untrained model does not know when to end, and it is said how often it did not.
        assert together.forced == len(sources)

    def test_errors(self, model, vocabulary):
        with pytest.raises(ValueError, match="`sentences` must not be empty, number 2 is; leave"):
            translate(model, vocabulary, ["A dog", " "])
        with pytest.raises(LabError, match=r"line 1 has .* a batch holds 5; allow more tokens"):
            translate(model, vocabulary, [TEXT[-1]], batch_tokens=5)
        with pytest.raises(ValueError, match="must be the model's, of 300 tokens, got 299"):
            translate(model, Vocabulary.learn(TEXT, 299), TEXT)
