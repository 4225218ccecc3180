"""Takes finished comparisons on Multi30k into the project: their records and their tables.

The commands are in the records; without folders only the tables are written again:

python -m benchmarks.multi30k [runs/multi30k runs/multi30k-unigram]
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.readme import filled

ROOT = Path(__file__).parent.parent
RECORDS = {
    name: ROOT / "records" / "translation" / f"{name}.json"
    for name in ("multi30k", "multi30k_unigram")
}
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
    over = "one seed" if seeds == 1 else f"{seeds} seeds, mean ± half the 95 % interval over seeds"
    minutes = record["training_seconds"] / 60 / runs
    lines = [
        f"`{record['command']}`, {over}; {minutes:.1f} minutes of training a run, on one thread:",
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


def _cell(mean: dict[str, Any], scale: float, digits: int) -> str:
    value = f"{scale * mean['value']:.{digits}f}"
    if mean["high"] is None:
        return value
    return f"{value} ± {scale * (mean['high'] - mean['low']) / 2:.{digits}f}"


def main() -> None:
    """Copy the summaries and rewrite the tables."""
    for folder, path in zip(sys.argv[1:], RECORDS.values(), strict=False):
        summary = json.loads((Path(folder) / "summary.json").read_text())
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"command": command(summary["settings"]), **summary}
        path.write_text(json.dumps(content, indent=1) + "\n")
    page = PAGE.read_text()
    for name, path in RECORDS.items():
        page = filled(page, name.replace("_", "-"), table(json.loads(path.read_text())))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
