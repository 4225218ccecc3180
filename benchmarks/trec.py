"""Takes finished comparisons on TREC into the project: their records and their tables.

The commands are in the records; without folders only the tables are written again:

python -m benchmarks.trec [runs/trec runs/trec-noise]
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.readme import filled
from softtargets.lab.summary import Mean, Row
from softtargets.report.notation import ACCURACY, CALIBRATION, LIKELIHOOD, decimal, title

ROOT = Path(__file__).parent.parent
RECORDS = {name: ROOT / "records" / "text" / f"{name}.json" for name in ("trec", "trec_noise_20")}
PAGE = ROOT / "docs" / "text.md"
_COLUMNS = ((ACCURACY, False), (LIKELIHOOD, False), (CALIBRATION, False), (LIKELIHOOD, True))


def command(settings: dict[str, Any]) -> str:
    """Return the command that makes the runs."""
    training = settings["training"]
    noise = f" --noise {settings['noise']}" if settings["noise"] else ""
    return (
        f"softtargets compare --data text:data/trec --model {training['model']}"
        f" --optimizer {training['optimizer']} --learning-rate {training['learning_rate']}"
        f" --epochs {settings['epochs']} --seeds {settings['seeds']}"
        f" --methods {','.join(settings['methods'])}{noise}"
    )


def table(record: dict[str, Any]) -> str:
    """Return accuracy, likelihood and calibration, means over seeds with half their intervals."""
    rows = msgspec.convert(record["rows"], list[Row])
    lines = [
        f"`{record['command']}`, {record['settings']['seeds']} seeds, mean ± half the 95 % "
        f"interval; {record['training_seconds'] / 60:.0f} minutes of training in all, on a "
        "machine that had other work too:",
        "",
        "| | accuracy % | to hard labels | NLL | ECE % debiased | NLL, scaled |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [
            _cell((row.scaled if scaled else row.plain)[metric.key], metric.scale, metric.digits)
            for metric, scaled in _COLUMNS
        ]
        gap = row.plain_difference.get(ACCURACY.key)
        cells.insert(1, "" if gap is None else _cell(gap, 100, 2, signed=True))
        lines.append(f"| {title(row.method)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(mean: Mean, scale: float, digits: int, *, signed: bool = False) -> str:
    value = decimal(scale * mean.value, digits, signed=signed)
    return f"{value} ± {decimal(scale * mean.half_width, digits)}"


def main() -> None:
    """Copy the summaries and rewrite the tables."""
    for folder, path in zip(sys.argv[1:], RECORDS.values(), strict=False):
        summary = json.loads((Path(folder) / "summary.json").read_text())
        record = {"command": command(summary["settings"]), **summary}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
    page = PAGE.read_text()
    for name, path in RECORDS.items():
        page = filled(page, name.replace("_", "-"), table(json.loads(path.read_text())))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
