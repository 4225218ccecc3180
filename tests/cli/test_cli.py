import json
import os
import signal
import subprocess
import sys
import time

import pytest

from softtargets.cli.app import run

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
        (["nope"], 'Unknown command "nope"'),
        (["compare", "--bogus", "3"], "Unknown option: --bogus"),
        (["compare", "--seeds", "x"], "--seeds"),
        (["compare", "--methods", "hard,foo"], "unknown method foo: choose from hard, ls"),
        (["compare", "--data", "no/such.npz"], "no data set 'no/such.npz'"),
        (["compare", "--noise", "1.5"], "--noise must be in [0, 1)"),
        (["compare", "--noise", "nan"], "--noise must be in [0, 1)"),
        (["compare", "--threads", "0"], "--threads must be at least 1"),
        (["compare", "--out", "/dev/null/x"], "cannot write to /dev/null/x"),
    ],
)
def test_what_can_be_mended_is_one_line_and_status_2(arguments, message, capsys):
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("softtargets: ")


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


def test_ctrl_c_says_that_nothing_is_lost(tmp_path):
    command = [sys.executable, "-m", "softtargets", "compare", "--seeds", "3", "--out"]
    process = subprocess.Popen(
        [*command, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("softtargets: interrupted")
    assert error.count("\n") == 1


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    import importlib.util

    from softtargets import cli

    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "rich" else found(name, *a)
    )
    with pytest.raises(SystemExit) as status:
        cli.main()
    assert status.value.code == 2
    assert "needs rich; pip install 'softtargets[lab]'" in capsys.readouterr().err
