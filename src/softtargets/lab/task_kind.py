"""What a comparison asks of the kinds of runs beside classification."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import msgspec

from softtargets.lab.kinds import MODULES, AbstractKind, kind_named
from softtargets.lab.spec import Parameters
from softtargets.lab.summary import Metric


class AnyMethod(Protocol):
    """What is common to the methods of all kinds."""

    @property
    def title(self) -> str:
        """Short name for tables."""

    @property
    def summary(self) -> str:
        """What it does."""

    @property
    def parameters(self) -> Parameters:
        """Its settings, as recorded."""


class TaskData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What there is to know of a task's data without having them.

    Attributes:
        name: what to call them in a report.
        digest: hash of contents and split.
        test: how many sentences or images models are tested on.
        facts: further headings with what there is to say, counts of what was left out among them.
    """

    name: str
    digest: str
    test: int
    facts: list[tuple[str, str]]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is reached without a model: what a model must beat to be worth comparing.

    Attributes:
        title: short name for tables.
        summary: what it does, in one sentence.
        values: by key of a metric; those that make sense for it.
    """

    title: str
    summary: str
    values: dict[str, float]


class AbstractTaskKind(AbstractKind):
    """A kind whose runs are compared by metrics of its own.

    Attributes:
        methods: what can be compared, by name.
        baseline: name of the method that others are compared with.
        default: names of the methods compared unless others are asked for.
    """

    methods: ClassVar[Mapping[str, AnyMethod]]
    baseline: ClassVar[str]
    default: ClassVar[tuple[str, ...]]

    @abstractmethod
    def metrics(self, spec: Any) -> tuple[Metric, ...]:
        """Return the columns of a comparison, the most important first.

        Args:
            spec: of one of its runs.
        """

    @abstractmethod
    def values(self, record: Any, *, scaled: bool) -> dict[str, float]:
        """Return what a run reached, by key of `metrics`, and perhaps more.

        Args:
            record: of the run.
            scaled: after temperature scaling; what that cannot change is left out.
        """

    @abstractmethod
    def describe(self, data: Any) -> TaskData:
        """Return what there is to know of data."""

    @abstractmethod
    def references(self, data: Any, spec: Any) -> list[Reference]:
        """Return what is reached without a model.

        Args:
            data: to be tested on.
            spec: of one of the runs.

        Raises:
            LabError: the data do not allow such runs.
        """


def task_kind(name: str) -> AbstractTaskKind:
    """Return a kind that can be compared so, by its name.

    Raises:
        ValueError: there is none of that name.
    """
    kind = kind_named(name) if name in MODULES else None
    if not isinstance(kind, AbstractTaskKind):
        raise ValueError(f"`name` must be a kind with metrics of its own, got {name!r}")
    return kind
