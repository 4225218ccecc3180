"""Takes a finished `make demo` into the project: its record, the README's tables and picture.

python -m benchmarks.readme runs/demo

Without a folder only what is made of `records/benchmarks` is written again.
"""

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import costs
from softtargets.lab.summary import Row
from softtargets.report.overview import write_summary_figure
from softtargets.report.tables import as_markdown

ROOT = Path(__file__).parent.parent
COMMAND = "make demo"


def tables(record: dict[str, Any]) -> str:
    """Return the README's tables of a record."""
    rows, seeds = msgspec.convert(record["rows"], list[Row]), record["settings"]["seeds"]
    return (
        f"As trained, mean of {seeds} seeds ± half the 95 % interval; accuracy: higher is better, "
        f"all others: lower is better:\n\n{as_markdown(rows).strip()}\n\n"
        "After a temperature fitted on validation data:\n\n"
        f"{as_markdown(rows, scaled=True).strip()}\n"
    )


def draw(record: dict[str, Any], path: Path) -> None:
    """Write the README's picture of a record."""
    settings = record["settings"]
    rows = msgspec.convert(record["rows"], list[Row])
    write_summary_figure(rows, path, heading=f"{settings['data']}, {settings['seeds']} seeds")


def examples(readme: str) -> str:
    """Run the README's examples and return what they print."""
    printed = io.StringIO()
    namespace: dict[str, object] = {}
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL):
            exec(compile(block, "README.md", "exec"), namespace)
    return printed.getvalue()


def filled(readme: str, name: str, content: str) -> str:
    """Put content between a pair of marks of the README."""
    pattern = rf"(<!-- {name}.*? -->\n).*?(<!-- /{name} -->)"
    return re.sub(pattern, lambda m: m[1] + content + m[2], readme, flags=re.DOTALL)


def costs_page(page: str) -> str:
    """Put the tables of the records into the page on benchmarks."""
    for name, make in costs.BLOCKS.items():
        page = filled(page, name, make())
    return page


def write_costs() -> None:
    """Rewrite what is made of the benchmarks' records."""
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(), "costs", costs.summary()))
    costs.PAGE.write_text(costs_page(costs.PAGE.read_text()))


def main() -> None:
    """Copy the summary and rewrite what is made of it."""
    write_costs()
    if len(sys.argv) < 2:
        return
    record = {"command": COMMAND, **json.loads((Path(sys.argv[1]) / "summary.json").read_text())}
    folder = ROOT / "records" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(record, indent=1) + "\n")
    draw(record, ROOT / "docs" / "assets" / "demo.svg")
    path = ROOT / "README.md"
    readme = filled(path.read_text(), "demo", tables(record))
    path.write_text(filled(readme, "output", f"```text\n{examples(readme)}```\n"))


if __name__ == "__main__":
    main()
