"""Kinds of runs: what a spec is of, how it is computed, what it leaves.

Where runs are computed, the folders they leave and the locks on them are the same for all kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from softtargets.lab.records import StoredRun
from softtargets.lab.sealing import AnyRecord

MODULES = {
    "classification": "softtargets.lab.classification",
    "translation": "softtargets.lab.translation.kind",
    "segmentation": "softtargets.lab.segmentation.kind",
}
# What a data set's name begins with, of all kinds but the first.
_PREFIXES = {"translation": "translation", "segmentation": "segmentation", "camvid": "segmentation"}


class AnySpec(Protocol):
    """What is common to the specs of all kinds; each is a frozen `msgspec.Struct`."""

    kind: ClassVar[str]

    @property
    def data(self) -> str:
        """Name or path of the data set, as given."""

    @property
    def data_hash(self) -> str:
        """Hash of its contents and split."""

    @property
    def method(self) -> str:
        """A name in the kind's table of methods."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def epochs(self) -> int:
        """Passes over the training data."""

    @property
    def teacher(self) -> str | None:
        """run_id of the teacher, for methods that have one."""

    @property
    def run_id(self) -> str:
        """A readable name with a hash of every field."""


class AnyData(Protocol):
    """What is common to the data of all kinds."""

    @property
    def digest(self) -> str:
        """Hash of contents and split."""


class AbstractKind(ABC):
    """One kind of runs; a module of `MODULES` has an instance named `KIND`.

    Attributes:
        spec: type of its specs.
        record: type of its records.
    """

    spec: ClassVar[type[Any]]
    record: ClassVar[type[Any]]

    @abstractmethod
    def load(self, source: str) -> Any:
        """Return the data that a spec names.

        Args:
            source: as on a command line.

        Raises:
            LabError: there are none.
        """

    @property
    def missing(self) -> str:
        """What runs need and is not installed, with the way out; "" for nothing."""
        return ""

    @abstractmethod
    def steps(self, spec: Any, data: Any) -> int:
        """Return how many steps of training a run takes; to compare runs of one kind.

        Args:
            spec: of the run.
            data: its data set.
        """

    @abstractmethod
    def perform(self, spec: Any, data: Any, root: Path, on_epoch: Callable[[int], None]) -> None:
        """Compute a run, from its last checkpoint if there is one, and write its record.

        Args:
            spec: what to run.
            data: its data set.
            root: the folder that holds the runs, a finished teacher among them if the spec has one.
            on_epoch: called with the number of finished epochs, first with those of the checkpoint.

        Raises:
            LabError: the run cannot be computed, or a folder cannot be read or written.
        """

    @abstractmethod
    def check_checkpoint(self, spec: Any, data: Any, folder: StoredRun[Any]) -> None:
        """Raise `LabError` where the run has a checkpoint that it could not go on from.

        Args:
            spec: of the run.
            data: its data set.
            folder: where it is kept.
        """


def kind_named(name: str) -> AbstractKind:
    """Return a kind by its name in `MODULES`; its module is imported then."""
    found: AbstractKind = import_module(MODULES[name]).KIND
    return found


def kind_of_data(source: str) -> str:
    """Return the name of the kind that a data set is for.

    Args:
        source: as on a command line.

    Example:
        >>> kind_of_data("translation:multi30k?target=fr"), kind_of_data("digits")
        ('translation', 'classification')
    """
    return _PREFIXES.get(source.partition(":")[0], "classification")


def kind_of(spec: AnySpec) -> AbstractKind:
    """Return the kind of a spec."""
    return kind_named(spec.kind)


def folder_of(spec: AnySpec, root: Path) -> StoredRun[AnyRecord]:
    """Return the folder of a run.

    Args:
        spec: of the run.
        root: the folder that holds the runs.
    """
    return StoredRun(root, spec.run_id, kind_of(spec).record)
