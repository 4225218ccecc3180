"""What an interval says of a claim, by a rule that is written down before the runs."""

import math
from dataclasses import dataclass
from enum import StrEnum

from softtargets.claims.intervals import Interval


class Verdict(StrEnum):
    """What the runs say of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The claim that an effect lies in an open range, and how many seeds it takes to judge it.

    Supported: the whole interval is inside the range. Refuted: the whole interval is outside, on
    one side of it. Undecided: it reaches over an end of the range, or there are too few seeds.

    Args:
        above: lower end of the range, in the effect's own unit.
        below: upper end.
        seeds: fewer than these decide nothing.

    Example:
        >>> rule = Rule.less(0.01)
        >>> rule.verdict(Interval(-0.05, -0.06, -0.04), seeds=5)
        <Verdict.SUPPORTED: 'supported'>
        >>> rule.verdict(Interval(-0.05, -0.06, -0.04), seeds=4)
        <Verdict.UNDECIDED: 'undecided'>
        >>> rule.verdict(Interval(0.0, -0.005, 0.005), seeds=5)
        <Verdict.REFUTED: 'refuted'>
    """

    above: float = -math.inf
    below: float = math.inf
    seeds: int = 5

    def __post_init__(self) -> None:
        if not self.above < self.below:
            raise ValueError(
                f"`above` must be smaller than `below`, got {self.above} and {self.below}; the "
                "range between them is what the claim says"
            )

    @classmethod
    def greater(cls, margin: float = 0.0) -> "Rule":
        """The effect is above the margin; a margin below 0 says "not smaller by more than"."""
        return cls(above=margin)

    @classmethod
    def less(cls, margin: float = 0.0) -> "Rule":
        """The effect is below minus the margin."""
        return cls(below=-margin)

    @classmethod
    def within(cls, margin: float) -> "Rule":
        """The effect is smaller than the margin in size: equivalence."""
        return cls(above=-margin, below=margin)

    def verdict(self, interval: Interval, *, seeds: int) -> Verdict:
        """Judge the interval.

        Args:
            interval: of the effect.
            seeds: paired seeds it rests on.
        """
        if seeds < self.seeds or math.isnan(interval.low) or math.isnan(interval.high):
            return Verdict.UNDECIDED
        if interval.low > self.above and interval.high < self.below:
            return Verdict.SUPPORTED
        if interval.high <= self.above or interval.low >= self.below:
            return Verdict.REFUTED
        return Verdict.UNDECIDED


def combined(tests: list[Verdict], conditions: list[Verdict]) -> Verdict:
    """Return the verdict on a claim that says several things.

    One refuted thing refutes it, all supported support it; where a condition under which the paper
    speaks is not seen to hold, nothing is decided.

    Args:
        tests: what the claim says.
        conditions: under which it says so.
    """
    if any(each is not Verdict.SUPPORTED for each in conditions):
        return Verdict.UNDECIDED
    if Verdict.REFUTED in tests:
        return Verdict.REFUTED
    if all(each is Verdict.SUPPORTED for each in tests):
        return Verdict.SUPPORTED
    return Verdict.UNDECIDED
