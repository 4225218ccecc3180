"""Comparisons beside classification: their plan, their numbers, what needs no model."""

import numpy as np
import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")

import sacrebleu

from softtargets.lab.errors import LabError
from softtargets.lab.segmentation import comparing
from softtargets.lab.segmentation.data import load as load_scenes
from softtargets.lab.study import write_study
from softtargets.lab.task_compare import TaskSettings, TaskStudy, plan, recall
from softtargets.lab.task_kind import TaskData, task_kind
from softtargets.lab.translation.source import load as load_corpus
from tests.lab.segmentation.scenes import VOID, files, written
from tests.lab.translation.made_corpus import write_corpus

GIVEN = {"kind": "translation", "data": "x", "seeds": 2, "epochs": 1}


def test_the_baseline_of_each_seed_comes_first():
    specs = plan(TaskSettings(**GIVEN, methods=("ls", "hard", "ols")), "digest")
    assert [(spec.seed, spec.method) for spec in specs] == [
        (seed, name) for seed in (0, 1) for name in ("hard", "ls", "ols")
    ]
    assert {spec.data_hash for spec in specs} == {"digest"}
    options = {"learning_rate": 0.1, "beams": (3,)}
    changed = plan(TaskSettings(**GIVEN, methods=("ls",), options=options), "digest")[0]
    assert (changed.learning_rate, changed.beams) == (0.1, (3,))
    assert changed.run_id != specs[1].run_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ()}, r"unknown method \(none\)"),
        ({"seeds": True}, "--seeds must be a whole number"),
        ({"options": {"dropout": 1.0}}, r"--dropout must be in \[0, 1\)"),
    ],
)
def test_bad_settings_name_the_option(changes, message):
    with pytest.raises(LabError, match=message):
        plan(TaskSettings(**{**GIVEN, "methods": ("ls",), **changes}), "")


def test_classification_is_no_such_kind():
    with pytest.raises(ValueError, match="`name` must be a kind with metrics of its own"):
        task_kind("classification")


def test_a_study_of_a_kind_that_is_not_known_is_one_of_another_version(tmp_path):
    data = TaskData(name="", digest="", test=1, facts=[])
    settings = TaskSettings(**GIVEN, methods=("ls",))
    study = TaskStudy(kind="sculpture", settings=settings, data=data, references=[], runs={})
    write_study(tmp_path, study)
    with pytest.raises(LabError, match=r"study\.json is corrupt: `name` must be a kind"):
        recall(tmp_path)


def test_copying_scores_what_sacrebleu_says(tmp_path):
    corpus = load_corpus(f"translation:{write_corpus(tmp_path)}")
    spec = plan(TaskSettings(**GIVEN, methods=("ls",), options={"vocabulary": 330}), "")[0]
    copying, unigrams = task_kind("translation").references(corpus, spec)
    test = corpus.test
    bleu = sacrebleu.corpus_bleu(list(test.source), [list(test.target)]).score
    chrf = sacrebleu.corpus_chrf(list(test.source), [list(test.target)]).score
    assert copying.values == {"bleu_1": bleu, "bleu_4": bleu, "chrf": chrf}
    assert 0 < unigrams.values["negative_log_likelihood"] < np.log(330)


def test_one_class_everywhere_and_void_by_hand(tmp_path):
    data = load_scenes(f"segmentation:{written(tmp_path, files())}?ignore={VOID}")
    [reference] = comparing.references(data)
    train, test = (part.masks.numpy() for part in (data.train, data.test))
    train, test = train[train != VOID], test[test != VOID]
    shares = np.bincount(train, minlength=3) + 1.0
    most, shares = shares.argmax(), shares / shares.sum()
    said = np.full_like(test, most)
    overlap = [
        ((test == k) & (said == k)).sum() / ((test == k) | (said == k)).sum() for k in range(3)
    ]
    expected = {
        "mean_iou": np.mean(overlap),
        "accuracy": (test == said).mean(),
        "negative_log_likelihood": -np.log(shares[test]).mean(),
    }
    assert reference.values == pytest.approx(expected, rel=1e-12)
    void = sum(int((part.masks == VOID).sum()) for part in (data.train, data.validation, data.test))
    assert f"{void:,} of " in dict(comparing.describe(data).facts)["Void"]
