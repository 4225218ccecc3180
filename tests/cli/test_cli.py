import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from softtargets.cli import main
from softtargets.cli.app import run
from softtargets.cli.progress import shown_progress
from softtargets.lab.spec import RunSpec

QUICK = ["compare", "--methods", "hard,ls", "--seeds", "2", "--epochs", "2", "--out"]


def test_compare_prints_a_table_and_writes_the_report(tmp_path, capsys):
    assert run([*QUICK, str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "4 runs to compute, 0 already there" in printed
    assert "LS" in printed
    assert "report.html" in printed
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["hard", "ls"]
    value = rows[1]["plain"]["negative_log_likelihood"]["value"]
    assert f"{value:.3f}" in printed
    page = (tmp_path / "report.html").read_text()
    assert f"{value:.3f}" in page
    assert run([*QUICK, str(tmp_path)]) == 0
    assert "0 runs to compute, 4 already there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "no" * 200], "study.json (File name too long); name the folder that was given"),
        (["compare", "--out", "no" * 200], " (File name too long); choose another folder with"),
        (["nope"], 'Unknown command "nope"'),
        (["compare", "--bogus", "3"], "Unknown option: --bogus"),
        (["compare", "--seeds", "x"], "--seeds"),
        (["compare", "--methods", "hard,foo"], "unknown method foo: choose from hard, ls"),
        (["compare", "--data", "no/such.npz"], "no data set 'no/such.npz'"),
        (["compare", "--data", "cifar10:no/such"], "cifar10: no/such is missing; put the official"),
        (["compare", "--data", "folder:no/such"], "no/such is no folder; pictures are looked for"),
        (["compare", "--data", "digits?samples=x"], "`samples` of the data must be a whole number"),
        (["compare", "--noise", "1.5"], "--noise must be in [0, 1)"),
        (["compare", "--noise", "nan"], "--noise must be in [0, 1)"),
        (["compare", "--noise-kind", "odd"], 'Invalid value "odd" for --noise-kind'),
        (["compare", "--noise-map", "3"], "--noise-map must hold pairs FROM:TO"),
        (["compare", "--noisy-labels", "no/such.npy"], "no/such.npy cannot be read as noisy"),
        (["compare", "--threads", "0"], "--threads must be a whole number from 1 to 1024"),
        (["compare", "--threads", "3000000000"], "from 1 to 1024, got 3000000000"),
        (["compare", "--seeds", "100000000"], "from 1 to 1000, got 100000000"),
        (["compare", "--epochs", "100000000"], "from 1 to 100000, got 100000000"),
        (["compare", "--epochs", "1.5"], "--epochs: it must be a whole number, got '1.5'"),
        (["compare", "--seeds", "1.9"], "--seeds: it must be a whole number, got '1.9'"),
        (["compare", "--out", "/dev/null/x"], "cannot write to /dev/null/x"),
    ],
)
def test_what_can_be_mended_is_one_line_and_status_2(arguments, message, capsys):
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("softtargets: ")


def test_a_file_where_runs_should_be_is_named(tmp_path, capsys):
    (tmp_path / "runs").touch()
    assert run([*QUICK, str(tmp_path)]) == 2
    assert f"(File exists, {tmp_path / 'runs'} is a file); choose" in capsys.readouterr().err


