"""Wrong training labels: flipped by a seed, or given in a file; and what training made of them."""

from typing import Literal, get_args

import msgspec
from torch import Tensor

from softtargets.lab import seeds
from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.records import Denoising
from softtargets.lab.spec import RunSpec
from softtargets.noise import asymmetric, instance_dependent, pair, symmetric

Kind = Literal["symmetric", "pair", "asymmetric", "instance"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Mapping = tuple[tuple[int, int], ...]


def denoised(predicted: Tensor, labels: Tensor, truth: Tensor) -> Denoising:
    """Return what a model makes of its own training samples.

    Args:
        predicted: `(N,)` classes.
        labels: `(N,)`, as given to training.
        truth: `(N,)`.
    """
    wrong = labels != truth
    return Denoising(
        clean=int((~wrong).sum()),
        clean_as_true=int((~wrong & (predicted == truth)).sum()),
        mislabelled=int(wrong.sum()),
        as_true=int((wrong & (predicted == truth)).sum()),
        as_given=int((wrong & (predicted == labels)).sum()),
    )


def training_labels(spec: RunSpec, data: DataSet) -> Tensor:
    """Return the labels that the run is given: the true ones, a file's, or flipped by its seed.

    Args:
        spec: of the run.
        data: its data set, with the file's labels if the spec wants them.
    """
    if spec.noisy_labels is not msgspec.UNSET:
        assert data.noisy is not None
        return data.noisy
    if spec.noise == 0:
        return data.train.labels
    labels, rate, classes = data.train.labels, spec.noise, data.num_classes
    generator = seeds.generator("noise", spec.seed)
    match spec.noise_kind:
        case "pair":
            noisy = pair(labels, rate, classes, generator=generator)
        case "asymmetric":
            assert spec.noise_map is not msgspec.UNSET
            noisy = asymmetric(labels, rate, dict(spec.noise_map), classes, generator=generator)
        case "instance":
            features = data.train.features(slice(None))
            noisy = instance_dependent(features, labels, rate, classes, generator=generator)
        case _:
            noisy = symmetric(labels, rate, classes, generator=generator)
    return noisy.labels


def is_noisy(spec: RunSpec) -> bool:
    """Return whether the training labels of a run are not the true ones."""
    return spec.noise > 0 or spec.noisy_labels is not msgspec.UNSET


def wrong_share(spec: RunSpec, data: DataSet) -> float:
    """Return which share of its training labels is wrong.

    Args:
        spec: of the run.
        data: its data set.
    """
    return float((training_labels(spec, data) != data.train.labels).double().mean())


def parse_mapping(pairs: tuple[str, ...]) -> Mapping:
    """Return `("9:1", "3:5")` as pairs of numbers, from and to.

    Raises:
        LabError: a pair of another form, or a class that is named twice.
    """
    found: dict[int, int] = {}
    for text in pairs:
        first, colon, second = text.partition(":")
        if not (colon and first.isdecimal() and second.isdecimal()) or int(first) in found:
            raise LabError(
                "--noise-map must hold pairs FROM:TO of class numbers, each class once before the "
                f"colon, as 9:1,3:5, got {text!r}"
            )
        found[int(first)] = int(second)
    return tuple(sorted(found.items()))


def check_mapping(mapping: Mapping, num_classes: int) -> None:
    """Raise `LabError` unless all pairs lead from a class to another one."""
    for first, second in mapping:
        if max(first, second) >= num_classes or first == second:
            raise LabError(
                f"--noise-map must lead from one of the classes 0 .. {num_classes - 1} to another, "
                f"got {first}:{second}"
            )
