"""Comparisons beside classification: methods x seeds on one data set, each run computed once.

As `softtargets.lab.compare` does for classifiers; what is of one kind of runs alone is in its
`AbstractTaskKind`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from softtargets.lab.errors import LabError
from softtargets.lab.execution import Progress, compute
from softtargets.lab.kinds import AnySpec
from softtargets.lab.method_runs import (
    AbstractComparison,
    Runs,
    check_methods,
    check_sizes,
    gathered,
    names_of,
    recalled,
)
from softtargets.lab.options import as_options
from softtargets.lab.output import prepare
from softtargets.lab.study import FORMAT, read_study_as, unusable, write_study
from softtargets.lab.task_kind import AbstractTaskKind, Reference, TaskData, task_kind


class TaskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to compare.

    Attributes:
        kind: of the runs, a name in `softtargets.lab.kinds.MODULES`.
        data: as on a command line.
        methods: names in the kind's `methods`.
        seeds: how many seeds, counted from 0.
        epochs: passes over the training data.
        options: further fields of the kind's specs; those left out are as usual.
    """

    kind: str
    data: str
    methods: tuple[str, ...]
    seeds: int
    epochs: int
    options: dict[str, Any] = {}


class TaskStudy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A comparison as it was asked for, and what report and summary need besides the records.

    Attributes:
        kind: of the runs.
        settings: what to compare.
        data: its data.
        references: what is reached without a model.
        runs: for each method its run ids, by seed.
        format: version of this structure.
        content_sha256: hash of all of the above.
    """

    kind: str
    settings: TaskSettings
    data: TaskData
    references: list[Reference]
    runs: dict[str, list[str]]
    format: int = FORMAT
    content_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison(AbstractComparison[Any]):
    """Finished runs of the same seeds, by method.

    Attributes:
        kind: of the runs.
        settings: as asked for; of an unfinished comparison with as many seeds as are finished.
        data: what there is to know of the data.
        references: what is reached without a model.
        runs: for each method, its folders and records by seed.
        missing: how many runs of it are not finished; the seeds that lack one are left out.
    """

    kind: AbstractTaskKind
    settings: TaskSettings
    data: TaskData
    references: list[Reference]
    runs: Runs[Any]
    missing: int = 0

    @property
    def spec(self) -> Any:
        """Of the first run; all others differ in method and seed alone."""
        return next(iter(self.runs.values()))[0][1].spec


def plan(settings: TaskSettings, digest: str) -> list[Any]:
    """Return the specs in the order they are run: seed by seed, the baseline first.

    Args:
        settings: what to compare.
        digest: of the data.

    Raises:
        LabError: an unknown or repeated method, or a number out of range; it names the option as
            the command line does.
    """
    kind = task_kind(settings.kind)
    check_methods(settings.methods, kind.methods, f"for {settings.kind}, choose from")
    check_sizes(settings.seeds, settings.epochs)
    names = sorted(settings.methods, key=lambda name: name != kind.baseline)
    try:
        return [
            kind.spec(
                data=settings.data,
                data_hash=digest,
                method=name,
                parameters=kind.methods[name].parameters,
                seed=seed,
                epochs=settings.epochs,
                **settings.options,
            )
            for seed in range(settings.seeds)
            for name in names
        ]
    except ValueError as error:
        raise as_options(error) from error


def compare(
    settings: TaskSettings, output: Path, progress: Progress | None = None, *, on: str = "inline"
) -> TaskComparison:
    """Compute what is missing of a comparison and return all of it.

    Args:
        settings: what to compare.
        output: folder that keeps the runs, in `output/runs`, and what `recall` needs besides; made
            if it is not there.
        progress: who wants to know.
        on: where to compute, see `softtargets.lab.execution.compute`.

    Returns:
        The finished comparison.

    Raises:
        LabError: bad settings or data, a folder that cannot be written, a corrupt earlier run, a
            run that diverges. Earlier runs, finished or not, are checked before anything is
            computed, and never overwritten.
    """
    kind = task_kind(settings.kind)
    if kind.missing:
        raise LabError(kind.missing)
    plan(settings, "")  # what is wrong with the settings is said before the data are read
    data = kind.load(settings.data)
    specs: list[AnySpec] = plan(settings, data.digest)
    root = prepare(output)
    study = TaskStudy(
        kind=settings.kind,
        settings=settings,
        data=kind.describe(data),
        references=kind.references(data, specs[0]),
        runs=names_of(specs, settings.methods),
    )
    write_study(output, study)
    records = compute(specs, [data], root, on=on, progress=progress)
    runs = gathered(output, study.runs, records, kind.record)
    return _of(kind, study, runs)


def recall(output: Path) -> TaskComparison:
    """Return the comparison that was last started in a folder, from its files alone.

    Of one that is not finished, the seeds that all methods have finished are returned.

    Args:
        output: as given to `compare`.

    Raises:
        LabError: there is none, a file is corrupt, or no seed is finished.
    """
    study = read_study_as(output, TaskStudy)
    try:
        kind = task_kind(study.kind)
    except ValueError as error:
        raise unusable(output, str(error)) from error
    runs, seeds, missing = recalled(output, study.runs, kind.record)
    settings = structs.replace(study.settings, seeds=len(seeds))
    return _of(kind, structs.replace(study, settings=settings), runs, missing)


def _of(
    kind: AbstractTaskKind, study: TaskStudy, runs: Runs[Any], missing: int = 0
) -> TaskComparison:
    return TaskComparison(
        kind=kind,
        settings=study.settings,
        data=study.data,
        references=study.references,
        runs=runs,
        missing=missing,
    )
