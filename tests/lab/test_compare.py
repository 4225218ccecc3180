import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import softtargets as st
from softtargets.lab import classification, compare, data, summary, train
from softtargets.lab.errors import LabError
from softtargets.lab.execution import schedule
from softtargets.lab.records import RunFolder
from tests.lab.files import numbers

SMALL = compare.Settings(methods=("hard", "ols", "ils"), seeds=2, epochs=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    compare.use_threads(1)  # as in the processes that are killed
    folder = tmp_path_factory.mktemp("comparison")
    return folder, compare.compare(SMALL, folder)


def test_recorded_metrics_are_those_of_the_recorded_logits(finished):
    _, comparison = finished
    digits = data.load("digits")
    for folder, record in comparison.runs["ols"]:
        arrays = {name: torch.from_numpy(value) for name, value in folder.arrays().items()}
        assert torch.equal(arrays["test_labels"], digits.test.labels)
        logits, labels = arrays["test_logits"], arrays["test_labels"]
        assert record.metrics["accuracy"].value == (logits.argmax(1) == labels).double().mean()
        expected = torch.nn.functional.cross_entropy(logits.double(), labels)
        assert record.metrics["negative_log_likelihood"].value == pytest.approx(float(expected))
        scaling = st.calibration.TemperatureScaling()
        scaling.fit(arrays["validation_logits"], arrays["validation_labels"])
        assert record.temperature == scaling.temperature
        scaled = torch.nn.functional.cross_entropy(logits.double() / record.temperature, labels)
        assert record.scaled["negative_log_likelihood"].value == pytest.approx(float(scaled))
        assert len(record.history) == SMALL.epochs


def test_training_learns_and_methods_differ(finished):
    _, comparison = finished
    losses = {}
    for method in SMALL.methods:
        first, *_, last = comparison.records(method)[0].history
        assert last.validation_nll < first.validation_nll
        losses[method] = [
            record.metrics["brier_score"].value for record in comparison.records(method)
        ]
    assert len({value for values in losses.values() for value in values}) == 6


def test_finished_runs_are_not_computed_again(finished, monkeypatch):
    folder, _ = finished
    before = numbers(folder)
    monkeypatch.setattr(classification, "run", lambda *arguments: pytest.fail("computed again"))
    again = compare.compare(SMALL, folder)
    assert again.records("hard") == finished[1].records("hard")
    assert numbers(folder) == before


def test_a_method_more_computes_that_method_alone(finished):
    folder, _ = finished
    planned = []
    settings = compare.Settings(methods=("hard", "ls", "ols", "ils"), seeds=2, epochs=3)
    progress = compare.Progress(planned=lambda specs, done: planned.append((specs, done)))
    compare.compare(settings, folder, progress)
    [(specs, done)] = planned
    assert [spec.method for spec in specs] == ["ls", "ls"]
    assert done == 6


def test_teachers_are_trained_where_they_are_not_asked_for(tmp_path):
    comparison = compare.compare(compare.Settings(methods=("ils2",), seeds=1, epochs=1), tmp_path)
    assert list(comparison.runs) == ["ils2"]
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "runs").iterdir())
    assert names == ["hard", "ils2"]
    [row] = summary.summarise(comparison)
    assert row.plain_difference == {}
    assert np.isnan(row.plain["accuracy"].low)


def _compute(folder: str) -> None:
    torch.set_num_threads(1)
    compare.compare(SMALL, Path(folder))


def test_killed_runs_go_on_to_the_same_numbers(finished, tmp_path):
    reference = {
        name: value for name, value in numbers(finished[0]).items() if not name.startswith("ls-")
    }
    context = multiprocessing.get_context("spawn")
    kills = 0
    for wanted in (5, 13):
        process = context.Process(target=_compute, args=(str(tmp_path),))
        process.start()
        while process.is_alive() and _epochs(tmp_path) < wanted:
            time.sleep(0.005)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
    assert kills >= 1, "the runs were too fast to be killed"
    compare.compare(SMALL, tmp_path)
    assert numbers(tmp_path) == reference


def _epochs(folder: Path) -> int:
    """Finished epochs, counted from outside while another process computes."""
    done = 3 * len(list(folder.glob("runs/*/record.json")))
    return done + len(list(folder.glob("runs/*/checkpoint.pt")))


