"""The suites: which cases on which shapes."""

from dataclasses import dataclass

from softtargets.bench.case import Case
from softtargets.bench.cases import LOGITS_CASES
from softtargets.bench.linear_cases import LINEAR_CASES

Shape = tuple[int, int | None, int]

REFERENCE, FLOOR = "torch", "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named set of measurements.

    Attributes:
        cases: all cases there are, by name.
        chosen: the names of those run unless others are asked for.
        shapes: `(rows, width, classes)` unless others are asked for.
        rounds: unless asked for.
        linear: whether the logits are multiplied out of features.
    """

    cases: dict[str, Case]
    chosen: tuple[str, ...]
    shapes: tuple[Shape, ...]
    rounds: int
    linear: bool = False


QUICK = ("copy", "torch", "ls", "ls-reuse", "prior", "ols-right", "teacher")
GROWTH = ("copy", "torch", "ls", "ls-reuse", "prior", "teacher")

SUITES = {
    "quick": Suite(
        cases=LOGITS_CASES,
        chosen=QUICK,
        shapes=((1024, None, 1000), (1024, None, 32000)),
        rounds=7,
    ),
    "cross-entropy": Suite(
        cases=LOGITS_CASES,
        chosen=tuple(LOGITS_CASES),
        shapes=tuple(
            (rows, None, classes)
            for rows, classes in (
                (256, 10),
                (1024, 1000),
                (1024, 8000),
                (1024, 32000),
                (2048, 128256),
            )
        ),
        rounds=9,
    ),
    "linear": Suite(
        cases=LINEAR_CASES,
        chosen=tuple(LINEAR_CASES),
        shapes=((4096, 256, 64000),),
        rounds=5,
        linear=True,
    ),
    "growth": Suite(
        cases=LOGITS_CASES,
        chosen=GROWTH,
        shapes=(
            *((rows, None, 4096) for rows in (256, 512, 1024, 2048, 4096)),
            *((1024, None, classes) for classes in (512, 1024, 2048, 8192, 16384, 32768)),
        ),
        rounds=7,
    ),
}
