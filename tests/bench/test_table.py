"""Tables, growth and records of results that are made up."""

import json
import math

import pytest

from softtargets.bench import growth, record, table
from softtargets.bench.gate import Errors
from softtargets.bench.measure import interleaved, ratios, spread
from softtargets.bench.memory import Memory
from softtargets.bench.problem import Problem, parse_shape
from softtargets.bench.results import Measured, Result
from softtargets.bench.settings import Settings, plan
from softtargets.lab.errors import LabError


def measured(title, milliseconds, ratio=None, memory=None):
    return Measured(
        title=title,
        milliseconds=spread([milliseconds]),
        to_torch=None if ratio is None else spread(ratio),
        to_copy=None,
        bandwidth=None,
        memory=memory,
        errors=Errors(1e-8, 1e-7),
        rounds=[milliseconds],
    )


def result(rows=640, classes=1000, milliseconds=1.0, **found):
    cases = {
        "torch": measured("torch, LS", milliseconds, [1.0]),
        "ls": measured(
            "softtargets, LS",
            milliseconds / 2,
            [0.4, 0.5, 0.7],
            Memory(megabytes=1234.5, logits=1.02, method="VmHWM"),
        ),
    }
    return Result(problem=Problem(rows=rows, classes=classes), threads=1, cases=cases, **found)


def test_a_table_shows_what_was_found_and_why_not():
    text = table.result_table(
        result(
            skipped={"timm": "timm is not installed", "timm-soft": "timm is not installed"},
            failed={"prior": "loss 2, must be 1"},
            unmeasured={"torch": "killed"},
        )
    )
    lines = text.splitlines()
    assert lines[0] == "640 x 1,000, float32 on cpu, 1 thread, 2.6 MB of logits"
    assert lines[1].split() == ["case", "ms", "x", "torch", "range", "extra", "MB", "x", "logits"]
    assert lines[3].split() == ["softtargets,", "LS", "0.5", "0.50", "0.40-0.70", "1,234.5", "1.02"]
    assert lines[4:] == [
        "FAILED prior: loss 2, must be 1",
        "no memory of torch: killed",
        "skipped timm, timm-soft: timm is not installed",
    ]
    assert max(map(len, lines)) <= 100


def test_a_busy_machine_is_noted():
    assert table.load_note([0.2, 0, 0], 2) == ""
    assert table.load_note(None, 2) == ""
    assert "load 1.5 on 2 processors" in table.load_note([1.5, 0, 0], 2)


def test_growth_is_the_exponent():
    results = [result(rows=n, classes=50, milliseconds=n**1.5) for n in (10, 20, 40)]
    results += [result(rows=40, classes=k, milliseconds=k) for k in (100, 200)]
    found = growth.exponents(results)
    assert found["rows"] == {"torch": 1.5, "ls": 1.5}
    assert found["classes"]["ls"] == pytest.approx(math.log(200 / 40**1.5) / math.log(4), abs=0.6)
    text = table.growth_table(results)
    assert "nanoseconds per logit, 50 classes" in text
    assert "rows^1.50" in text
    assert growth.exponents(results[:2]) == {}
    assert table.growth_table(results[:2]) == ""


def test_a_record_is_plain_readable_and_whole(tmp_path):
    asked = plan(Settings(suite="quick", shapes=("64x100",), rounds=3, threads=1, memory=False))
    content = record.content(asked, [result()], record.machine())
    path = record.write(tmp_path / "deep", record.file_name(asked.settings), content)
    assert path.name == "quick.json"
    read = json.loads(path.read_text())
    assert read["command"] == (
        "softtargets bench quick --shape 64x100 --threads 1 --rounds 3 --no-memory"
    )
    assert read["results"][0]["problem"]["classes"] == 1000
    assert read["results"][0]["cases"]["ls"]["to_torch"] == {"min": 0.4, "median": 0.5, "max": 0.7}
    assert read["results"][0]["cases"]["ls"]["errors"] == {"loss": 1e-8, "gradient": 1e-7}
    assert {"processor", "processors", "torch", "python", "threads"} <= set(read["machine"])
    assert '"rounds": [0.5]' in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["quick.json"]


def test_records_of_other_devices_and_dtypes_have_other_names():
    assert record.file_name(Settings(suite="linear")) == "linear.json"
    other = Settings(suite="linear", device="cuda", dtype="bfloat16")
    assert record.file_name(other) == "linear-cuda-bfloat16.json"
    assert other.command == "softtargets bench linear --device cuda --dtype bfloat16"


@pytest.mark.parametrize(
    "text", ["", "10", "10x", "x10", "1x1", "0x10", "1.5x10", "10x10x10", "-1x5"]
)
def test_shapes_that_are_none(text):
    with pytest.raises(LabError, match="--shape"):
        parse_shape(text, linear=False)


def test_shapes():
    assert parse_shape("1024X1000", linear=False) == (1024, None, 1000)
    assert parse_shape("8x4x20", linear=True) == (8, 4, 20)
    with pytest.raises(LabError, match="NxDxK"):
        parse_shape("8x20", linear=True)


class Counted:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def prepare(self):
        self.log.append(f"prepare {self.name}")

    def run(self):
        self.log.append(self.name)


def test_cases_run_in_turn_each_after_its_preparation(monkeypatch):
    monkeypatch.setattr("softtargets.bench.measure.MOST_REPEATS", 1)
    monkeypatch.setattr("softtargets.bench.measure.WARM_UP_SECONDS", 1000)
    log = []
    times = interleaved({name: Counted(log, name) for name in "ab"}, 3, "cpu")
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert log[::2] == [f"prepare {name}" for name in log[1::2]]
    assert log[1::2] == [*"aabb", *"ab", *"ba", *"ab"]
    assert interleaved({}, 3, "cpu") == {}
    assert ratios([1.0, 4.0], [2.0, 2.0]) == [0.5, 2.0]
