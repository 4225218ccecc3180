"""Takes a finished comparison on Multi30k into the project: its record and its table.

The command is in the record; without a folder only the table is written again:

python -m benchmarks.multi30k [runs/multi30k]
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.readme import filled

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "records" / "translation" / "multi30k.json"
PAGE = ROOT / "docs" / "translation.md"
TITLES = {"hard": "hard labels", "ls": "LS", "unigram": "unigram LS", "ols": "OLS"}
LIKELIHOOD, CALIBRATION = "negative_log_likelihood", "expected_calibration_error_debiased"


def command(settings: dict[str, Any]) -> str:
    """Return the command that makes the runs."""
    beams = ",".join(map(str, settings["options"]["beams"]))
    return (
        f"softtargets compare --data translation:multi30k --methods {','.join(settings['methods'])}"
        f" --seeds {settings['seeds']} --epochs {settings['epochs']} --beams {beams}"
    )


def table(record: dict[str, Any]) -> str:
    """Return BLEU by beam width, likelihood and calibration: means over seeds, half intervals."""
    settings = record["settings"]
    beams, seeds = settings["options"]["beams"], settings["seeds"]
    runs = seeds * len(settings["methods"])
    lines = [
        f"`{record['command']}`, {seeds} seeds, mean ± half the 95 % interval over seeds; "
        f"{record['training_seconds'] / 60 / runs:.1f} minutes of training a run, on one thread:",
        "",
        "| | " + " | ".join(f"BLEU, beam {beam}" for beam in beams) + " | chrF |",
        "|---|" + "---:|" * (len(beams) + 1),
    ]
    keys = [*(f"bleu_{beam}" for beam in beams), "chrf"]
    for row in record["rows"]:
        cells = [_cell(row["plain"][key], 1, 2) for key in keys]
        lines.append(f"| {TITLES[row['method']]} | {' | '.join(cells)} |")
    for reference in record["references"]:
        cells = [f"{reference['values'][key]:.2f}" for key in keys]
        lines.append(f"| {reference['title']}, no model | {' | '.join(cells)} |")
    lines += [
        "",
        "| | accuracy % | NLL | ECE % debiased | NLL, scaled | ECE % debiased, scaled |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        plain, scaled = row["plain"], row["scaled"]
        cells = [_cell(plain["accuracy"], 100, 2)]
        for values in (plain, scaled):
            cells += [_cell(values[LIKELIHOOD], 1, 3), _cell(values[CALIBRATION], 100, 2)]
        lines.append(f"| {TITLES[row['method']]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(mean: dict[str, float], scale: float, digits: int) -> str:
    half = scale * (mean["high"] - mean["low"]) / 2
    return f"{scale * mean['value']:.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    """Copy the summary and rewrite the table."""
    for folder in sys.argv[1:2]:
        summary = json.loads((Path(folder) / "summary.json").read_text())
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        content = {"command": command(summary["settings"]), **summary}
        RECORD.write_text(json.dumps(content, indent=1) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), "multi30k", table(json.loads(RECORD.read_text()))))


if __name__ == "__main__":
    main()
