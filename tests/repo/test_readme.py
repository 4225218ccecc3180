"""The README: its examples run, its table and picture are those of the committed record."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from softtargets.lab.summary import Row
from softtargets.report.tables import as_markdown

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert "after division by T" in capsys.readouterr().out
    assert "criterion" in namespace["checkpoint"]


def test_the_table_is_the_records():
    record = json.loads((ROOT / "records" / "demo" / "summary.json").read_text())
    rows = msgspec.convert(record["rows"], list[Row])
    shown = README.partition("summary.json -->\n")[2].partition("<!-- /demo -->")[0]
    assert as_markdown(rows).strip() in shown
    assert {row.method for row in rows} == {"hard", "ls", "ols", "ils1", "ils2", "ils"}
    assert record["settings"]["seeds"] == 5


@pytest.mark.parametrize(
    "name", ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "docs/assets/demo.svg"]
)
def test_what_the_readme_points_to_is_there(name):
    assert name == "LICENSE" or name in README
    assert (ROOT / name).stat().st_size > 500
