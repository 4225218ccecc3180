"""The main job: methods x seeds on one data set, each run computed once, in one output folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from msgspec import UNSET

from softtargets.lab import data as datasets
from softtargets.lab import train
from softtargets.lab.data import DataSet, Source
from softtargets.lab.errors import LabError
from softtargets.lab.label_noise import KINDS, Kind, Mapping, check_mapping
from softtargets.lab.measuring import predict
from softtargets.lab.methods import BASELINE, DEFAULT, METHODS
from softtargets.lab.networks import network
from softtargets.lab.options import Training
from softtargets.lab.output import locked, prepare
from softtargets.lab.records import Environment, RunFolder, RunRecord, environment
from softtargets.lab.session import without_leader
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.task import Teacher
from softtargets.lab.train import check_checkpoint, run

MOST_SEEDS = 1000
MOST_EPOCHS = 100_000
MOST_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to compare.

    Attributes:
        data: `"digits"`, a path or another `Source`, see `softtargets.lab.data.load`.
        methods: names in `METHODS`.
        seeds: how many seeds, counted from 0.
        epochs: passes over the training data.
        noise: rate at which training labels are flipped to another class.
        noise_kind: how they are flipped.
        noise_map: for asymmetric noise, pairs of classes, from and to.
        noisy_labels: file of training labels, see `softtargets.lab.data.load`; None for the true
            ones, flipped at the rate.
        training: how the models are trained.

    Raises:
        LabError: an unknown or repeated method, a number out of range, or settings of noise that
            do not go together.
    """

    data: str = "digits"
    methods: tuple[str, ...] = DEFAULT
    seeds: int = 5
    epochs: int = 40
    noise: float = 0.0
    noise_kind: Kind = "symmetric"
    noise_map: Mapping = ()
    noisy_labels: str | None = None
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            raise LabError(f"unknown method {', '.join(unknown) or '(none)'}: choose from "
                           f"{', '.join(METHODS)}")  # fmt: skip
        if len(set(self.methods)) < len(self.methods):
            raise LabError(f"a method is named twice in {','.join(self.methods)}: name each once")
        _check_count("seeds", self.seeds, MOST_SEEDS)
        _check_count("epochs", self.epochs, MOST_EPOCHS)
        if not 0 <= self.noise < 1:
            raise LabError(f"--noise must be in [0, 1), got {self.noise}; it is a share of labels")
        _check_noise(self)
        self.training.fields(epochs=self.epochs)

    @property
    def noisy(self) -> bool:
        """Whether training labels are not the true ones."""
        return self.noise > 0 or self.noisy_labels is not None


