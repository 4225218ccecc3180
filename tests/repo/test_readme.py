"""The README: its examples run, its tables, output and picture are made of the committed record."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import costs, readme

README = (readme.ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def record():
    return json.loads((readme.ROOT / "records" / "demo" / "summary.json").read_text())


def test_the_examples_print_what_is_shown():
    assert torch.get_num_threads() == 1
    printed = readme.examples(README)
    assert printed.count("\n") > 10
    assert readme.filled(README, "output", f"```text\n{printed}```\n") == README


def test_the_tables_are_the_records(record):
    assert readme.filled(README, "demo", readme.tables(record)) == README
    assert record["settings"]["seeds"] == 5
    assert record["command"] == "make demo"
    methods = [row["method"] for row in record["rows"]]
    assert methods == ["hard", "ls", "ols", "ils1", "ils2", "ils"]


def test_the_costs_are_the_records():
    assert readme.filled(README, "costs", costs.summary()) == README


def test_the_page_on_benchmarks_is_the_records():
    page = costs.PAGE.read_text()
    assert readme.costs_page(page) == page
    for name in costs.BLOCKS:
        assert f"<!-- {name}:" in page
        assert f"<!-- /{name} -->" in page


def test_the_picture_is_the_records(record, tmp_path):
    readme.draw(record, tmp_path / "demo.svg")
    committed = (readme.ROOT / "docs" / "assets" / "demo.svg").read_text()
    assert (tmp_path / "demo.svg").read_text() == committed


@pytest.mark.parametrize(
    "name", ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "docs/concepts.md", "docs/benchmarks.md"]
)
def test_what_the_readme_points_to_is_there(name):
    assert name == "LICENSE" or f"({name})" in README
    assert Path(readme.ROOT / name).stat().st_size > 500
