"""A claim: what a paper says, the runs that can tell, and the rule that decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from softtargets.claims.arms import Arm, Found, Planner, Try
from softtargets.claims.budgets import BUDGETS, Budget, BudgetName
from softtargets.claims.intervals import Paired
from softtargets.claims.record import Panel, Series
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run, Stored
from softtargets.lab.kinds import AnySpec, folder_of
from softtargets.lab.records import RunFolder

Origin = Literal["paper", "secondary source", "replication"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Figures of a paper.

    Attributes:
        setting: data and network.
        measure: what was measured, with its unit.
        values: by what was compared; empty where the paper has words or a picture alone.
        origin: read in the paper or its authors' files, in one other text, or measured by others.
    """

    setting: str
    measure: str
    values: Mapping[str, float] = field(default_factory=dict)
    origin: Origin = "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One thing a claim says, as a range for an effect.

    Attributes:
        name: of the effect in what the claim measures.
        says: what is compared, in words.
        rule: the range.
        scale: what the effect is multiplied with for printing.
        unit: of the printed number.
        condition: not what the claim says but under what it says it.
    """

    name: str
    says: str
    rule: Rule
    scale: float = 1.0
    unit: str = ""
    condition: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What a claim measured.

    Attributes:
        effects: by name of the test.
        panels: for the picture.
    """

    effects: Mapping[str, Paired]
    panels: tuple[Panel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The finished runs of a claim.

    Attributes:
        arms: of the claim, by name.
        planner: of the budget and the data.
        found: finished runs by run_id.
        root: folder of the runs.
        cache: folder of what is computed besides runs.
    """

    arms: Mapping[str, Arm]
    planner: Planner
    found: Found
    root: Path
    cache: Path

    @property
    def budget(self) -> Budget:
        """What was spent."""
        return self.planner.budget

    def runs(self, name: str) -> list[Run]:
        """Return the runs of an arm, by seed, at its chosen try."""
        return self._at(self.arms[name], self.chosen(name))

    def swept(self, name: str) -> list[list[Run]]:
        """Return the runs of an arm that sweeps, by try and by seed."""
        arm = self.arms[name]
        return [self._at(arm, attempt) for attempt in arm.offered(self.budget)]

    def chosen(self, name: str) -> Try:
        """Return the try of an arm that the tuning seeds chose."""
        arm = self.arms[name]
        index = self.planner.choice(arm, self.found)
        assert index is not None
        return arm.tries[index]

    def tries(self, name: str) -> tuple[Try, ...]:
        """Return all tries of an arm in this budget."""
        return self.arms[name].offered(self.budget)

    def stored(self, name: str) -> list[Stored]:
        """Return the runs of an arm, by seed, of whatever kind."""
        arm = self.arms[name]
        specs = [
            self.planner.spec(arm, self.chosen(name), seed) for seed in self.planner.seeds(arm)
        ]
        return [Stored(folder_of(spec, self.root), self.found[spec.run_id]) for spec in specs]

    def _at(self, arm: Arm, attempt: Try) -> list[Run]:
        _, data = self.planner.sources.located(self.planner.scene(arm).data)
        ids = [self.planner.spec(arm, attempt, seed).run_id for seed in self.planner.seeds(arm)]
        return [Run(RunFolder(self.root, name), self.found[name], data) for name in ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a paper says, as a test.

    Attributes:
        name: paper and subject, as `mueller.calibration`.
        paper: author, title, year.
        statement: in plain words.
        figures: the paper's own, and others'.
        arms: the runs it takes.
        tests: what decides it, written before the runs.
        measure: from finished runs to effects, one for each test, and the picture.
        budgets: in which it can be run.
    """

    name: str
    paper: str
    statement: str
    figures: tuple[Quoted, ...]
    arms: tuple[Arm, ...]
    tests: tuple[Test, ...]
    measure: Callable[[Results], Measured] = field(repr=False)
    budgets: tuple[BudgetName, ...] = BUDGETS

    def specs(self, planner: Planner, found: Found, *, assume: bool = False) -> list[AnySpec]:
        """Return the runs it takes, each once and teachers first: as far as they are known.

        Args:
            planner: of the budget and the data.
            found: finished runs; with those of the tuning seeds, the rest is known.
            assume: take the first try where none is chosen yet, to count the runs.
        """
        specs = [spec for arm in self.arms for spec in planner.specs(arm, found, assume=assume)]
        return list({spec.run_id: spec for spec in specs}.values())


def levels(title: str, measured: Mapping[str, Paired], *, scale: float = 1.0) -> Panel:
    """Return a panel with one point and interval for each arm.

    Args:
        title: with the unit.
        measured: by label.
        scale: what values are multiplied with.
    """
    series = []
    for label, paired in measured.items():
        value, low, high = (paired * scale).interval()
        series.append(Series(label=label, x=[0.0], y=[value], low=[low], high=[high]))
    return Panel(title=title, kind="levels", series=series)


def lines(
    title: str,
    x_label: str,
    measured: Mapping[str, Mapping[float, Paired]],
    *,
    scale: float = 1.0,
) -> Panel:
    """Return a panel with a line with intervals for each label.

    Args:
        title: with the unit.
        x_label: of the axis.
        measured: by label and place on the axis.
        scale: what values are multiplied with.
    """
    series = []
    for label, points in measured.items():
        found = [(paired * scale).interval() for paired in points.values()]
        series.append(
            Series(
                label=label,
                x=list(points),
                y=[each.value for each in found],
                low=[each.low for each in found],
                high=[each.high for each in found],
            )
        )
    return Panel(title=title, x_label=x_label, kind="lines", series=series)
