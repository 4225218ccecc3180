"""A translation run: what it leaves, that it goes on to the same numbers, what stops it."""

import math

import msgspec
import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")

from softtargets.lab.errors import LabError
from softtargets.lab.execution import compute
from softtargets.lab.kinds import folder_of
from softtargets.lab.records import StoredRun
from softtargets.lab.training_loop import learning_rate
from softtargets.lab.translation.batches import encoded
from softtargets.lab.translation.kind import KIND
from softtargets.lab.translation.methods import METHODS
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.predictions import predict_tokens
from softtargets.lab.translation.record import TranslationRecord
from softtargets.lab.translation.score import bleu_of, score_text, sentence_statistics
from softtargets.lab.translation.source import load
from softtargets.lab.translation.spec import TranslationSpec
from softtargets.lab.translation.translate import translate
from softtargets.lab.translation.vocabulary import END, Vocabulary
from tests.lab.translation.made_corpus import write_corpus

# In two epochs so small a model may predict no token rightly.
pytestmark = pytest.mark.filterwarnings("ignore:OnlineLabelSmoothing.end_epoch:UserWarning")

TINY = {"vocabulary": 330, "width": 16, "layers": 1, "heads": 2, "feed_forward": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load(f"translation:{write_corpus(tmp_path_factory.mktemp('corpus'))}")


def spec_of(data, method="ls", **fields):
    return TranslationSpec(
        data="x", data_hash=data.digest, method=method, parameters=METHODS[method].parameters,
        **{"seed": 0, "epochs": 2, "beams": (1, 2), "batch_tokens": 200, "resamples": 50}
        | TINY | fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """One run of each method."""
    root = tmp_path_factory.mktemp("runs")
    specs = [spec_of(data, method) for method in METHODS]
    records = compute(specs, [data], root)
    return {spec.method: (folder_of(spec, root), records[spec.run_id]) for spec in specs}


def test_what_a_run_leaves(runs, data):
    for method, (folder, record) in runs.items():
        assert record.spec.method == method
        assert len(record.history) == 2
        assert record.history[1]["loss"] < record.history[0]["loss"]
        assert [search.width for search in record.searches] == [1, 2]
        assert record.signatures[0].startswith("nrefs:1|case:mixed")
        for each in (record.metrics, record.scaled):
            assert each["accuracy"].low <= each["accuracy"].value <= each["accuracy"].high
        assert not (folder.path / "checkpoint.pt").exists()
        for example in record.examples:
            assert len(example.tokens) == len(example.confidences)
            assert example.tokens[-1] == "</s>"
            assert "".join(example.tokens[:-1]).isascii() <= (
                "".join(example.tokens[:-1]) == example.translation
            )
            assert data.test.source[example.index] == example.source


def test_the_numbers_are_those_of_the_model_that_is_kept(runs, data, tmp_path):
    folder, record = runs["ls"]
    arrays = folder.arrays()
    (tmp_path / "vocabulary.json").write_bytes(arrays["vocabulary"].tobytes())
    vocabulary = Vocabulary.load(tmp_path / "vocabulary.json")
    fields = {name: getattr(record.spec, name) for name in ("width", "heads", "layers")}
    model = Transformer(Size(vocabulary=330, feed_forward=16, **fields))
    model.load_state_dict(folder.model_state())
    model.eval()
    for search in record.searches:
        made = translate(model, vocabulary, data.test.source, width=search.width)
        scores = score_text(made.sentences, data.test.target)
        assert (search.bleu, search.chrf) == (scores.bleu, scores.chrf)
        statistics = torch.from_numpy(arrays[f"bleu_statistics_{search.width}"]).long()
        assert bleu_of(statistics.sum(0)) == pytest.approx(scores.bleu, abs=1e-9)
    test = encoded(data.test, vocabulary)
    losses = []
    for source, target in zip(test.source, test.target, strict=True):
        logits = model(torch.tensor([[*source, END]]), torch.tensor([[1, *target]]))[0].double()
        losses.append(torch.nn.functional.cross_entropy(
            logits, torch.tensor([*target, END]), reduction="sum").item())  # fmt: skip
    expected = sum(losses) / sum(len(each) + 1 for each in test.target)
    assert record.metrics["negative_log_likelihood"].value == pytest.approx(expected, rel=1e-5)
    assert arrays["token_nll"].mean() == pytest.approx(expected, rel=1e-5)


def test_errors_of_tokens_against_plain_sums(runs):
    folder, record = runs["hard"]
    arrays = folder.arrays()
    confidence, right = arrays["token_confidence"].astype(float), arrays["token_right"]
    bins = np.clip(np.ceil(confidence * 15), 1, 15)
    error = sum(
        abs((confidence - right)[bins == number].sum()) for number in range(1, 16)
    ) / len(right)  # fmt: skip
    assert record.metrics["expected_calibration_error"].value == pytest.approx(error, abs=1e-6)


def test_a_killed_run_goes_on_to_the_same_numbers(data, tmp_path):
    class Killed(Exception):
        pass

    def kill(epochs):
        if epochs == 1:
            raise Killed

    spec = spec_of(data, "ols")
    with pytest.raises(Killed):
        KIND.perform(spec, data, tmp_path / "killed", kill)
    KIND.check_checkpoint(spec, data, folder_of(spec, tmp_path / "killed"))
    for name in ("killed", "whole"):
        KIND.perform(spec, data, tmp_path / name, lambda epochs: None)
    content = [
        (tmp_path / name / spec.run_id / "arrays.npz").read_bytes() for name in ("killed", "whole")
    ]
    assert content[0] == content[1]


def test_a_checkpoint_of_another_run_is_named(data, tmp_path):
    spec = spec_of(data)
    folder = StoredRun(tmp_path, spec.run_id, TranslationRecord)
    folder.save_checkpoint({"format": 1, "run": "another"})
    with pytest.raises(LabError, match=rf"{spec.run_id} is corrupt: checkpoint.pt is of another"):
        KIND.check_checkpoint(spec, data, folder)


def test_divergence_is_an_error_and_keeps_nothing(data, tmp_path):
    spec = spec_of(data, learning_rate=1e30, clip=1e30)
    with pytest.raises(LabError, match=r"diverged after \d of 2 epochs.*lower --learning-rate"):
        KIND.perform(spec, data, tmp_path, lambda epochs: None)
    assert not list(tmp_path.glob("*/*.pt"))


@pytest.mark.parametrize(
    ("part", "language", "most"),
    [
        ("train", "en", "200; allow more by --batch-tokens, or"),
        ("val", "de", "2,000;"),
        ("test", "en", "2,000;"),
    ],
)
def test_sentences_longer_than_a_batch_are_named_before_training(tmp_path, part, language, most):
    folder = write_corpus(tmp_path / "made")
    path = folder / f"{part}.{language}"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = "za1" * 1500
    path.write_text("\n".join(lines), encoding="utf-8")
    data = load(f"translation:{folder}")
    names = {"val": "validation"}
    message = (
        rf"made: line 3 of its {names.get(part, part)} part in {language} has [\d,]+ tokens, its "
        rf"end counted, and a batch holds {most} split the line"
    )
    epochs = []
    with pytest.raises(LabError, match=message):
        KIND.perform(spec_of(data), data, tmp_path, epochs.append)
    assert not epochs


def test_processes_compute_the_same(data, runs, tmp_path):
    specs = [spec_of(data, method) for method in ("hard", "ls")]
    compute(specs, [data], tmp_path, on="processes:2")
    for spec in specs:
        ours, _ = runs[spec.method]
        theirs = tmp_path / spec.run_id / "arrays.npz"
        assert theirs.read_bytes() == (ours.path / "arrays.npz").read_bytes()


def test_a_spec_is_named_by_what_decides_its_numbers(data):
    spec = spec_of(data)
    assert spec.run_id == msgspec.structs.replace(spec, data="elsewhere").run_id
    assert spec.run_id != msgspec.structs.replace(spec, dropout=0.2).run_id
    again = msgspec.json.decode(msgspec.json.encode(spec), type=TranslationSpec)
    assert (again, again.run_id) == (spec, spec.run_id)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"learning_rate": math.inf}, "`learning_rate` must be positive and finite, got inf"),
        ({"penalty": -1.0}, "`penalty` must be at least 0, got -1.0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), got 1.0"),
        ({"beams": ()}, r"`beams` must be widths from 1 to 200, got \(\)"),
        ({"beams": (4, 4)}, r"`beams` must name each width once, got \(4, 4\)"),
    ],
)
def test_specs_that_make_no_run(data, fields, message):
    with pytest.raises(ValueError, match=message):
        spec_of(data, **fields)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("translation", "a corpus is named translation:FOLDER"),
        ("translation:x?sauce=en", "options of a corpus must be source, target, test, each once"),
        ("translation:x?source=en&source=de", "each once, got source=de"),
        ("translation:/nowhere", "/nowhere is not a folder"),
    ],
)
def test_words_that_name_no_corpus(word, message):
    with pytest.raises(LabError, match=message):
        load(word)


