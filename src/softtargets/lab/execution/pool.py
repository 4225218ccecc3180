"""Workers that compute runs: the interface, and the one that is this process itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softtargets.lab.execution.events import Advanced, Event, Finished
from softtargets.lab.kinds import AnyData, AnySpec, kind_of

Key = tuple[str, str | None]
Handle = Callable[[int, Event], None]


def key_of(spec: AnySpec) -> Key:
    """Return what tells the data set of a spec from others: its hash, and its labels'."""
    return spec.data_hash, getattr(spec, "noisy_labels", None) or None


def key_of_data(data: AnyData) -> Key:
    """Return the same of the data set itself."""
    return data.digest, getattr(data, "noisy_digest", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all runs of a pool have in common.

    Attributes:
        root: the folder that holds the runs.
        data: the data sets.
        threads: with which torch computes a run.
        gpus: whether runs are for a CUDA device.
    """

    root: Path
    data: Mapping[Key, Any]
    threads: int
    gpus: bool = False


class AbstractPool(ABC):
    """Workers, numbered from 0, each of which computes one run at a time."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many workers there are."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What they are, for a reader; "" if there is nothing to say."""

    @abstractmethod
    def submit(self, worker: int, spec: AnySpec) -> None:
        """Give a run to an idle worker.

        Args:
            worker: its number; one that died is replaced.
            spec: of a run that nobody else computes.
        """

    @abstractmethod
    def wait(self, handle: Handle, timeout: float | None) -> None:
        """Wait until a worker tells something, and pass on what there is.

        Args:
            handle: is told the worker's number and an event; what it raises passes through.
            timeout: seconds to wait at most; None to wait for as long as it takes.
        """

    @abstractmethod
    def close(self) -> None:
        """End all workers, at once."""


class InlinePool(AbstractPool):
    """This process. A run is computed while it is waited for.

    Args:
        work: what to compute on.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._specs: list[AnySpec] = []

    @property
    def size(self) -> int:
        return 1

    @property
    def description(self) -> str:
        return ""

    def submit(self, worker: int, spec: AnySpec) -> None:
        self._specs.append(spec)

    def wait(self, handle: Handle, timeout: float | None) -> None:
        spec = self._specs.pop()
        data = self._work.data[key_of(spec)]
        kind_of(spec).perform(
            spec, data, self._work.root, lambda epochs: handle(0, Advanced(epochs))
        )
        handle(0, Finished())

    def close(self) -> None:
        self._specs.clear()
