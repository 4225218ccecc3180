"""Fewer training samples: as many of each class, or a long tail. Nothing else changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from msgspec import UNSET

from softtargets.lab import seeds
from softtargets.lab.data.assembly import Contents
from softtargets.lab.data.source import Source
from softtargets.lab.errors import LabError


def reduced(contents: Contents, source: Source) -> Contents:
    """Return contents with the training samples that a source wants, in the order they were in.

    Args:
        contents: of the source.
        source: says how many; its seed decides which.

    Raises:
        LabError: a class has fewer samples, or would keep none.
    """
    if source.samples is UNSET and source.imbalance is UNSET:
        return contents
    labels = contents.train.labels.astype(np.int64)
    available = np.bincount(labels, minlength=contents.num_classes)
    if source.samples is not UNSET:
        wanted = balanced_counts(source.samples, contents.num_classes)
        name = f"{contents.name}, {source.samples:,} training samples"
    else:
        assert source.imbalance is not UNSET
        wanted = long_tail_counts(int(available.min()), source.imbalance, contents.num_classes)
        name = f"{contents.name}, long tail {source.imbalance:g}"
    _check(contents.name, wanted, available)
    chosen = _chosen(labels, wanted, source.seed)
    return replace(
        contents,
        name=name + (f", seed {source.seed}" if source.seed else ""),
        train=contents.train.select(chosen),
        positions=contents.positions[chosen],
    )


def balanced_counts(samples: int, num_classes: int) -> Any:
    """Return how many samples each class keeps, one more in the first ones for the remainder.

    Args:
        samples: of all classes.
        num_classes: K.

    Example:
        >>> balanced_counts(8, 3).tolist()
        [3, 3, 2]
    """
    return samples // num_classes + (np.arange(num_classes) < samples % num_classes)


def long_tail_counts(largest: int, imbalance: float, num_classes: int) -> Any:
    """Return `largest * imbalance ** (-k / (K - 1))` for every class k, rounded down.

    Args:
        largest: samples of class 0.
        imbalance: largest count by smallest.
        num_classes: K.

    Example:
        >>> long_tail_counts(1000, 100, 3).tolist()
        [1000, 100, 10]

    References:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019.
    """
    exponents = -np.arange(num_classes) / max(1, num_classes - 1)
    # 10.000000000000002 and 9.999999999999998 are both meant to be 10.
    return np.floor(np.round(largest * imbalance**exponents, 6)).astype(np.int64)


def _check(name: str, wanted: Any, available: Any) -> None:
    short = np.flatnonzero(wanted > available)
    if len(short):
        raise LabError(
            f"{name}: `samples` wants {wanted[short[0]]} of class {short[0]}, its training part "
            f"has {available[short[0]]}; ask for fewer"
        )
    empty = np.flatnonzero(wanted == 0)
    if len(empty):
        raise LabError(
            f"{name}: class {empty[0]} would keep no sample to train on; ask for more samples, or "
            "a smaller imbalance"
        )


def _chosen(labels: Any, wanted: Any, seed: int) -> Any:
    """Draw places, class by class; more of a class include the fewer of it."""
    kept = []
    for number, count in enumerate(wanted):
        places = np.flatnonzero(labels == number)
        generator = seeds.generator("subset", seed, number)
        kept.append(places[torch.randperm(len(places), generator=generator)[:count].numpy()])
    return np.sort(np.concatenate(kept))
