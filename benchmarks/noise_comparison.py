"""Takes a finished comparison under wrong labels into the project: its record and its table.

The command is in the record; without a folder only the table is written again:

python -m benchmarks.noise_comparison [runs/noise]
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.readme import filled
from softtargets.lab.summary import Mean, Row
from softtargets.report.notation import ACCURACY, LIKELIHOOD, decimal, listed, title

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "records" / "noise" / "compare_symmetric_40.json"
PAGE = ROOT / "docs" / "noise.md"
OUT = "runs/noise"


def command(settings: dict[str, Any]) -> str:
    """Return the command that makes the runs."""
    return (
        f"softtargets compare --methods {','.join(settings['methods'])} --noise {settings['noise']}"
        f" --noise-kind {settings['noise_kind']} --seeds {settings['seeds']}"
        f" --epochs {settings['epochs']} --out {OUT}"
    )


def table(record: dict[str, Any]) -> str:
    """Return accuracies with their differences to hard labels, and who is clearly better."""
    rows = msgspec.convert(record["rows"], list[Row])
    lines = [
        f"`{record['command']}`, {record['settings']['seeds']} seeds, mean [95 % interval]:",
        "",
        "| | accuracy % | to hard labels | seen through % | scaled NLL, to hard labels |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        known, likely = (
            each.get(metric.key)
            for each, metric in (
                (row.plain_difference, ACCURACY),
                (row.scaled_difference, LIKELIHOOD),
            )
        )
        cells = [
            _cell(row.plain[ACCURACY.key], 100, 1),
            "" if known is None else _cell(known, 100, 1, signed=True),
            _cell(row.denoising["as_true"], 100, 1),
            "" if likely is None else _cell(likely, 1, 3, signed=True),
        ]
        lines.append(f"| {title(row.method)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_sorted_out(rows)]) + "\n"


def _cell(mean: Mean, scale: int, digits: int, *, signed: bool = False) -> str:
    value, low, high = (
        decimal(scale * each, digits, signed=signed) for each in (mean.value, mean.low, mean.high)
    )
    return f"{value} [{low}, {high}]"


def _sorted_out(rows: list[Row]) -> list[str]:
    """Who beats hard labels in accuracy, by the interval of the difference."""
    others = [(title(row.method), row.plain_difference.get(ACCURACY.key)) for row in rows]
    groups = {
        "Clearly more accurate than hard labels": lambda gap: gap.low > 0,
        "Not clearly different": lambda gap: gap.low <= 0 <= gap.high,
        "Clearly less accurate": lambda gap: gap.high < 0,
    }
    named = {
        text: [name for name, gap in others if gap is not None and chosen(gap)]
        for text, chosen in groups.items()
    }
    return [f"- {text}: {listed(names) or 'none'}." for text, names in named.items()]


def main() -> None:
    """Copy the summary and rewrite the table."""
    if len(sys.argv) > 1:
        summary = json.loads((Path(sys.argv[1]) / "summary.json").read_text())
        record = {"command": command(summary["settings"]), **summary}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    record = json.loads(RECORD.read_text())
    PAGE.write_text(filled(PAGE.read_text(), "comparison", table(record)))


if __name__ == "__main__":
    main()
