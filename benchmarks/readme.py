"""Takes a finished `make demo` into the project: its record, the README's table and picture.

python -m benchmarks.readme runs/demo
"""

import json
import re
import sys
from pathlib import Path

import msgspec

from softtargets.lab.summary import Row
from softtargets.report.overview import write_summary_figure
from softtargets.report.tables import as_markdown

ROOT = Path(__file__).parent.parent
COMMAND = "make demo"


def main() -> None:
    """Copy the summary and rewrite what is made of it."""
    summary = (Path(sys.argv[1]) / "summary.json").read_text()
    record = json.loads(summary)
    folder = ROOT / "records" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"command": COMMAND} | record, indent=1) + "\n")
    rows = msgspec.convert(record["rows"], list[Row])
    settings = record["settings"]
    heading = f"{settings['data']}, {settings['seeds']} seeds"
    write_summary_figure(rows, ROOT / "docs" / "assets" / "demo.svg", heading=heading)
    tables = (
        f"As trained, mean of {settings['seeds']} seeds ± half the 95 % interval; accuracy: higher "
        f"is better, all others: lower is better:\n\n{as_markdown(rows)}\n\n"
        "After temperature scaling fitted on validation data:\n\n"
        f"{as_markdown(rows, scaled=True)}\n"
    )
    readme = ROOT / "README.md"
    pattern = r"(<!-- demo: .*? -->\n).*?(<!-- /demo -->)"
    text = re.sub(pattern, lambda m: m[1] + tables + m[2], readme.read_text(), flags=re.DOTALL)
    readme.write_text(text)


if __name__ == "__main__":
    main()