def test_a_corrupt_earlier_run_is_one_line(tmp_path, capsys):
    assert run([*QUICK, str(tmp_path)]) == 0
    record = next((tmp_path / "runs").glob("ls-*/record.json"))
    record.write_text("{}")
    capsys.readouterr()
    assert run([*QUICK, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "delete that folder" in error
    assert record.read_text() == "{}"


def test_an_encoding_without_the_signs_shows_plainer_ones(tmp_path):
    command = ["compare", "--methods", "ls", "--seeds", "2", "--epochs", "1", "--out"]
    result = subprocess.run(
        [sys.executable, "-m", "softtargets", *command, str(tmp_path)],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "~: half the 95 % interval" in result.stdout
    assert "?" not in result.stdout
    assert result.stdout.isascii()


def test_training_that_diverges_is_one_line_and_leaves_no_checkpoint(tmp_path, capsys):
    path = tmp_path / "huge.npz"
    numbers = np.random.default_rng(0).choice([-1e-12, 1e-12], (60, 64))
    labels = np.arange(60) % 2
    np.savez(path, x_train=numbers, y_train=labels, x_test=numbers * 3.3e38, y_test=labels)
    out = tmp_path / "out"
    arguments = ["compare", "--data", str(path), "--methods", "ls", "--seeds", "1", "--epochs", "2"]
    for _ in range(2):
        assert run([*arguments, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "diverged after 2 of 2 epochs: logits of the test data are not finite" in error
        assert "the same command would do so again" in error
        assert not list(out.glob("runs/*/*"))


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "rich" else found(name, *a)
    )
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2
    assert "needs rich; pip install 'softtargets[lab]'" in capsys.readouterr().err


@pytest.mark.parametrize("buffered", [True, False], ids=["at the end", "at once"])
@pytest.mark.parametrize(
    "arguments",
    [["methods"], ["methods", "ols"], ["claims"], ["claims", "--json"]],
    ids=" ".join,
)
def test_what_nobody_reads_ends_without_a_word(arguments, buffered, monkeypatch, capfd):
    """As in `softtargets methods | true`, with a status as of any program that SIGPIPE ends."""
    read, write = os.pipe()
    os.close(read)
    raw = os.fdopen(write, "wb", 2**20 if buffered else 0)
    stream = io.TextIOWrapper(raw, write_through=not buffered)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "argv", ["softtargets", *arguments])
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 141
    stream.close()  # as at the interpreter's end, where what is left is written
    assert capfd.readouterr().err == ""


def test_errors_that_nobody_reads_end_without_a_word(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    stream = io.TextIOWrapper(os.fdopen(write, "wb"), line_buffering=True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "argv", ["softtargets", "nope"])
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 141
    stream.close()


def test_another_early_end_is_not_taken_for_output_that_nobody_reads(monkeypatch):
    def end(arguments):
        raise SystemExit(3)

    monkeypatch.setattr("softtargets.cli.app.run", end)
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 3


def test_help_lists_every_method(capsys):
    from softtargets.lab.methods import METHODS

    assert run(["compare", "--help"]) == 0
    words = capsys.readouterr().out.replace("│", " ").replace(",", " ").replace(".", " ").split()
    assert set(METHODS) <= set(words)


def test_noise_of_a_kind_and_labels_of_a_file(tmp_path, capsys):
    quick = ["compare", "--methods", "ls", "--seeds", "1", "--epochs", "1", "--out"]
    kind = ["--noise", "0.5", "--noise-kind", "asymmetric", "--noise-map", "3:5,1:7"]
    assert run([*quick, str(tmp_path / "a"), *kind]) == 0
    assert "What became of wrong labels" in capsys.readouterr().out
    settings = json.loads((tmp_path / "a" / "summary.json").read_text())["settings"]
    assert settings["noise_map"] == [[1, 7], [3, 5]]
    np.savez(tmp_path / "n.npz", worse=np.arange(1797) % 10, best=np.zeros(1797, int))
    labels = ["--noisy-labels", f"{tmp_path / 'n.npz'}:worse"]
    assert run([*quick, str(tmp_path / "b"), *labels]) == 0
    assert "What became of wrong labels" in capsys.readouterr().out
    assert "n.npz:worse" in (tmp_path / "b" / "report.html").read_text()


def test_of_a_run_that_may_stop_early_the_most_epochs_are_told():
    spec = RunSpec(
        data="", data_hash="", method="ls", parameters={}, seed=0, noise=0.0, epochs=9, patience=1
    )
    console = Console(file=io.StringIO())
    with shown_progress(console) as progress:
        progress.finished(spec, False)
    assert console.file.getvalue() == "ls, seed 0: up to 9 epochs\n"
