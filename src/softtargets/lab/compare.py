"""The main job: methods x seeds on one data set, each run computed once, in one output folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from softtargets.lab import data as datasets
from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.methods import BASELINE, METHODS
from softtargets.lab.models import seeded_mlp
from softtargets.lab.records import RunFolder, RunRecord
from softtargets.lab.spec import RunSpec
from softtargets.lab.train import Teacher, predict, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to compare.

    Attributes:
        data: `"digits"` or a path, see `softtargets.lab.data.load`.
        methods: names in `METHODS`.
        seeds: how many seeds, counted from 0.
        epochs: passes over the training data.
        noise: share of training labels that is flipped.

    Raises:
        LabError: an unknown or repeated method, or a number out of range.
    """

    data: str = "digits"
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: int = 5
    epochs: int = 40
    noise: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            raise LabError(f"unknown method {', '.join(unknown) or '(none)'}: choose from "
                           f"{', '.join(METHODS)}")  # fmt: skip
        if len(set(self.methods)) < len(self.methods):
            raise LabError(f"a method is named twice in {','.join(self.methods)}: name each once")
        for name, least in (("seeds", 1), ("epochs", 1)):
            if getattr(self, name) < least:
                raise LabError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.noise < 1:
            raise LabError(f"--noise must be in [0, 1), got {self.noise}; it is a share of labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a caller is told; every call may be ignored.

    Attributes:
        planned: the runs that are still to be computed, and the number already there.
        epoch: a run and how many of its epochs are done.
    """

    planned: Callable[[list[RunSpec], int], None] = lambda specs, done: None
    epoch: Callable[[RunSpec, int], None] = lambda spec, epoch: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Finished runs of the same seeds, by method.

    Attributes:
        settings: as asked for.
        data: the data set.
        runs: for each method, its folders and records by seed.
    """

    settings: Settings
    data: DataSet
    runs: dict[str, list[tuple[RunFolder, RunRecord]]]

    def records(self, method: str) -> list[RunRecord]:
        """Return the records of a method, by seed."""
        return [record for _, record in self.runs[method]]

    def arrays(self, method: str) -> list[dict[str, Any]]:
        """Return the stored arrays of a method, by seed."""
        return [folder.arrays() for folder, _ in self.runs[method]]


def plan(settings: Settings, data: DataSet) -> list[RunSpec]:
    """Return the specs in the order they are run: seed by seed, teachers first."""
    specs: list[RunSpec] = []
    for seed in range(settings.seeds):
        teacher = _spec(settings, data, BASELINE, seed, None)
        wanted = [_spec(settings, data, name, seed, teacher.run_id) for name in settings.methods]
        if BASELINE in settings.methods or any(spec.teacher for spec in wanted):
            specs.append(teacher)
        specs += [spec for spec in wanted if spec.method != BASELINE]
    return specs


def _spec(
    settings: Settings, data: DataSet, method: str, seed: int, teacher: str | None
) -> RunSpec:
    return RunSpec(
        data=settings.data,
        data_hash=data.digest,
        method=method,
        parameters=METHODS[method].parameters,
        seed=seed,
        noise=settings.noise,
        epochs=settings.epochs,
        teacher=teacher if METHODS[method].needs_teacher else None,
    )


def compare(settings: Settings, output: Path, progress: Progress | None = None) -> Comparison:
    """Compute what is missing of a comparison and return all of it.

    Args:
        settings: what to compare.
        output: folder that keeps the runs, in `output/runs`; made if it is not there.
        progress: who wants to know.

    Returns:
        The finished comparison.

    Raises:
        LabError: bad settings or data, a folder that cannot be written, a corrupt earlier run.
            Earlier runs are checked before anything is computed, and never overwritten.
    """
    progress = progress or Progress()
    data = datasets.load(settings.data)
    root = _prepare(output)
    specs = plan(settings, data)
    folders = {spec.run_id: RunFolder(root, spec.run_id) for spec in specs}
    finished = {name: folder.record() for name, folder in folders.items() if folder.done}
    missing = [spec for spec in specs if spec.run_id not in finished]
    progress.planned(missing, len(finished))
    for spec in missing:
        folder = folders[spec.run_id]
        teacher = None
        if spec.teacher is not None:
            teacher = _teacher(folders[spec.teacher], finished[spec.teacher], data)
        run(spec, data, folder, teacher, lambda epoch, spec=spec: progress.epoch(spec, epoch))  # type: ignore[misc]
        finished[spec.run_id] = folder.record()
    runs = {
        method: [
            (folders[spec.run_id], finished[spec.run_id]) for spec in specs if spec.method == method
        ]
        for method in settings.methods
    }
    return Comparison(settings=settings, data=data, runs=runs)


def _prepare(output: Path) -> Path:
    """Make the output folder and see that it can be written."""
    root = output / "runs"
    probe = root / ".writable"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LabError(
            f"cannot write to {output} ({error.strerror}); choose another folder with --out"
        ) from error
    return root


def _teacher(folder: RunFolder, record: RunRecord, data: DataSet) -> Teacher:
    """Rebuild the teacher and let it see the training data once; there is no augmentation."""
    spec = record.spec
    model = seeded_mlp(data.train.inputs[0].numel(), spec.hidden, data.num_classes, spec.seed)
    try:
        model.load_state_dict(folder.model_state())
    except RuntimeError as error:
        raise folder.corrupt("model.pt does not fit the data") from error
    return Teacher(logits=predict(model, data.train.inputs), temperature=record.temperature)


def use_threads(threads: int) -> None:
    """Set the number of threads torch computes with; part of what makes numbers repeatable."""
    if threads < 1:
        raise LabError(f"--threads must be at least 1, got {threads}")
    torch.set_num_threads(threads)