def test_the_learning_rate_rises_and_falls(data):
    spec = spec_of(data, learning_rate=1.0, warm_up=0.25, epochs=4)
    rates = [learning_rate(spec, passed) for passed in (0.0, 0.5, 1.0, 2.5, 4.0)]
    assert 0 < rates[0] < 0.01
    assert rates[1] == pytest.approx(0.5, abs=0.01)
    assert rates[2:] == pytest.approx([1.0, 0.5, 0.0], abs=1e-9)


def test_statistics_of_no_match_at_all():
    statistics = sentence_statistics(["a b"], ["c d e"])
    assert statistics.tolist() == [[0, 0, 0, 0, 2, 1, 0, 0, 2, 3]]
    assert bleu_of(statistics.sum(0)) == 0


def test_predictions_are_those_of_each_sentence_in_order(runs, data):
    folder, _ = runs["unigram"]
    arrays = folder.arrays()
    assert (np.diff(arrays["token_sentence"]) >= 0).all()
    assert set(arrays["token_sentence"]) == set(range(len(data.test)))


def test_intervals_are_none_without_resamples(runs, data):
    torch.manual_seed(0)
    model = Transformer(Size(vocabulary=330, width=16, heads=2, layers=1)).eval()
    vocabulary = Vocabulary.learn([*data.train.source, *data.train.target], 330)
    found = predict_tokens(model, encoded(data.test, vocabulary)).metrics(resamples=0, seed=0)
    assert all(each.low is each.high is None for each in found.values())
