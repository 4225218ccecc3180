"""Finished runs by method and seed, and what comparisons of all kinds ask of settings."""

from abc import ABC
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple

from softtargets.lab.errors import LabError
from softtargets.lab.kinds import AnySpec
from softtargets.lab.output import RUNS
from softtargets.lab.records import StoredRun
from softtargets.lab.sealing import Record

MOST_SEEDS = 1000
MOST_EPOCHS = 100_000

Names = Mapping[str, Sequence[str]]


Runs = dict[str, list[tuple[StoredRun[Record], Record]]]


class AbstractComparison(ABC, Generic[Record]):
    """Finished runs of the same seeds, by method.

    Attributes:
        runs: for each method, its folders and records by seed.
    """

    __slots__ = ()
    runs: Runs[Record]

    def records(self, method: str) -> list[Record]:
        """Return the records of a method, by seed."""
        return [record for _, record in self.runs[method]]

    def arrays(self, method: str) -> list[dict[str, Any]]:
        """Return the stored arrays of a method, by seed."""
        return [folder.arrays() for folder, _ in self.runs[method]]


class Recalled(NamedTuple, Generic[Record]):
    """Runs of the seeds that all methods have finished.

    Attributes:
        runs: for each method, its folders and records by seed.
        seeds: those that all methods have finished.
        missing: how many runs are not finished.
    """

    runs: Runs[Record]
    seeds: list[int]
    missing: int


def names_of(specs: Iterable[AnySpec], methods: Iterable[str]) -> dict[str, list[str]]:
    """Return the run ids of each method in the order of the specs, seed by seed."""
    return {method: [spec.run_id for spec in specs if spec.method == method] for method in methods}


def gathered(
    output: Path, names: Names, records: Mapping[str, Record], kind: type[Record]
) -> Runs[Record]:
    """Return folders and records by method and seed.

    Args:
        output: the folder of the comparison.
        names: for each method its run ids, by seed.
        records: by run id.
        kind: type of the records.
    """
    return {
        method: [(StoredRun(output / RUNS, name, kind), records[name]) for name in each]
        for method, each in names.items()
    }


def recalled(output: Path, names: Names, kind: type[Record]) -> Recalled[Record]:
    """Return the runs of the seeds that all methods have finished.

    Args:
        output: the folder of the comparison.
        names: for each method its run ids, by seed.
        kind: type of the records.

    Raises:
        LabError: a file is corrupt, or no seed is finished.
    """
    wanted = [name for each in names.values() for name in each]
    folders = {name: StoredRun(output / RUNS, name, kind) for name in wanted}
    records = {name: folder.record() for name, folder in folders.items() if folder.done}
    together = zip(*names.values(), strict=True)
    seeds = [seed for seed, each in enumerate(together) if records.keys() >= set(each)]
    missing = len(folders) - len(records)
    if not seeds:
        raise LabError(
            f"{output} has no seed that all methods have finished, {missing} of {len(folders)} "
            "runs are missing; give the command that started them again, it goes on where it "
            "stopped"
        )
    finished = {method: [each[seed] for seed in seeds] for method, each in names.items()}
    return Recalled(gathered(output, finished, records, kind), seeds, missing)


def check_methods(methods: Sequence[str], known: Collection[str], way_out: str) -> None:
    """Raise `LabError` unless methods are known and each is named once, and one at least."""
    unknown = [name for name in methods if name not in known]
    if unknown or not methods:
        raise LabError(
            f"unknown method {', '.join(unknown) or '(none)'}: {way_out} {', '.join(known)}"
        )
    if len(set(methods)) < len(methods):
        raise LabError(f"a method is named twice in {','.join(methods)}: name each once")


def check_sizes(seeds: int, epochs: int) -> None:
    """Raise `LabError` unless the numbers of seeds and epochs can be computed."""
    check_count("seeds", seeds, MOST_SEEDS)
    check_count("epochs", epochs, MOST_EPOCHS)


def check_count(name: str, value: int, most: int) -> None:
    """Raise `LabError` unless an option is a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise LabError(f"--{name} must be a whole number from 1 to {most}, got {value}")
