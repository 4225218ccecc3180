"""`softtargets report`: everything that is shown, from the records alone."""

import json
import shutil

import numpy as np
import pytest

from softtargets.cli.app import run
from softtargets.lab import data as datasets

OUTPUTS = ("report.html", "summary.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A comparison on noisy pictures of a file that is gone afterwards."""
    folder = tmp_path_factory.mktemp("comparison")
    digits = datasets.load("digits")
    source = folder / "pictures.npz"
    parts = {"train": digits.train, "test": digits.test}
    arrays = {f"x_{name}": part.inputs.numpy() for name, part in parts.items()}
    labels = {f"y_{name}": part.labels.numpy() for name, part in parts.items()}
    np.savez(source, **arrays, **labels)
    command = ["compare", "--data", str(source), "--methods", "hard,ls,ils", "--noise", "0.2"]
    command += ["--noise-kind", "asymmetric", "--noise-map", "3:5,1:7"]
    assert run([*command, "--seeds", "2", "--epochs", "2", "--out", str(folder / "out")]) == 0
    source.unlink()
    return folder / "out"


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def run_of(folder, start):
    return next((folder / "runs").glob(f"{start}*"))


def test_the_report_is_made_again_without_the_data(finished, copied, capsys, monkeypatch):
    for name in OUTPUTS:
        (copied / name).unlink()
    monkeypatch.setattr(datasets, "load", lambda *given: pytest.fail("read the data"))
    assert run(["report", str(copied)]) == 0
    for name in OUTPUTS:
        assert (copied / name).read_bytes() == (finished / name).read_bytes()
    assert "data:image/png" in (copied / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "As trained, mean of 2 seeds" in printed
    assert "not finished" not in printed


def test_of_an_unfinished_comparison_complete_seeds_are_shown(copied, capsys):
    shutil.rmtree(run_of(copied, "ls-seed0"))
    assert run(["report", str(copied)]) == 0
    told = "1 run is not finished; the seeds that lack one are left out."
    assert told in " ".join(capsys.readouterr().out.split())
    assert told in (copied / "report.html").read_text()
    summary = json.loads((copied / "summary.json").read_text())
    assert (summary["missing"], summary["settings"]["seeds"]) == (1, 1)
    second = json.loads((run_of(copied, "ls-seed1") / "record.json").read_text())
    assert summary["values"]["ls"]["temperature"] == [second["temperature"]]
    shutil.rmtree(run_of(copied, "hard-seed1"))
    assert run(["report", str(copied)]) == 2
    assert "no seed that all methods have finished, 2 of 6 runs" in capsys.readouterr().err


def changed(name, value):
    def change(folder):
        path = folder / "study.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder),
            "given as --out of softtargets compare or claims",
        ),
        (lambda folder: (folder / "study.json").write_text("{"), "study.json is corrupt: Input"),
        (lambda folder: (folder / "study.json").write_bytes(b"\xff"), "study.json is corrupt"),
        (changed("colour", 3), "is corrupt: Object contains unknown field `colour`"),
        (changed("runs", {}), "is corrupt: it is not the file that was written"),
        (changed("format", 99), "is corrupt: it belongs to another version"),
        (
            lambda folder: (run_of(folder, "ls-seed1") / "record.json").write_text("{}"),
            "is corrupt: record.json: Object missing required field",
        ),
        (
            lambda folder: (run_of(folder, "ls-seed1") / "arrays.npz").write_text(""),
            "is corrupt: arrays.npz is not the file that was written",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(copied, capsys, change, message):
    change(copied)
    before = {path: path.read_bytes() for path in copied.rglob("*.*") if path.is_file()}
    assert run(["report", str(copied)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert {path: path.read_bytes() for path in before} == before


def test_settings_of_another_version_are_not_dropped(copied, capsys):
    import msgspec

    from softtargets.lab.study import read_study, write_study

    study = read_study(copied)
    for settings in ({**study.settings, "colour": 3}, {**study.settings, "seeds": "two"}):
        write_study(copied, msgspec.structs.replace(study, settings=settings))
        assert run(["report", str(copied)]) == 2
        assert "its settings are not this version's" in capsys.readouterr().err


def test_where_nothing_can_be_written_the_folder_is_to_be_copied(copied, capsys):
    (copied / "report.html").unlink()
    (copied / "report.html").mkdir()
    assert run(["report", str(copied)]) == 2
    assert (
        "report.html, it is a folder; move it away, or copy the folder to"
        in capsys.readouterr().err
    )