def test_an_interrupt_loses_the_epoch_in_flight_at_most(tmp_path, finished):
    settings = compare.Settings(methods=("ols",), seeds=1, epochs=3)

    def interrupt(spec, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare.compare(settings, tmp_path, compare.Progress(epoch=interrupt))
    started = []
    compare.compare(settings, tmp_path, compare.Progress(epoch=lambda s, e: started.append(e)))
    assert started == [2, 3]
    [name] = [path.name for path in (tmp_path / "runs").iterdir()]
    assert numbers(tmp_path)[name] == numbers(finished[0])[name]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("record.json", b"{", "Input data was truncated"),
        ("record.json", b'{"format": 1, "colour": 3}', "Object contains unknown field"),
        ("arrays.npz", b"PK", "arrays.npz is not the file that was written"),
        ("arrays.npz", None, "arrays.npz is missing"),
        ("model.pt", b"PK", "model.pt is not the file that was written"),
        ("model.pt", None, "model.pt is missing"),
    ],
)
def test_a_corrupt_earlier_run_is_named_and_left_alone(tmp_path, name, content, message):
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=1)
    compare.compare(settings, tmp_path)
    [path] = (tmp_path / "runs").iterdir()
    if content is None:
        (path / name).unlink()
    else:
        (path / name).write_bytes(content)
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    with pytest.raises(LabError, match=rf"{path.name} is corrupt.*{message}.*delete that folder"):
        compare.compare(settings, tmp_path)
    assert {each.name: each.read_bytes() for each in path.iterdir()} == before


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["metrics"].pop("accuracy"),
        lambda record: record["scaled"].clear(),
        lambda record: record["history"].clear(),
        lambda record: record["examples"].clear(),
        lambda record: record["examples"][0]["target"].pop(),
        lambda record: record["metrics"]["accuracy"].update(value=7),
        lambda record: record.update(temperature=0),
        lambda record: record.update(content_sha256=""),
    ],
)
def test_a_record_that_was_changed_is_corrupt(finished, tmp_path, change):
    folder, comparison = finished
    shutil.copytree(folder, tmp_path / "copy")
    [(run, _), *_] = comparison.runs["ols"]
    path = tmp_path / "copy" / "runs" / run.path.name / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(LabError, match=r"corrupt: record\.json is not the file that was written"):
        compare.compare(SMALL, tmp_path / "copy")


def test_a_record_that_cannot_be_read_is_not_called_corrupt(tmp_path):
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=1)
    compare.compare(settings, tmp_path)
    [path] = (tmp_path / "runs").iterdir()
    (path / "arrays.npz").unlink()
    (path / "arrays.npz").mkdir()  # any error of the operating system will do
    with pytest.raises(LabError, match=r"cannot read .*arrays\.npz .*; mend its permissions"):
        compare.compare(settings, tmp_path)


