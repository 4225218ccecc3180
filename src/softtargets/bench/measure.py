"""Timing cases in turn, so that a machine that drifts moves all of them."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

# A sample is at least this long, of as many runs as it takes.
SECONDS_PER_SAMPLE = 0.02
MOST_REPEATS = 100
WARM_UP, WARM_UP_SECONDS = 2, 1.0


class Timed(Protocol):
    """What can be timed: `prepare()` is not counted, `run()` is."""

    def prepare(self) -> None:
        """Make ready for one run."""

    def run(self) -> None:
        """Run once."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum of a few values."""

    min: float
    median: float
    max: float


def spread(values: list[float], digits: int = 4) -> Spread:
    """Return the spread of values, rounded."""
    found = (min(values), statistics.median(values), max(values))
    return Spread(*(float(f"{value:.{digits}g}") for value in found))


def interleaved(steps: Mapping[str, Timed], rounds: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of every step in every round.

    Every step is warmed up, then every round runs each of them once, starting with another one
    each time, so that none always follows the same. What `prepare()` does is not counted.

    Args:
        steps: by name.
        rounds: how often.
        device: `"cpu"`, or `"cuda"`, whose events are then read.
    """
    if not steps:
        return {}
    clock = _seconds_cpu if device == "cpu" else _seconds_cuda
    repeats = {name: _repeats(step, clock) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            first = index % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(_sample(steps[name], repeats[name], clock))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return times


def ratios(values: list[float], reference: list[float]) -> list[float]:
    """Return the ratios to a reference of the same rounds."""
    return [value / other for value, other in zip(values, reference, strict=True)]


_Clock = Callable[[Timed], float]


def _repeats(step: Timed, clock: _Clock) -> int:
    for _ in range(WARM_UP):
        seconds = _sample(step, 1, clock)
        if seconds > WARM_UP_SECONDS:
            return 1
    return max(1, min(MOST_REPEATS, round(SECONDS_PER_SAMPLE / max(seconds, 1e-9))))


def _sample(step: Timed, repeats: int, clock: _Clock) -> float:
    total = 0.0
    for _ in range(repeats):
        step.prepare()
        total += clock(step)
    return total / repeats


def _seconds_cpu(step: Timed) -> float:
    began = time.perf_counter()
    step.run()
    return time.perf_counter() - began


def _seconds_cuda(step: Timed) -> float:
    event: Any = torch.cuda.Event
    began, ended = event(enable_timing=True), event(enable_timing=True)
    began.record()
    step.run()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / 1000
