"""Checks of features and labels, each raising with name, rule, value and way out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from softtargets import checks


def check_matrix(values: Tensor, name: str, letters: str) -> None:
    """Raise unless `values` is a finite floating point matrix with rows and columns."""
    check_floating(values, name)
    if values.ndim != 2 or values.numel() == 0:
        raise ValueError(
            f"`{name}` must have shape {letters} and not be empty, got {tuple(values.shape)}; "
            "`.flatten(1)` makes rows of maps"
        )
    check_finite(values, name)


def check_floating(values: Tensor, name: str) -> None:
    """Raise unless `values` is a floating point tensor."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(
            f"`{name}` must be a floating point tensor, got {kind}; `torch.from_numpy` makes one "
            "of an array"
        )


def check_finite(values: Tensor, name: str) -> None:
    """Raise unless every number is finite."""
    bad = ~values.isfinite()
    if bool(bad.any()):
        place = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"`{name}` must be finite, got {float(values[place])} at {place}; find out where the "
            "model made it"
        )


def check_labels(labels: Tensor, rows: Tensor, name: str) -> None:
    """Raise unless there is one integer label per row of the tensor called `name`."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"`labels` must be a tensor of integers, got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"`labels` must hold integers, got {labels.dtype}; use `.argmax(-1)` of one-hot rows "
            "or `.long()`"
        )
    if labels.shape != rows.shape[:1]:
        raise ValueError(
            f"`labels` must have shape ({len(rows)},), one per row of `{name}`, got "
            f"{tuple(labels.shape)}"
        )


def check_labelled(labels: Tensor) -> None:
    """Raise if a label is negative, as those of ignored samples are."""
    if bool((labels < 0).any()):
        raise ValueError(
            f"`labels` must be 0 or more, got {int(labels.min())}; drop samples without a label"
        )


def check_classes(classes: Sequence[int] | Tensor) -> list[int]:
    """Return the classes as a list, or raise unless they are integers from 0."""
    values = classes.tolist() if isinstance(classes, Tensor) else classes
    return [checks.check_integer(each, "classes", 0) for each in values]