def test_a_corrupt_checkpoint_is_named(tmp_path):
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=1)
    [spec] = compare.plan(settings, data.load("digits"))
    folder = RunFolder(tmp_path / "runs", spec.run_id)
    folder.create()
    (folder.path / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(LabError, match=r"checkpoint\.pt cannot be read; delete that folder"):
        compare.compare(settings, tmp_path)
    for state, message in [({"model": {}}, "of another kind"), (None, "no state"), ([1], "no st")]:
        folder.save_checkpoint(state)
        with pytest.raises(LabError, match=rf"checkpoint\.pt (is|holds) {message}"):
            compare.compare(settings, tmp_path)


def test_a_corrupt_checkpoint_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    settings = compare.Settings(methods=("hard", "ils"), seeds=2, epochs=1)
    folder = RunFolder(tmp_path / "runs", compare.plan(settings, data.load("digits"))[-1].run_id)
    folder.save_checkpoint({"model": {}})
    monkeypatch.setattr(classification, "run", lambda *arguments: pytest.fail("computed"))
    with pytest.raises(LabError, match=r"ils-seed1-.*checkpoint\.pt is of another kind"):
        compare.compare(settings, tmp_path)


def test_what_a_killed_process_left_is_swept_and_nothing_else(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    [(run, _), *_] = finished[1].runs["ols"]
    path = tmp_path / "copy" / "runs" / run.path.name
    names = {each.name for each in path.iterdir()}
    for name in ("checkpoint.pt", ".checkpoint.pt.123", ".record.json.99", ".notes.txt"):
        (path / name).write_text("left")
    compare.compare(SMALL, tmp_path / "copy")
    assert {each.name for each in path.iterdir()} == names | {".notes.txt"}


@pytest.mark.parametrize("name", ["report.html", "summary.json", "study.json"])
def test_a_folder_in_the_place_of_a_file_is_found_up_front(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(LabError, match=rf"cannot write .*{name}"):
        compare.compare(SMALL, tmp_path)
    assert not list((tmp_path / "runs").iterdir())


def test_runs_of_another_version_are_reused_and_named(finished, monkeypatch):
    notes = []
    progress = compare.Progress(note=notes.append)
    compare.compare(SMALL, finished[0], progress)
    assert notes == []
    now = schedule.environment()
    elsewhere = msgspec.structs.replace(now, torch="9.9", threads=64)
    monkeypatch.setattr(schedule, "environment", lambda: elsewhere)
    compare.compare(SMALL, finished[0], progress)
    [note] = notes
    assert note.startswith("6 earlier runs are from softtargets")
    assert "torch 9.9, threads: 64" in note


def test_noise_flips_training_labels_alone_and_the_same_for_every_method():
    digits = data.load("digits")
    settings = compare.Settings(methods=("hard", "ls"), seeds=1, epochs=1, noise=0.3)
    hard, smoothed = compare.plan(settings, digits)
    labels = train.training_labels(hard, digits)
    assert torch.equal(labels, train.training_labels(smoothed, digits))
    assert (labels != digits.train.labels).float().mean() == pytest.approx(0.3, abs=0.04)


def test_the_run_id_depends_on_every_field_but_the_place_of_the_data():
    digits = data.load("digits")
    base = compare.plan(SMALL, digits)[0]
    changes = {
        "data_hash": "x", "parameters": {"rate": 0.2}, "seed": 7, "noise": 0.1, "epochs": 9,
        "teacher": "t", "hidden": (8,), "batch_size": 8, "learning_rate": 0.2, "momentum": 0.8,
        "weight_decay": 0.0, "method": "ls", "noise_kind": "pair", "noise_map": ((0, 1),),
        "noisy_labels": "x", "model": "cnn", "augment": "flip", "optimizer": "adamw",
        "schedule": "step", "warm_up": 1, "precision": "bfloat16", "accumulate": 2, "average": 0.9,
        "patience": 2, "clip": 1.0, "measured": 9, "keep_features": True, "device": "cuda",
        "ranks": 2, "resamples": 9,
    }  # fmt: skip
    ids = {msgspec.structs.replace(base, **{k: v}).run_id for k, v in changes.items()}
    assert len(ids | {base.run_id}) == len(changes) + 1
    assert {*changes, "data"} == set(base.__struct_fields__)
    assert msgspec.structs.replace(base, data="elsewhere").run_id == base.run_id


def test_examples_are_targets(finished):
    _, comparison = finished
    for method in SMALL.methods:
        for example in comparison.records(method)[0].examples:
            assert sum(example.target) == pytest.approx(1, abs=1e-5)
            assert max(range(10), key=example.target.__getitem__) == example.label
    hard = comparison.records("hard")[0].examples[0]
    assert sorted(hard.target) == [0.0] * 9 + [1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("hard", "sl")}, "unknown method sl: choose from hard, ls"),
        ({"methods": ()}, "unknown method \\(none\\)"),
        ({"methods": ("ls", "ls")}, "named twice"),
        ({"seeds": 0}, "--seeds must be a whole number from 1 to 1000, got 0"),
        ({"seeds": 10**8}, "--seeds must be a whole number from 1 to 1000"),
        ({"epochs": 0}, "--epochs must be a whole number from 1 to 100000"),
        ({"epochs": 1.5}, "--epochs must be a whole number from 1 to 100000, got 1.5"),
        ({"noise": 1.0}, "--noise must be in \\[0, 1\\), got 1.0"),
        ({"noise": 0.1, "noise_kind": "odd"}, "unknown --noise-kind odd: choose from symmetric"),
        ({"noise_kind": "pair"}, "--noise-kind pair flips nothing without a rate"),
        ({"noise": 0.1, "noise_kind": "asymmetric"}, "--noise-map and --noise-kind asymmetric go"),
        ({"noise": 0.1, "noise_map": ((0, 1),)}, "--noise-map and --noise-kind asymmetric go"),
        ({"noise": 0.1, "noisy_labels": "x.npy"}, "--noise and --noisy-labels were both given"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(LabError, match=message):
        compare.Settings(**changes)


def test_an_output_that_cannot_be_written(tmp_path):
    taken = tmp_path / "file"
    taken.write_text("mine")
    with pytest.raises(LabError, match=r"cannot write to .*choose another folder"):
        compare.compare(SMALL, taken)
    assert taken.read_text() == "mine"


def test_mean_over_seeds_is_students_interval():
    from scipy import stats

    values = [0.1, 0.4, 0.2, 0.5]
    mean = summary.mean_over_seeds(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.3, low, high))


def test_differences_are_paired(finished):
    _, comparison = finished
    rows = {row.method: row for row in summary.summarise(comparison)}
    ours, base = (
        [record.metrics["accuracy"].value for record in comparison.records(method)]
        for method in ("ols", "hard")
    )
    expected = summary.mean_over_seeds([a - b for a, b in zip(ours, base, strict=True)])
    assert rows["ols"].plain_difference["accuracy"] == expected
    assert rows["hard"].plain_difference == {}


def test_the_summary_can_be_computed_again_from_its_values(finished, tmp_path):
    rows = summary.summarise(finished[1])
    summary.write_summary(finished[1], rows, tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text())
    assert msgspec.convert(written["rows"], list[summary.Row]) == rows
    for row in rows:
        values = written["values"][row.method]
        for shown, kind in ((row.plain, "plain"), (row.scaled, "scaled")):
            assert {key: summary.mean_over_seeds(v) for key, v in values[kind].items()} == shown
        assert summary.mean_over_seeds(values["temperature"]) == row.temperature
