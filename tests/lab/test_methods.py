"""The catalogue of methods: every one builds, learns, is saved, and is told apart."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from softtargets.lab import compare, data
from softtargets.lab.epoch import end_epoch
from softtargets.lab.errors import LabError
from softtargets.lab.methods import BASELINE, DEFAULT, METHODS, Family, expanded
from softtargets.lab.task import Task, Teacher
from softtargets.target import Target


def test_the_run_ids_of_earlier_versions_stay():
    planned = compare.plan(compare.Settings(seeds=1), data.load("digits"))
    assert [spec.run_id for spec in planned] == [
        "hard-seed0-508ea48af91a",
        "ls-seed0-2ba74f93a6d7",
        "ols-seed0-6567b026e7f7",
        "ils1-seed0-41fc806ce7b8",
        "ils2-seed0-edd08fc4b4bc",
        "ils-seed0-1673e798713d",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_criterion_knows_is_in_the_checkpoint(method):
    """One built anew goes on where another was saved, and with what that one was built from.

    A class matrix even without its teacher, a correction without its estimate.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 10
    teacher = Teacher(logits=3 * torch.randn(40, 10, generator=generator), temperature=1.5)
    other = Teacher.silent(40, 10) if method == "cls" else teacher
    parameters = METHODS[method].parameters
    given = {"teacher_logits": teacher.logits} if METHODS[method].teacher else {}
    truth = torch.where(torch.arange(40) < 10, (labels + 1) % 10, labels)
    task = partial(
        Task, parameters=parameters, num_classes=10, labels=labels, epochs=4, true_labels=truth
    )
    noise = torch.rand(10, 10, generator=generator, dtype=torch.float64) + torch.eye(10)
    known = noise / noise.sum(-1, keepdim=True)
    unknown = torch.eye(10, dtype=torch.float64)
    first, second = (
        METHODS[method].build(task(teacher=taught, estimated=estimated))
        for taught, estimated in ((teacher, known), (other, unknown))
    )
    logits = torch.randn(40, 10, generator=generator)
    for _ in range(2):
        first(logits.requires_grad_(), labels, **given)
        end_epoch(first)
    second.load_state_dict(first.state_dict())
    ours, theirs = (each(logits, labels, **given) for each in (first, second))
    assert torch.equal(ours, theirs)
    assert ours.isfinite()


def test_the_run_ids_of_students_stay():
    settings = compare.Settings(methods=("distill",), seeds=1, noise=0.4)
    assert [spec.run_id for spec in compare.plan(settings, data.load("digits"))] == [
        "hard-seed0-05499b592a39",
        "distill-seed0-f72b4a038388",
    ]


def test_a_student_follows_its_teacher():
    settings = compare.Settings(
        methods=("distill-ls", "ls", "ils2", "distill-forward-est"), seeds=2
    )
    planned = compare.plan(settings, data.load("digits"))
    methods = ["hard", "ls", "forward-est", "distill-ls", "ils2", "distill-forward-est"]
    assert [(spec.seed, spec.method) for spec in planned] == [
        (seed, method) for seed in range(2) for method in methods
    ]
    runs = {(spec.seed, spec.method): spec.run_id for spec in planned}
    for spec in planned:
        teacher = METHODS[spec.method].teacher
        assert spec.teacher == (teacher and runs[spec.seed, teacher])


def test_no_teacher_has_a_teacher():
    for method in METHODS.values():
        assert method.teacher is None or METHODS[method.teacher].teacher is None


def test_all_is_every_method_that_suits_any_data():
    only = {"cutmix", "mollify", "mollify-blur"}
    assert expanded(("all",)) == tuple(name for name in METHODS if name not in only)
    assert expanded(("hard", "all")) == ("hard", "all")
    changing = only | {"mixup", "mixup-ls", "mollify-noise"}
    of_texts = tuple(name for name in METHODS if name not in changing)
    assert expanded(("all",), texts=True) == of_texts
    assert expanded(("mixup",), texts=True) == ("mixup",)
    assert set(DEFAULT) <= set(METHODS)


def test_a_class_that_noise_has_emptied_is_spread_evenly():
    teacher = Teacher(logits=torch.tensor([[2.0, 0.0, 0.0], [800.0, 0.0, -800.0]]), temperature=1.0)
    labels = torch.tensor([0, 0])
    said = teacher.said_of(labels)
    assert torch.equal(said[0], teacher.logits.double().softmax(-1).mean(0))
    task = Task(
        parameters={"rate": 0.3},
        num_classes=3,
        labels=labels,
        epochs=1,
        true_labels=labels,
        teacher=teacher,
    )
    matrix = METHODS["cls"].build(task).smoothing.matrix
    assert torch.allclose(matrix[1], torch.tensor([0.5, 0.0, 0.5]))
    assert torch.allclose(matrix[0], torch.tensor([0.0, 0.5, 0.5]), atol=1e-3)


@pytest.mark.parametrize("method", ["maxsup", "mixup-ls", "mollify"])
def test_schedules_and_changes_go_on_after_an_interrupt(tmp_path, method):
    settings = compare.Settings(methods=(method,), seeds=1, epochs=3)
    whole = compare.compare(settings, tmp_path / "whole")

    def interrupt(spec, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare.compare(settings, tmp_path / "torn", compare.Progress(epoch=interrupt))
    torn = compare.compare(settings, tmp_path / "torn")
    assert torn.records(method)[0].history == whole.records(method)[0].history
    ours, theirs = (each.arrays(method)[0]["test_logits"] for each in (torn, whole))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["mollify", "cutmix"])
def test_methods_for_pictures_are_for_pictures_alone(tmp_path, method):
    settings = compare.Settings(data="two-gaussians?seed=0", methods=(method,), seeds=1)
    with pytest.raises(LabError, match=rf"{method} is for pictures, .* samples of shape \(2,\)"):
        compare.compare(settings, tmp_path)
    assert not list((tmp_path / "runs").glob("*/record.json"))


@pytest.mark.parametrize("method", ["mollify-blur", "cutmix"])
def test_pictures_with_channels_last_are_changed_along_rows_and_columns(method):
    change, parameters = METHODS[method].change, METHODS[method].parameters
    pictures = torch.randn(8, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    target = Target.from_labels(torch.zeros(8).long(), 2)
    first, last = (
        change(inputs, target, parameters, torch.Generator().manual_seed(1))[0]
        for inputs in (pictures, pictures.movedim(1, -1))
    )
    assert torch.equal(first.movedim(1, -1), last)
    assert not torch.equal(first, pictures)


def test_every_method_is_described_once():
    for field in ("title", "name", "summary"):
        assert len({getattr(method, field) for method in METHODS.values()}) == len(METHODS)
    for name, method in METHODS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert len(method.title) <= 11
        assert method.summary.endswith(".")
        assert (method.family is None) == (name == BASELINE)
        assert all(type(value) is float for value in method.parameters.values())
    assert {method.family for method in METHODS.values()} == {None, *Family}
