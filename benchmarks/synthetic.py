"""Runs the synthetic benchmark of instance-based label smoothing, and writes its page's tables.

python -m benchmarks.synthetic equal 100    30 networks for each method and draw
python -m benchmarks.synthetic grids 100    the paper's grids, once
python -m benchmarks.synthetic surface 20   ILS1 by P1 and P2
python -m benchmarks.synthetic bounded 20   the same with an amount of at most 0.2

What a record has already is not computed again. Without arguments only the tables are written.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import t

from benchmarks.readme import filled
from softtargets.lab.synthetic import run, surface, write_record
from softtargets.lab.synthetic.record import (
    SurfaceRecord,
    SyntheticRecord,
    joined,
    joined_surfaces,
    read_record,
    read_surface,
)

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "records" / "synthetic"
PAGE = ROOT / "docs" / "synthetic.md"
PORTION = 5  # draws between two writings of the record
BUDGETS = {"equal": 30, "grids": None}
BOUNDS = {"surface": 1.0, "bounded": 0.2}
TITLES = {
    "hard": "hard labels",
    "ls": "LS",
    "class-wise": "LS, a rate for each class",
    "self-distillation": "self-distillation",
    "ils1": "ILS1",
    "ils2": "ILS2",
    "ils": "ILS",
}
# Accuracy, cross-entropy, ECE and cwECE as trained; the paper's Table V and, for the student of a
# teacher with hard labels, Table VI.
PAPER = {
    "hard": (78.45, 0.5589, 0.0426, 0.0668),
    "ls": (79.44, 0.5318, 0.0293, 0.0723),
    "self-distillation": (78.47, 0.5592, 0.0405, 0.0649),
    "ils1": (80.18, 0.5041, 0.0235, 0.0495),
    "ils2": (79.56, 0.5232, 0.0287, 0.0496),
    "ils": (80.13, 0.5089, 0.0269, 0.0449),
}
BAYES = (81.98, 0.4444, 0.0067, 0.0234)
COLUMNS = ("accuracy", "nll", "ece", "classwise_ece", "ece_within_classes")


def main() -> None:
    """Run what is asked for and fill in the page."""
    if len(sys.argv) > 1:
        _compute(sys.argv[1], int(sys.argv[2]))
    text = PAGE.read_text()
    for name in BUDGETS:
        text = filled(text, name, table(read_record(FOLDER / f"{name}.json")))
    for name in BOUNDS:
        text = filled(text, name, surface_table(read_surface(FOLDER / f"{name}.json")))
    PAGE.write_text(text)


def _compute(name: str, count: int) -> None:
    """Compute the draws that the record does not have, and write it after every few."""
    command, path = f"python -m benchmarks.synthetic {name} {count}", FOLDER / f"{name}.json"
    FOLDER.mkdir(parents=True, exist_ok=True)
    while (done := _draws(path)) < count:
        draws = range(done, min(done + PORTION, count))
        if name in BOUNDS:
            found = surface(draws, max_rate=BOUNDS[name], command=command)
            write_record(joined_surfaces(read_surface(path), found) if done else found, path)
        else:
            record = run(draws, budget=BUDGETS[name], command=command)
            write_record(joined(read_record(path), record) if done else record, path)
        print(f"{draws.stop} of {count} draws", flush=True)


def _draws(path: Path) -> int:
    return len(json.loads(path.read_text())["draws"]) if path.exists() else 0


def table(record: SyntheticRecord) -> str:
    """Return means over draws beside the paper's, differences to LS and mean ranks."""
    lines = [
        f"`{record.command}`, {len(record.draws)} draws, {record.environment.threads} thread(s), "
        f"{record.seconds / 60:.0f} minutes:",
        "",
        "| as trained | accuracy % | (paper) | NLL | (paper) | NLL to LS | ECE | (paper) | cwECE "
        "| ECE within classes | (paper) | NLL, scaled | mean rank of NLL |",
        "|---|" + "---:|" * 12,
    ]
    ranks = record.mean_ranks("nll")
    for method in record.methods:
        means = [float(record.values(method, "plain", name).mean()) for name in COLUMNS]
        scaled = float(record.values(method, "scaled", "nll").mean())
        gap = _to_smoothing(record, method)
        cells = [
            *_beside(means, PAPER.get(method)),
            f"{scaled:.4f}",
            f"{ranks[method, 'plain']:.1f}",
        ]
        cells.insert(4, gap)
        lines.append(f"| {TITLES[method]} | {' | '.join(cells)} |")
    means = [float(np.mean(record.bayes[name])) for name in COLUMNS]
    cells = [*_beside(means, BAYES), "", ""]
    cells.insert(4, "")
    lines.append(f"| Bayes-optimal | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _beside(means: list[float], paper: tuple[float, ...] | None) -> list[str]:
    accuracy, nll, ece, standard, within = means
    theirs = ("", "", "", "")
    if paper is not None:
        theirs = (f"{paper[0]:.2f}", *(f"{each:.4f}" for each in paper[1:]))
    return [
        f"{100 * accuracy:.2f}",
        theirs[0],
        f"{nll:.4f}",
        theirs[1],
        f"{ece:.4f}",
        theirs[2],
        f"{standard:.4f}",
        f"{within:.4f}",
        theirs[3],
    ]


def _to_smoothing(record: SyntheticRecord, method: str) -> str:
    """The paired difference in NLL to LS, with its 95 % t-interval over draws."""
    if method == "ls":
        return ""
    gaps = record.values(method, "plain", "nll") - record.values("ls", "plain", "nll")
    half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return f"{gaps.mean():+.4f} ± {half:.4f}".replace("-", "−")


def surface_table(record: SurfaceRecord) -> str:
    """Return the mean NLL of each pair, the least in bold."""
    means = np.array(record.nll).mean(0)
    best = np.unravel_index(means.argmin(), means.shape)
    lines = [
        f"`{record.command}`, {len(record.draws)} draws:",
        "",
        "| P1 | " + " | ".join(f"P2 = {each:g}" for each in record.p2) + " |",
        "|---|" + "---:|" * len(record.p2),
    ]
    for row, each in enumerate(record.p1):
        cells = [
            f"**{value:.3f}**" if (row, column) == best else f"{value:.3f}"
            for column, value in enumerate(means[row])
        ]
        lines.append(f"| {each:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
