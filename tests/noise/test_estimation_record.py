"""The page on estimation and the committed record say the same, and the record is good enough."""

import json

import pytest

from benchmarks import readme
from benchmarks import transition_estimation as benchmark

RECORD = json.loads(benchmark.RECORD.read_text())
FIRST = RECORD["results"][0]


def test_the_table_is_the_records():
    page = benchmark.PAGE.read_text()
    assert readme.filled(page, "estimation", benchmark.table(RECORD)) == page
    assert "<!-- estimation -->" in page


def test_the_means_are_those_of_the_seeds():
    assert RECORD["command"] == "python -m benchmarks.transition_estimation"
    assert [(each["kind"], each["rate"]) for each in RECORD["results"]] == list(benchmark.NOISE)
    for result in RECORD["results"]:
        assert len(result["runs"]) == len(RECORD["settings"]["seeds"]) >= 5
        for name in benchmark.METHODS:
            values = [each["chosen"][name]["distance"] for each in result["runs"]]
            mean = result["summary"]["chosen"][name]["distance"]
            assert mean["value"] == pytest.approx(sum(values) / len(values), abs=1e-3)
            assert mean["low"] < mean["value"] < mean["high"]


@pytest.mark.parametrize("name", ["anchor, quantile 0.97", "confident", "dual"])
def test_even_noise_of_a_fifth_is_found(name):
    assert (FIRST["kind"], FIRST["rate"]) == ("symmetric", 0.2)
    found = FIRST["summary"]["chosen"][name]["distance"]["high"]
    assert found <= 0.25
    assert found <= 0.6 * FIRST["summary"]["references"]["identity"]["value"]
