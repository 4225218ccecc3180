"""What intervals cost in time and memory, 1,000 draws.

Before anything is timed the values of the first rows are compared with the functions of the same
names. Memory is measured by itself, in a fresh process for each call.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.costs import RECORDS
from benchmarks.interval_page import PAGE, page
from softtargets import calibration
from softtargets.bench import record
from softtargets.bench.measure import spread

NAME = "interval_costs.json"
DRAWS, GATED, TOLERANCE = 1000, 2000, 1e-9

Call = Callable[[Tensor, Tensor], object]
CALLS: dict[str, tuple[tuple[int, int], Call]] = {
    "top-label ECE": (
        (50_000, 100),
        lambda z, y: calibration.estimate_calibration_error(z.softmax(-1), y),
    ),
    "class-wise ECE": (
        (50_000, 100),
        lambda z, y: calibration.estimate_calibration_error(z.softmax(-1), y, of="classes"),
    ),
    "`evaluate`": ((10_000, 100), calibration.evaluate),
    "`compare_calibration`": (
        (10_000, 100),
        lambda z, y: calibration.compare_calibration(z, 1.1 * z, y),
    ),
}


def predictions(rows: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return logits and labels that follow their softmax."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, classes, generator=generator)
    return logits, logits.softmax(-1).multinomial(1, generator=generator).squeeze(1)


def gate() -> float:
    """Return the largest difference from the functions, or end if it is too large."""
    logits, labels = predictions(GATED, 100)
    logits = logits.double()
    probs, report = logits.softmax(-1), calibration.evaluate(logits, labels, bootstrap=10)
    pairs = [
        (report.expected_calibration_error, calibration.expected_calibration_error(probs, labels)),
        (
            report.classwise_calibration_error,
            calibration.classwise_calibration_error(probs, labels),
        ),
        (report.brier_score, calibration.brier_score(probs, labels)),
        (report.area_under_risk_coverage, calibration.area_under_risk_coverage(probs, labels)),
    ]
    worst = max(abs(estimate.value - float(expected)) for estimate, expected in pairs)
    if not worst <= TOLERANCE:
        raise SystemExit(f"the values are off by {worst:g}; nothing is timed")
    return worst


def timed(name: str, rounds: int) -> dict[str, Any]:
    """Return what a call costs."""
    shape, call = CALLS[name]
    logits, labels = predictions(*shape)
    call(logits[:GATED], labels[:GATED])
    seconds, busy = [], []
    for _ in range(rounds):
        began, began_busy = time.perf_counter(), time.process_time()
        call(logits, labels)
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - began_busy)
    return {
        "shape": list(shape),
        "seconds": asdict(spread(seconds)),
        "processor seconds": asdict(spread(busy)),
        "megabytes": memory(name),
    }


def memory(name: str) -> int:
    """Return the peak of a call beyond its inputs, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.interval_costs", "--peak", name]
    return round(float(subprocess.run(command, capture_output=True, check=True).stdout))


def peak(name: str) -> float:
    """Return by how many megabytes a call raises the peak of this process."""
    shape, call = CALLS[name]
    logits, labels = predictions(*shape)
    # The labels' softmax raised the peak: what is freed comes before what is measured.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call(logits, labels)
    return resident("VmHWM") - before


def resident(name: str) -> float:
    """Return a line of this process's status in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def main() -> None:
    """Measure and write the record and the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", choices=CALLS, help="print the memory of one call, no more")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(peak(arguments.peak))
        return
    machine = record.machine() | {"threads": arguments.threads}
    content = {
        "command": f"python -m benchmarks.interval_costs --rounds {arguments.rounds} "
        f"--threads {arguments.threads}",
        "machine": machine,
        "draws": DRAWS,
        "largest error": float(f"{gate():.1g}"),
        "results": {name: timed(name, arguments.rounds) for name in CALLS},
    }
    print(record.as_text(content))
    record.write(RECORDS, NAME, content)
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
