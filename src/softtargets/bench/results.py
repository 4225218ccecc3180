"""What a run of the benchmarks finds."""

from dataclasses import dataclass, field

from softtargets.bench.gate import Errors
from softtargets.bench.measure import Spread
from softtargets.bench.memory import Memory
from softtargets.bench.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a case cost.

    Attributes:
        title: of the case.
        milliseconds: a forward and a backward pass.
        to_torch: ratio to torch's time in the same round.
        to_copy: ratio to the time of a copy of the logits in the same round.
        bandwidth: share of a copy's bandwidth, if no byte moves more often than it must.
        memory: None where it was not measured.
        errors: of loss and gradient at the gate; None for copies.
        rounds: milliseconds, one by one.
    """

    title: str
    milliseconds: Spread
    to_torch: Spread | None
    to_copy: Spread | None
    bandwidth: float | None
    memory: Memory | None
    errors: Errors | None
    rounds: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A problem's results, by the names of the cases.

    Attributes:
        problem: what was measured.
        threads: torch computed with.
        cases: what was timed.
        skipped: why a case could not be run here.
        failed: why a case was not timed: it is wrong, or fails.
        unmeasured: why a timed case's memory is not known.
    """

    problem: Problem
    threads: int
    cases: dict[str, Measured] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)
