"""The command from end to end, on tiny shapes; times are never asserted."""

import ast
import json
from pathlib import Path

import pytest

import softtargets
from softtargets.bench import suites
from softtargets.bench.case import Built, Case
from softtargets.bench.targets import uniform
from softtargets.cli.app import run

TINY = ["bench", "--shape", "32x20", "--threads", "1", "--rounds", "2"]


def test_a_tiny_run_prints_a_table_and_writes_a_record(tmp_path, capsys):
    cases = ["--cases", "copy", "torch,ls,ls-reuse", "timm", "--no-memory"]
    assert run([*TINY, *cases, "--record", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "32 x 20, float32 on cpu, 1 thread" in printed
    assert "softtargets, LS, logits reused" in printed
    assert "x copy: time over" in printed
    record = json.loads((tmp_path / "quick.json").read_text())
    (result,) = record["results"]
    timed = {"copy", "torch", "ls", "ls-reuse"}
    assert timed <= set(result["cases"])
    assert set(result["cases"]) | set(result["skipped"]) == timed | {"timm"}
    assert result["cases"]["torch"]["to_torch"]["median"] == 1
    assert len(result["cases"]["ls"]["rounds"]) == 2
    assert result["cases"]["ls"]["errors"]["loss"] < 1e-5
    assert result["cases"]["ls"]["memory"] is None
    assert record["machine"]["threads"] == 1


def test_memory_is_measured_in_other_processes_and_json_is_the_record(capsys):
    assert run([*TINY, "--cases", "clone", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["results"][0]["cases"]["clone"]["memory"]["method"]
    assert record["results"][0]["unmeasured"] == {}


def test_the_linear_suite_and_growth_run(capsys):
    arguments = ["--threads", "1", "--rounds", "1", "--no-memory", "--shape"]
    assert run(["bench", "linear", *arguments, "32x4x20"]) == 0
    assert "softtargets, fused, LS" in capsys.readouterr().out
    shapes = ["8x20", "16x20", "32x20"]
    assert run(["bench", "growth", *arguments, *shapes, "--cases", "torch,ls"]) == 0
    assert "nanoseconds per logit, 20 classes" in capsys.readouterr().out


def test_a_wrong_case_has_no_time_and_the_status_is_1(monkeypatch, capsys):
    wrong = Case(
        title="wrong",
        build=lambda inputs: Built(lambda x, y: x.sum(), inputs.labels, uniform(inputs)),
    )
    monkeypatch.setitem(suites.SUITES["quick"].cases, "wrong", wrong)
    assert run([*TINY, "--cases", "torch,wrong", "--no-memory"]) == 1
    printed = capsys.readouterr().out
    assert "FAILED wrong: loss " in printed
    assert "torch, LS" in printed
    assert not any(line.startswith("wrong") for line in printed.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "unknown suite nope: choose from quick, cross-entropy, linear, growth"),
        (["--cases", "ls,nope"], "unknown case nope: choose from copy, clone, torch"),
        (["--shape", "1024"], "--shape must be NxK in whole numbers, got '1024'"),
        (["linear", "--shape", "10x10"], "--shape must be NxDxK"),
        (["--dtype", "float8"], "--dtype"),
        (["--rounds", "0"], "--rounds must be a whole number from 1 to 1000, got 0"),
        (["--threads", "1.5"], "--threads: it must be a whole number, got '1.5'"),
        (["--threads", "5000"], "--threads must be a whole number from 1 to 1024"),
        (["--record", "/dev/null/x"], "cannot write to /dev/null/x"),
    ],
)
def test_what_can_be_mended_is_one_line_and_status_2(arguments, message, capsys):
    assert run(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_command_imports_nothing_heavy_before_it_runs():
    path = Path(softtargets.__file__).parent / "cli" / "bench.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert not [n for n in names if n == "torch" or n.startswith("softtargets.bench")]


def test_every_suite_names_cases_it_has():
    for suite in suites.SUITES.values():
        assert set(suite.chosen) <= set(suite.cases)
        assert suite.shapes
        assert {"torch", "ls"} <= set(suite.chosen)
