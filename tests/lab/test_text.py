"""Texts as a data set: words, vocabulary, parts, models, runs."""

import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from softtargets import calibration
from softtargets.cli.app import run
from softtargets.lab import compare
from softtargets.lab.data import load
from softtargets.lab.data.words import PAD, UNKNOWN, Words
from softtargets.lab.errors import LabError
from softtargets.lab.label_noise import training_labels
from softtargets.lab.measuring import example_indices
from softtargets.lab.models import TEXT_MODELS, build, penultimate
from softtargets.lab.options import Training
from tests.lab import text_tables


@pytest.fixture
def rings(tmp_path):
    return load(f"text:{text_tables.folder(tmp_path / 'rings')}")


def read(path):
    """Labels and texts of a table, by the standard library alone."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t") for line in lines]


def test_every_word_of_every_text_is_numbered(tmp_path, rings):
    given = read(tmp_path / "rings" / "rings_train.tsv")
    assert (rings.name, rings.class_names) == ("rings, label", ("animal", "tool", "tree"))
    kept = [given[place] for place in rings.positions.tolist()]
    assert [rings.class_names[label] for label in rings.train.labels] == [row[0] for row in kept]
    assert list(rings.texts.train) == [row[1] for row in kept]
    words = [re.findall(r"[a-z0-9]+|\?", text.lower()) for _, text in kept]
    counts = Counter(word for text in words for word in text)
    known = [word for word in counts if counts[word] > 1]
    assert set(rings.texts.words[2:]) == set(known)
    frequencies = [counts[word] for word in rings.texts.words[2:]]
    assert frequencies == sorted(frequencies, reverse=True)
    inputs = rings.train.take(slice(None))
    assert inputs.dtype == torch.int64
    for row, text in zip(inputs.tolist(), words, strict=True):
        said = [rings.texts.words[number] for number in row]
        expected = [word if word in known else "<unk>" for word in text]
        assert said == expected + ["<pad>"] * (len(row) - len(text))


def test_features_count_words(rings):
    features = rings.train.features(torch.tensor([3, 0]))
    for row, number in zip(features, (3, 0), strict=True):
        ids = rings.train.inputs[number].tolist()
        expected = [ids.count(word) for word in range(1, 1025)]
        assert row.tolist() == expected
    assert len(set(example_indices(rings).tolist())) == 12


def test_the_test_part_plays_no_part_in_the_vocabulary(tmp_path, rings):
    root = tmp_path / "rings"
    text_tables.written(root / "rings_test.tsv", [("tool", "Is the saw unheard unheard ?")])
    other = load(f"text:{root}")
    assert other.texts.words == rings.texts.words
    assert other.digest != rings.digest
    assert (other.test.inputs[0] == UNKNOWN).sum() == 2
    fewer = load(f"text:{root}?samples=6")
    assert set(fewer.texts.words) < set(rings.texts.words)
    assert len(fewer.train) == 6


def test_one_table_is_divided_by_its_column_or_by_a_seed(tmp_path):
    given = text_tables.rows(20)
    path = text_tables.written(tmp_path / "rings.tsv", given)
    first, again, other = (load(f"text:{path}{options}") for options in ("", "", "?seed=1"))
    assert first.digest == again.digest != other.digest
    assert (first.name, other.name) == ("rings, label", "rings, label, seed 1")
    assert (len(first.train), len(first.validation), len(first.test)) == (41, 7, 12)
    assert first.test.labels.bincount().tolist() == [4, 4, 4]
    assert "A fifth of every class, drawn by the seed, is for testing." in first.texts.note
    texts = {text for part in ("train", "test") for text in getattr(first.texts, part)}
    assert len(texts) == 53
    parts = ["test", "dev"] + ["train"] * 58
    marked = [(part, *row) for part, row in zip(parts, given, strict=True)]
    path = text_tables.written(tmp_path / "parts.tsv", marked, header="split\tlabel\ttext")
    data = load(f"text:{path}")
    assert (len(data.train), len(data.validation), len(data.test)) == (58, 1, 1)
    assert data.texts.test == (given[0][1],)
    path.write_text(path.read_text().replace("dev", "else"))
    with pytest.raises(LabError, match="line 3: split must say train, test or validation, got"):
        load(f"text:{path}")
    path.write_text(path.read_text().replace("else", "train").replace("test\t", "train\t"))
    with pytest.raises(LabError, match="no row of split says test; mend it"):
        load(f"text:{path}")


def test_a_table_for_validation_is_used(tmp_path):
    root = text_tables.folder(tmp_path / "rings")
    text_tables.written(root / "rings-dev.tsv", text_tables.rows(5, start=200))
    data = load(f"text:{root}")
    assert (len(data.train), len(data.validation), len(data.test)) == (72, 15, 24)
    assert data.positions.tolist() == list(range(72))
    rare = [*text_tables.rows(24), ("gem", "Is the ruby old ?")]
    text_tables.written(root / "rings_train.tsv", rare)
    assert load(f"text:{root}").class_names == ("animal", "gem", "tool", "tree")


def test_what_was_read_is_told(tmp_path, rings):
    note = rings.texts.note
    assert note.startswith("The text is the column text, the label the column label. ")
    assert "The longest text has 8 words; none is cut." in note
    share = float((rings.test.inputs == UNKNOWN).sum() / (rings.test.inputs != PAD).sum())
    assert f"{100 * share:.1f} % of those of the test part." in note
    root = tmp_path / "rings"
    given = text_tables.rows(24)
    wide = [(label, "kept", text) for label, text in given]
    text_tables.written(root / "rings_train.tsv", wide, header="label\tid\ttext")
    text_tables.written(root / "rings_test.tsv", [*given[:5], ("tool", "An axe ?")])
    note = load(f"text:{root}?words=6").texts.note
    assert "the label the column label; not read: id." in note
    assert "5 of 6 test texts are also in the training or validation part." in note
    cut = sum(len(text.split()) > 6 for _, text in given[:5])
    assert "of each the first 6 are read, so that " in note
    assert f"{cut} of 6 test texts are cut." in note
    assert load(f"text:{root}?words=6").shape == (6,)


def test_texts_that_memory_does_not_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("softtargets.lab.data.encoding.physical_memory", lambda: 1000)
    with pytest.raises(LabError, match=r"96 texts with room for the 8 words .* \?words=4"):
        load(f"text:{text_tables.folder(tmp_path / 'rings')}")


def test_words_that_occur_once_are_unknown():
    words = Words.learn([["b", "a", "a"], ["b", "c"]])
    assert words.words == ("<pad>", "<unk>", "a", "b")
    assert words.encode([["c", "b"], ["<pad>"]], 2).tolist() == [[UNKNOWN, 3], [UNKNOWN, PAD]]


@pytest.mark.parametrize("name", TEXT_MODELS)
class TestModels:
    def test_what_stands_behind_a_text_changes_nothing(self, name):
        model = build(name, (9,), 4, seed=0, num_words=50).eval()
        inputs = torch.randint(1, 50, (6, 9), generator=torch.Generator().manual_seed(0))
        inputs[0, 1:], inputs[1, 4:] = PAD, PAD
        with torch.no_grad():
            logits = model(inputs)
            longer = model(torch.nn.functional.pad(inputs, (0, 7)))
            alone = torch.cat([model(row[row != PAD][None]) for row in inputs])
        torch.testing.assert_close(longer, logits)
        torch.testing.assert_close(alone, logits)
        assert not torch.allclose(model(inputs.clamp(min=1)), logits, atol=1e-4)
        assert model(inputs[:0]).shape == (0, 4)

    def test_the_last_layer_of_the_features_is_the_model(self, name):
        model = build(name, (9,), 4, seed=0, num_words=50).eval()
        inputs = torch.randint(1, 50, (6, 9))
        features, head = penultimate(model)
        assert torch.equal(head(features(inputs)), model(inputs))

    def test_every_weight_learns_but_that_of_no_word(self, name):
        model = build(name, (9,), 3, seed=0, num_words=10)
        inputs = torch.arange(1, 10).repeat(6, 1)
        inputs[:3, 4:] = PAD
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        losses = []
        for _ in range(30):
            loss = torch.nn.functional.cross_entropy(model(inputs), torch.arange(6) // 3)
            optimizer.zero_grad()
            loss.backward()
            assert all(each.grad.abs().sum() > 0 for each in model.parameters())
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.3 * losses[0]
        assert next(model.parameters())[PAD].abs().sum() == 0


def test_the_convolutions_are_those_of_a_loop():
    model = build("text-cnn", (4,), 3, seed=0, num_words=20).double().eval()
    ids = [5, 7, 9]
    vectors = [model.features.embedding.weight[number] for number in ids]
    found = []
    for convolution, width in zip(model.features.convolutions, (2, 3, 4), strict=True):
        blank = [torch.zeros(64, dtype=torch.float64)] * (width - 1)
        padded = [*blank, *vectors, *blank]
        windows = [padded[start : start + width] for start in range(len(ids) + width - 1)]
        answers = [
            sum(convolution.weight[:, :, place] @ each for place, each in enumerate(window))
            + convolution.bias
            for window in windows
        ]
        found.append(torch.stack(answers).relu().amax(0))
    expected = model.head(torch.cat(found))
    torch.testing.assert_close(model(torch.tensor([[*ids, 0]]))[0], expected)


def settings(root, **changed):
    training = Training(model="text-bag", optimizer="adamw", learning_rate=0.02, batch_size=12)
    given = {"methods": ("hard",), "seeds": 1, "epochs": 6, "training": training}
    return compare.Settings(data=f"text:{root}", **(given | changed))


def test_methods_learn_from_texts(tmp_path, monkeypatch):
    coarse = partial(calibration.evaluate, bootstrap=2)  # intervals are of no interest
    monkeypatch.setattr(calibration, "evaluate", coarse)
    root = text_tables.folder(tmp_path / "rings")
    asked = settings(root, methods=("hard", "ls", "prior", "ols", "ils"))
    found = compare.compare(asked, tmp_path / "out")
    for method in asked.methods:
        assert found.records(method)[0].metrics["accuracy"].value == 1
    summary = compare.recall(tmp_path / "out").data
    assert summary.texts == found.data.texts
    example = found.records("ils")[0].examples[0]
    assert summary.texts.train[example.index] == load(asked.data).texts.train[example.index]


@pytest.mark.parametrize("kind", ["symmetric", "pair", "instance"])
def test_labels_of_texts_are_flipped(rings, kind):
    asked = settings("x", noise=0.3, noise_kind=kind)
    spec = compare.plan(asked, rings)[0]
    share = (training_labels(spec, rings) != rings.train.labels).double().mean()
    assert 0.1 < share < 0.5
    assert torch.equal(training_labels(spec, rings), training_labels(spec, rings))


def test_noisy_labels_of_a_file_belong_to_the_training_table(tmp_path):
    root = text_tables.folder(tmp_path / "rings")
    noisy = np.random.default_rng(0).integers(0, 3, 72)
    np.save(tmp_path / "noisy.npy", noisy)
    data = load(f"text:{root}", str(tmp_path / "noisy.npy"))
    assert np.array_equal(data.noisy, noisy[data.positions])


def test_what_does_not_go_with_texts_is_refused(tmp_path):
    root = text_tables.folder(tmp_path / "rings")

    def refused(message, **changed):
        with pytest.raises(LabError, match=message):
            compare.compare(settings(root, **changed), tmp_path / "out")

    refused("mixup, mixup-ls: inputs are mixed", methods=("ls", "mixup", "mixup-ls"))
    refused("mollify-noise: inputs are mixed, or noise is added", methods=("mollify-noise",))
    refused("mlp is for numbers, and these data are texts; .* as --model", training=Training())
    shifted = Training(model="text-bag", augment="shift")
    refused("augmentation 'shift' is for pictures", training=shifted)
    with pytest.raises(LabError, match="text-cnn is for texts, and these data are none"):
        compare.compare(compare.Settings(training=Training(model="text-cnn")), tmp_path / "other")


def test_all_methods_on_texts_are_those_that_suit_them(tmp_path, capsys):
    root = text_tables.folder(tmp_path / "rings")
    command = ["compare", "--data", f"text:{root}", "--methods", "all", "--out", str(tmp_path)]
    assert run(command) == 2
    assert "the model mlp is for numbers, and these data are texts" in capsys.readouterr().err


def test_trec(shared_data):
    data = load(f"text:{shared_data / 'text'}")
    assert data.name == "trec, coarse"
    assert (data.num_classes, data.class_names[0], data.class_names[5]) == (6, "ABBR", "NUM")
    assert (len(data.train), len(data.validation), len(data.test)) == (4673, 779, 500)
    assert data.shape == (37,)
    assert "none is cut" in data.texts.note
    assert load(f"text:{shared_data / 'text'}?label=fine").num_classes == 50