def _check_noise(settings: Settings) -> None:
    """Raise unless the settings of label noise go together."""
    kind = settings.noise_kind
    if kind not in KINDS:
        raise LabError(f"unknown --noise-kind {kind}: choose from {', '.join(KINDS)}")
    if Source.parse(settings.data).noisy_labels is not UNSET:
        raise LabError(
            f"{settings.data}: give noisy labels by --noisy-labels, not as an option of the data"
        )
    if settings.noisy_labels is not None and settings.noise > 0:
        raise LabError(
            "--noise and --noisy-labels were both given; flipping labels of a file is not offered, "
            "leave one of them out"
        )
    if kind != "symmetric" and settings.noise == 0:
        raise LabError(f"--noise-kind {kind} flips nothing without a rate; give --noise, as 0.2")
    if (kind == "asymmetric") != bool(settings.noise_map):
        raise LabError(
            "--noise-map and --noise-kind asymmetric go together: the map says which class is "
            "mistaken for which, as 9:1,3:5"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a caller is told; every call may be ignored.

    Attributes:
        planned: the runs that are still to be computed, and the number already there.
        epoch: a run and how many of its epochs are done.
        note: a sentence about the runs that are already there.
    """

    planned: Callable[[list[RunSpec], int], None] = lambda specs, done: None
    epoch: Callable[[RunSpec, int], None] = lambda spec, epoch: None
    note: Callable[[str], None] = lambda text: None


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
    teachers = [METHODS[name].teacher for name in settings.methods]
    wanted = dict.fromkeys([*filter(None, teachers), *settings.methods])
    names = sorted(wanted, key=lambda name: name != BASELINE)
    specs: list[RunSpec] = []
    for seed in range(settings.seeds):
        specs += [_spec(settings, data, name, seed) for name in names]
    return specs


def _spec(settings: Settings, data: DataSet, method: str, seed: int) -> RunSpec:
    teacher = METHODS[method].teacher
    return RunSpec(
        data=settings.data,
        data_hash=data.digest,
        method=method,
        parameters=METHODS[method].parameters,
        seed=seed,
        noise=float(settings.noise),
        epochs=settings.epochs,
        teacher=None if teacher is None else _spec(settings, data, teacher, seed).run_id,
        noise_kind=UNSET if settings.noise_kind == "symmetric" else settings.noise_kind,
        noise_map=settings.noise_map or UNSET,
        noisy_labels=data.noisy_digest or UNSET,
        **settings.training.fields(epochs=settings.epochs),
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
        LabError: bad settings or data, a folder that cannot be written or in which another
            comparison is running, a corrupt earlier run, a run that diverges. Earlier runs,
            finished or not, are checked before anything is computed, and never overwritten.
    """
    progress = progress or Progress()
    data = datasets.load(settings.data, settings.noisy_labels)
    check_mapping(settings.noise_map, data.num_classes)
    root = prepare(output)
    specs = plan(settings, data)
    folders = {spec.run_id: RunFolder(root, spec.run_id) for spec in specs}
    with locked(output):
        finished = _compute(specs, folders, data, progress)
    runs = {
        method: [
            (folders[spec.run_id], finished[spec.run_id]) for spec in specs if spec.method == method
        ]
        for method in settings.methods
    }
    return Comparison(settings=settings, data=data, runs=runs)


def follow(settings: Settings) -> None:
    """Take part in the runs of the process that compares; see `softtargets.lab.session`.

    Args:
        settings: the same as that process has.
    """
    with without_leader():
        train.follow(lambda: datasets.load(settings.data, settings.noisy_labels))


def _compute(
    specs: list[RunSpec], folders: dict[str, RunFolder], data: DataSet, progress: Progress
) -> dict[str, RunRecord]:
    """Check what is there, run what is missing and return all records by run_id."""
    finished = {name: folder.record() for name, folder in folders.items() if folder.done}
    missing = [spec for spec in specs if spec.run_id not in finished]
    for spec in missing:
        check_checkpoint(spec, data, folders[spec.run_id])
    for folder in folders.values():
        folder.sweep()
    progress.planned(missing, len(finished))
    others = _other_environments(list(finished.values()))
    if others:
        progress.note(others)
    for spec in missing:
        folder = folders[spec.run_id]
        teacher = None
        if spec.teacher is not None:
            teacher = _teacher(folders[spec.teacher], finished[spec.teacher], data)
        run(spec, data, folder, teacher, lambda epoch, spec=spec: progress.epoch(spec, epoch))  # type: ignore[misc]
        finished[spec.run_id] = folder.record()
    return finished


def _other_environments(records: list[RunRecord]) -> str:
    """Say how many runs another version or number of threads has computed; "" for none."""

    def described(each: Environment) -> str:
        return f"softtargets {each.softtargets}, torch {each.torch}, threads: {each.threads}"

    now = described(environment())
    found = [described(record.environment) for record in records]
    others = [each for each in found if each != now]
    if not others:
        return ""
    return (
        f"{len(others)} earlier runs are from {'; '.join(sorted(set(others)))} (now {now}): their "
        "numbers may differ slightly from new ones; delete them to compute all alike"
    )


def _teacher(folder: RunFolder, record: RunRecord, data: DataSet) -> Teacher:
    """Rebuild the teacher and let it see the training data once, as they are."""
    model = network(record.spec, data)
    try:
        model.load_state_dict(folder.model_state())
    except RuntimeError as error:
        raise folder.corrupt("model.pt does not fit the data") from error
    logits = predict(model.to(given(record.spec.device, "cpu")), data.train)
    return Teacher(logits=logits, temperature=record.temperature, model=model)


def use_threads(threads: int) -> None:
    """Set the number of threads torch computes with; part of what makes numbers repeatable."""
    _check_count("threads", threads, MOST_THREADS)
    torch.set_num_threads(threads)


def _check_count(name: str, value: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise LabError(f"--{name} must be a whole number from 1 to {most}, got {value}")
