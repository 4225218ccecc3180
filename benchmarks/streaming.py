"""What `StreamingCalibration.update` costs beside one `torch.max(dim=-1)` over the same array.

1,000,000 x 1,000 predictions in float32, handed over in batches, side by side with a single call
of `torch.max` on all of them. Of most rows the model is sure, as trained models are; in one case it
is not, and more rows have to be searched for the first of several equal maxima. Before anything is
timed the values of the first rows are compared with the functions of the same names in float64.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchmarks import readme
from benchmarks.costs import RECORDS, read
from softtargets import calibration
from softtargets.bench import record
from softtargets.bench.measure import interleaved, ratios, spread
from softtargets.calibration import StreamingCalibration

PAGE = readme.ROOT / "docs" / "calibration-streaming.md"
ROWS, CLASSES, BATCH, GATED = 1_000_000, 1000, 10_000, 20_000
REFERENCE = "torch.max(dim=-1)"
# Logits of the right class are this much higher: nine in ten confidences above one half, or none.
SURE, UNSURE = 8.7, 4.0
TOLERANCE = 1e-6


class Pass:
    """One case: a function of all predictions, nothing to prepare."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def prepare(self) -> None:
        pass

    def run(self) -> None:
        self.function()


def predictions(rows: int, margin: float) -> tuple[Tensor, Tensor]:
    """Return logits `(rows, 1000)` and labels, a fifth of them drawn at random."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(CLASSES, (rows,), generator=generator)
    logits = torch.empty(rows, CLASSES)
    for block, labels in zip(logits.split(BATCH), truth.split(BATCH), strict=True):
        block.normal_(generator=generator)
        block[torch.arange(len(block)), labels] += margin
    noise = torch.randint(CLASSES, (rows,), generator=generator)
    return logits, truth.where(torch.rand(rows, generator=generator) < 0.8, noise)


def stream(scores: Tensor, labels: Tensor, kind: str, class_wise: bool) -> StreamingCalibration:
    """Return the accumulator after one pass in batches."""
    accumulator = StreamingCalibration(CLASSES, class_wise=class_wise)
    for batch, y in zip(scores.split(BATCH), labels.split(BATCH), strict=True):
        accumulator.update(y, **{kind: batch})
    return accumulator


def gate(scores: Tensor, labels: Tensor, kind: str) -> float:
    """Return the largest difference from the functions, or end if it is too large."""
    found = stream(scores[:GATED], labels[:GATED], kind, class_wise=True).compute()
    wide, y = scores[:GATED].double(), labels[:GATED]
    logits = wide if kind == "logits" else wide.log()
    probs = logits.softmax(-1) if kind == "logits" else wide
    expected = {
        "accuracy": calibration.accuracy(probs, y),
        "negative_log_likelihood": calibration.negative_log_likelihood(logits, y),
        "brier_score": calibration.brier_score(probs, y),
        "expected_calibration_error": calibration.expected_calibration_error(probs, y),
        "classwise_calibration_error": calibration.classwise_calibration_error(probs, y),
    }
    worst = max(abs(float(value) - getattr(found, name)) for name, value in expected.items())
    if not worst <= TOLERANCE:
        raise SystemExit(f"from {kind} the values are off by {worst:g}; nothing is timed")
    return worst


def timed(scores: Tensor, labels: Tensor, kind: str, title: str, rounds: int) -> dict[str, Any]:
    """Return what the cases of an array cost; of probabilities with all classes too."""
    error = gate(scores, labels, kind)
    print(f"{title} ...", file=sys.stderr, flush=True)
    cases: dict[str, Pass] = {
        REFERENCE: Pass(lambda: torch.max(scores, -1)),
        title: Pass(lambda: stream(scores, labels, kind, class_wise=False)),
    }
    if title == "probabilities":
        cases[f"{title}, class-wise too"] = Pass(
            lambda: stream(scores, labels, kind, class_wise=True)
        )
    times = interleaved(cases, rounds, "cpu")
    found = {
        name: {
            "ratio to torch.max": asdict(spread(ratios(seconds, times[REFERENCE]))),
            "seconds": asdict(spread(seconds)),
            "largest error": float(f"{error:.1g}"),
        }
        for name, seconds in times.items()
    }
    return {f"{name}, from {kind}" if name == REFERENCE else name: v for name, v in found.items()}


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """Return the results of every case; holds one array of predictions at a time."""
    logits, labels = predictions(rows, SURE)
    results = timed(logits, labels, "logits", "logits", rounds)
    for block in logits.split(BATCH):
        torch.softmax(block, -1, out=block)
    results |= timed(logits, labels, "probs", "probabilities", rounds)
    del logits
    probs, labels = predictions(rows, UNSURE)
    for block in probs.split(BATCH):
        torch.softmax(block, -1, out=block)
    return results | {
        name: value
        for name, value in timed(probs, labels, "probs", "probabilities, unsure", rounds).items()
        if "unsure" in name
    }


def table(content: dict[str, Any]) -> str:
    """Return the record as the page shows it."""
    machine = content["machine"]
    threads = f"{machine['threads']} thread" + ("" if machine["threads"] == 1 else "s")
    rows, classes = content["problem"]["rows"], content["problem"]["classes"]
    lines = [
        f"`{content['command']}`, {threads} of {machine['processor']}, torch {machine['torch']}, "
        f"load {machine['load'][0]} before the run:",
        "",
        f"| {rows:,} x {classes:,} float32 | time, share of `torch.max`'s | range |",
        "|---|---:|---:|",
    ]
    for name, result in content["results"].items():
        if name.startswith(REFERENCE):
            continue
        ratio = result["ratio to torch.max"]
        lines.append(
            f"| {name} | {ratio['median']:.2f} | {ratio['min']:.2f} to {ratio['max']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the table of the record."""
    return readme.filled(text, "streaming", table(read("streaming")))


def main() -> None:
    """Measure; of all rows write the record and the table of the page, of fewer only print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="at least 50,000 mean something")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine = record.machine() | {"threads": arguments.threads}
    flags = f"--rounds {arguments.rounds} --threads {arguments.threads}"
    if arguments.rows != ROWS:
        flags = f"--rows {arguments.rows} {flags}"
    content = {
        "command": f"python -m benchmarks.streaming {flags}",
        "machine": machine,
        "problem": {"rows": arguments.rows, "classes": CLASSES, "batch": BATCH, "dtype": "float32"},
        "results": measure(arguments.rows, arguments.rounds),
    }
    print(record.as_text(content))
    if arguments.rows != ROWS:
        return
    record.write(RECORDS, "streaming.json", content)
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
