"""What is asked of a run of the benchmarks, and whether it makes sense."""

from dataclasses import dataclass

import torch

from softtargets.bench.case import Case
from softtargets.bench.problem import DTYPES, Problem, parse_shape
from softtargets.bench.suites import SUITES, Suite
from softtargets.lab.errors import LabError

MOST_ROUNDS, MOST_THREADS = 1000, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was asked for; empty and None stand for the suite's own.

    Attributes:
        suite: a name in `SUITES`.
        shapes: as written, `"NxK"` or `"NxDxK"`.
        cases: names of the suite's cases.
        dtype: a name in `DTYPES`.
        device: `"cpu"` or `"cuda"`.
        threads: torch computes with; None leaves them as they are.
        rounds: in each of which every case is timed once.
        memory: whether to measure it, in fresh processes.
    """

    suite: str = "quick"
    shapes: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    dtype: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    rounds: int | None = None
    memory: bool = True

    @property
    def command(self) -> str:
        """The command line that asks for this, but for where the record goes."""
        words = ["softtargets bench", self.suite]
        for name, values in (("shape", self.shapes), ("cases", self.cases)):
            words += [f"--{name}", *values] if values else []
        if self.device != "cpu":
            words.append(f"--device {self.device}")
        if self.dtype != "float32":
            words.append(f"--dtype {self.dtype}")
        for name, value in (("threads", self.threads), ("rounds", self.rounds)):
            words += [f"--{name} {value}"] if value is not None else []
        return " ".join(words + ([] if self.memory else ["--no-memory"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings that make sense, spelled out.

    Attributes:
        settings: they came from.
        suite: they name.
        cases: by name.
        problems: in order.
        rounds: of timing.
    """

    settings: Settings
    suite: Suite
    cases: dict[str, Case]
    problems: list[Problem]
    rounds: int


def plan(settings: Settings) -> Plan:
    """Spell settings out.

    Raises:
        LabError: a name is unknown, a number out of range, or the device is not there.
    """
    suite = SUITES.get(settings.suite)
    if suite is None:
        raise LabError(f"unknown suite {settings.suite}: choose from {', '.join(SUITES)}")
    names = dict.fromkeys(settings.cases or suite.chosen)
    for name in names:
        if name not in suite.cases:
            raise LabError(f"unknown case {name}: choose from {', '.join(suite.cases)}")
    if settings.dtype not in DTYPES:
        raise LabError(f"--dtype must be one of {', '.join(DTYPES)}, got {settings.dtype!r}")
    if settings.device not in ("cpu", "cuda"):
        raise LabError(f"--device must be cpu or cuda, got {settings.device!r}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise LabError("--device cuda: there is no CUDA device here; leave it at cpu")
    _check_count("threads", settings.threads, MOST_THREADS)
    _check_count("rounds", settings.rounds, MOST_ROUNDS)
    shapes = [parse_shape(text, suite.linear) for text in settings.shapes] or suite.shapes
    return Plan(
        settings=settings,
        suite=suite,
        cases={name: suite.cases[name] for name in names},
        problems=[
            Problem(rows=n, width=d, classes=k, dtype=settings.dtype, device=settings.device)
            for n, d, k in shapes
        ],
        rounds=settings.rounds or suite.rounds,
    )


def _check_count(name: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise LabError(f"--{name} must be a whole number from 1 to {most}, got {value}")
