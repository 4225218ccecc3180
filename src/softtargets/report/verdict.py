"""Who is best, whose paired interval against hard labels excludes 0, and what may be chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from softtargets.lab.methods import BASELINE, METHODS
from softtargets.lab.summary import METRICS, Mean, Metric, Row
from softtargets.report.notation import ACCURACY, number, title

FEW_SEEDS = 5
_LEAST_SEEDS = 3
_ERROR_RATE = 0.05  # of a 95 % interval


class Verdict(StrEnum):
    """What the paired 95 % interval of a difference to hard labels says."""

    BETTER = "clearly better"
    WORSE = "clearly worse"
    UNCLEAR = "no clear difference"
    UNTESTED = "not tested"


def attained(value: float) -> float:
    """Return what a value counts for in a comparison: 0 where it is below.

    Only a debiased error can be; it means that no error is to be seen.
    """
    return max(value, 0.0)


def judge(
    metric: Metric, difference: Mean | None, *, pair: tuple[float, float] | None = None
) -> Verdict:
    """Return whether the interval lies on one side of 0, and on which.

    Args:
        metric: says which direction is good.
        difference: method minus hard labels; None or NaN limits where there is no interval.
        pair: the two values; where both are at or below 0 the difference is not clear.
    """
    if difference is None or difference.low != difference.low:
        return Verdict.UNTESTED
    if difference.low <= 0 <= difference.high or (pair is not None and max(pair) <= 0):
        return Verdict.UNCLEAR
    return Verdict.BETTER if (difference.low > 0) == metric.higher_is_better else Verdict.WORSE


def values(row: Row, *, scaled: bool) -> dict[str, Mean]:
    """Return the means of a method as trained or after temperature scaling."""
    return row.scaled if scaled else row.plain


def differences(row: Row, *, scaled: bool) -> dict[str, Mean]:
    """Return the paired differences as trained or after temperature scaling."""
    return row.scaled_difference if scaled else row.plain_difference


def attainable(rows: Sequence[Row]) -> list[Row]:
    """Return the methods that somebody can use who does not know which labels are wrong."""
    told = {name for name, method in METHODS.items() if method.told_noise}
    return [row for row in rows if row.method not in told]


@dataclass(frozen=True, slots=True)
class Board:
    """The rows of a comparison, to be asked questions.

    Attributes:
        rows: one per method.
        seeds: how many runs a mean is over.
        metrics: the columns.
        rescaled: those of them that temperature scaling can change; it keeps the order of the
            classes, and so accuracy.
        reference: name of the method that others are compared with.
        titles: of methods that are not in `softtargets.lab.methods.METHODS`.
    """

    rows: list[Row]
    seeds: int
    metrics: tuple[Metric, ...] = METRICS
    rescaled: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric != ACCURACY)
    reference: str = BASELINE
    titles: Mapping[str, str] = field(default_factory=dict)

    def title(self, method: str) -> str:
        """Return the name a reader sees."""
        return self.titles.get(method) or title(method)

    def compared(self, *, scaled: bool) -> tuple[Metric, ...]:
        """Return the metrics that can differ, as trained or after temperature scaling."""
        return self.rescaled if scaled else self.metrics

    @property
    def baseline(self) -> Row | None:
        """The hard labels, or what else others are compared with, if they were run."""
        return next((row for row in self.rows if row.method == self.reference), None)

    @property
    def others(self) -> list[Row]:
        """The methods that are compared with the baseline."""
        return [row for row in self.rows if row.method != self.reference]

    @property
    def testable(self) -> bool:
        """Whether there are differences with intervals."""
        return self.seeds > 1 and self.baseline is not None and bool(self.others)

    def best(self, metric: Metric, *, scaled: bool, among: list[Row] | None = None) -> list[Row]:
        """Return the rows that print the best value; errors at or below 0 are all equally good."""
        rows = self.rows if among is None else among
        found = [attained(values(row, scaled=scaled)[metric.key].value) for row in rows]
        top = number(metric, max(found) if metric.higher_is_better else min(found))
        printed = [number(metric, value) for value in found]
        return [row for row, text in zip(rows, printed, strict=True) if text == top]

    def leaders(self, metric: Metric, *, scaled: bool) -> set[str]:
        """Return the methods to mark as best: nobody, where all are equal or there is only one."""
        best = self.best(metric, scaled=scaled)
        return {row.method for row in best} if len(best) < len(self.rows) else set()

    def judged(self, verdict: Verdict, metric: Metric, *, scaled: bool) -> list[Row]:
        """Return the methods with this verdict."""
        return [row for row in self.others if self.verdict(row, metric, scaled=scaled) == verdict]

    def verdict(self, row: Row, metric: Metric, *, scaled: bool) -> Verdict:
        """Return the verdict on one method."""
        if self.baseline is None:
            return Verdict.UNTESTED
        ours, base = (values(each, scaled=scaled)[metric.key] for each in (row, self.baseline))
        difference = differences(row, scaled=scaled).get(metric.key)
        return judge(metric, difference, pair=(ours.value, base.value))

    @property
    def denoised(self) -> bool:
        """Whether there were wrong labels, and it is known what every method made of them."""
        return all(row.denoising for row in self.rows)

    def denoising_verdict(self, row: Row, metric: Metric) -> Verdict:
        """Return the verdict on a metric of `DENOISING`; there is none on naming a third class."""
        if metric.key == "as_other":
            return Verdict.UNTESTED
        return judge(metric, row.denoising_difference.get(metric.key))

    def tally(self) -> tuple[int, int]:
        """Return how many differences were tested, and how many of them are clear."""
        verdicts = self._verdicts()
        clear = sum(verdict in (Verdict.BETTER, Verdict.WORSE) for verdict in verdicts)
        return sum(verdict != Verdict.UNTESTED for verdict in verdicts), clear

    @property
    def few_seeds(self) -> bool:
        """Whether an interval over the seeds says little by itself."""
        return self.seeds < _LEAST_SEEDS

    @property
    def by_chance(self) -> int:
        """About how many differences would look clear if no method did anything; at least 1."""
        return max(1, round(_ERROR_RATE * self.tally()[0]))

    def supported(self, verdict: Verdict) -> bool:
        """Return whether differences that are clear in this direction are more than chance.

        They are taken for more with three seeds, if more than twice as many are clear in all as
        chance would give, and as many in this direction.
        """
        tested, clear = self.tally()
        alike = self._verdicts().count(verdict)
        return not self.few_seeds and clear > 2 * self.by_chance and alike > _ERROR_RATE * tested

    def worded(self, verdict: Verdict) -> str:
        """Return the verdict in words: “perhaps” instead of “clearly” where it may be chance."""
        if verdict not in (Verdict.BETTER, Verdict.WORSE) or self.supported(verdict):
            return str(verdict)
        return verdict.replace("clearly", "perhaps")

    @property
    def hedged(self) -> bool:
        """Whether any verdict is only “perhaps”."""
        return any(self.worded(verdict) != verdict for verdict in set(self._verdicts()))

    @property
    def gained(self) -> int:
        """How many differences are clear in favour of a method."""
        return self._verdicts().count(Verdict.BETTER)

    @property
    def more_seeds(self) -> int:
        """How many seeds to run next."""
        return max(FEW_SEEDS, 2 * self.seeds)

    def _verdicts(self) -> list[Verdict]:
        return [
            self.verdict(row, metric, scaled=scaled)
            for row in self.others
            for scaled in (False, True)
            for metric in self.compared(scaled=scaled)
        ]
