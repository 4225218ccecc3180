"""The main job: methods x seeds on one data set, each run computed once, in one output folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import UNSET, ValidationError, convert, json, structs

from softtargets.lab import data as datasets
from softtargets.lab import train
from softtargets.lab.data import DataSet, Source
from softtargets.lab.errors import LabError
from softtargets.lab.execution import Progress, compute
from softtargets.lab.execution.place import Place
from softtargets.lab.label_noise import KINDS, Kind, check_mapping, wrong_share
from softtargets.lab.label_noise import Mapping as NoiseMap
from softtargets.lab.method_runs import (
    AbstractComparison,
    Runs,
    check_count,
    check_methods,
    check_sizes,
    gathered,
    names_of,
    recalled,
)
from softtargets.lab.methods import BASELINE, DEFAULT, METHODS
from softtargets.lab.options import Training
from softtargets.lab.output import prepare
from softtargets.lab.records import RunRecord
from softtargets.lab.session import without_leader
from softtargets.lab.spec import RunSpec
from softtargets.lab.study import (
    DataSummary,
    Study,
    describe,
    read_study,
    unusable,
    write_study,
)

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
    noise_map: NoiseMap = ()
    noisy_labels: str | None = None
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_methods(self.methods, METHODS, "choose from")
        check_sizes(self.seeds, self.epochs)
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
class Comparison(AbstractComparison[RunRecord]):
    """Finished runs of the same seeds, by method.

    Attributes:
        settings: as asked for.
        data: what there is to know of the data set.
        runs: for each method, its folders and records by seed.
        missing: how many runs of it are not finished; the seeds that lack one are left out.
    """

    settings: Settings
    data: DataSummary
    runs: Runs[RunRecord]
    missing: int = 0


def plan(settings: Settings, data: DataSet) -> list[RunSpec]:
    """Return the specs in the order they are run: seed by seed, teachers first.

    Raises:
        LabError: methods that change inputs, and these are texts.
    """
    _check_changes(settings.methods, data)
    teachers = [METHODS[name].teacher for name in settings.methods]
    wanted = dict.fromkeys([*filter(None, teachers), *settings.methods])
    names = sorted(wanted, key=lambda name: name != BASELINE)
    specs: list[RunSpec] = []
    for seed in range(settings.seeds):
        specs += [_spec(settings, data, name, seed) for name in names]
    return specs


def _check_changes(methods: Sequence[str], data: DataSet) -> None:
    changing = [name for name in methods if METHODS[name].change is not None]
    if changing and data.texts is not None:
        raise LabError(
            f"{', '.join(changing)}: inputs are mixed, or noise is added, which texts "
            "do not have; leave them out of --methods"
        )


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


def compare(
    settings: Settings, output: Path, progress: Progress | None = None, *, on: str = "inline"
) -> Comparison:
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
    if Place.parse(on).kind != "inline" and settings.training.ranks > 1:
        raise LabError(
            f"--ranks {settings.training.ranks} does not go with --on {on}: the processes that "
            "compute a run together are this command's own; leave one of them out"
        )
    data = datasets.load(settings.data, settings.noisy_labels)
    check_mapping(settings.noise_map, data.num_classes)
    root = prepare(output)
    specs = plan(settings, data)
    names = names_of(specs, settings.methods)
    first = [spec for spec in specs if spec.method == settings.methods[0]]
    shares = tuple(wrong_share(spec, data) for spec in first if settings.noisy)
    about = describe(data, shares)
    write_study(output, Study(settings=_plain(settings), data=about, runs=names))
    records = compute(specs, [data], root, on=on, progress=progress)
    runs = gathered(output, names, records, RunRecord)
    return Comparison(settings=settings, data=about, runs=runs)


def follow(settings: Settings) -> None:
    """Take part in the runs of the process that compares; see `softtargets.lab.session`.

    Args:
        settings: the same as that process has.
    """
    with without_leader():
        train.follow(lambda: datasets.load(settings.data, settings.noisy_labels))


def recall(output: Path) -> Comparison:
    """Return the comparison that was last started in a folder, from its files alone.

    Of one that is not finished, the seeds that all methods have finished are returned.

    Args:
        output: as given to `compare`.

    Raises:
        LabError: there is none, a file is corrupt, or no seed is finished.
    """
    study = read_study(output)
    settings = _settings(study, output)
    runs, seeds, missing = recalled(output, study.runs, RunRecord)
    shares = study.data.wrong_shares and tuple(study.data.wrong_shares[seed] for seed in seeds)
    data = structs.replace(study.data, wrong_shares=shares)
    settings = replace(settings, seeds=len(seeds))
    return Comparison(settings=settings, data=data, runs=runs, missing=missing)


def _settings(study: Study, output: Path) -> Settings:
    """Return the settings of a study; msgspec would drop fields that it does not know."""
    try:
        settings = convert(study.settings, Settings)
    except ValidationError as error:
        raise unusable(output, f"its settings are not this version's: {error}") from error
    if _plain(settings) != study.settings:
        raise unusable(output, "its settings are not this version's")
    return settings


def _plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON has them."""
    plain: dict[str, Any] = json.decode(json.encode(settings))
    return plain


def use_threads(threads: int) -> None:
    """Set the number of threads torch computes with; part of what makes numbers repeatable."""
    check_count("threads", threads, MOST_THREADS)
    torch.set_num_threads(threads)
