"""What tables and page ask of a kind of runs: what matters most, its own figures and examples."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from markupsafe import Markup

from softtargets.calibration import BinStatistics
from softtargets.lab.summary import Metric, Row
from softtargets.lab.task_compare import TaskComparison
from softtargets.report.cells import Sheet
from softtargets.report.grouping import Group
from softtargets.report.verdict import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A table of a task's own, a line for each method, with its figures.

    Attributes:
        name: unique on the page, for links.
        heading: of the section.
        text: what is to be seen.
        first: head of the column of methods.
        sheet: the table.
        figures: beside it.
    """

    name: str
    heading: str
    text: str
    first: str
    sheet: Sheet
    figures: list[Markup]


class AbstractTaskView(ABC):
    """A kind of runs as tables and page show it; a module here has an instance named `VIEW`.

    Attributes:
        template: of the page.
        task: what the models do, as a noun.
        sample: what is tested, one of it.
        event: what has a confidence, one of it.
        curves: heading and scale of what is followed during training, by key of the history.
    """

    template: ClassVar[str]
    task: ClassVar[str]
    sample: ClassVar[str]
    event: ClassVar[str]
    curves: ClassVar[Mapping[str, tuple[str, float]]]

    @abstractmethod
    def glance(self, board: Board) -> tuple[tuple[Metric, bool], ...]:
        """Return what matters most: a metric, and whether after temperature scaling."""

    @abstractmethod
    def bins(self, arrays: Mapping[str, Any], *, scaled: bool) -> BinStatistics:
        """Return the confidences of a run's test predictions in bins.

        Args:
            arrays: of the run.
            scaled: after temperature scaling.
        """

    @abstractmethod
    def groups(self, methods: Iterable[str]) -> list[Group]:
        """Return which methods are drawn together, by epoch; all, unless they are too many.

        Args:
            methods: names, in the order of the comparison.
        """

    @abstractmethod
    def extras(self, comparison: TaskComparison, board: Board) -> list[Extra]:
        """Return tables and figures of the task's own."""

    @abstractmethod
    def notes(self, comparison: TaskComparison) -> list[str]:
        """Return what must be said beside the numbers wherever they are shown."""

    @abstractmethod
    def facts(self, comparison: TaskComparison) -> list[tuple[str, str]]:
        """Return what the model is and how it was trained and measured, with headings."""

    @abstractmethod
    def examples(self, comparison: TaskComparison, board: Board) -> Any:
        """Return what the template shows of single test samples."""


def view_of(comparison: TaskComparison) -> AbstractTaskView:
    """Return the view of a comparison's kind; its module is imported then."""
    kind = comparison.settings.kind
    found: AbstractTaskView = import_module(f"softtargets.report.tasks.{kind}").VIEW
    return found


def board_of(comparison: TaskComparison, rows: Sequence[Row]) -> Board:
    """Return the rows of a comparison, to be asked questions.

    Args:
        comparison: finished runs.
        rows: their summary.
    """
    kind = comparison.kind
    metrics = kind.metrics(comparison.spec)
    return Board(
        list(rows),
        comparison.settings.seeds,
        metrics=metrics,
        rescaled=tuple(metric for metric in metrics if metric.key in rows[0].scaled),
        reference=kind.baseline,
        titles={name: method.title for name, method in kind.methods.items()},
    )
