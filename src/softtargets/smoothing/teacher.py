"""What a teacher says of a batch: looked up by sample number, and fit to be learned from."""

from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from softtargets import checks
from softtargets.target import Target


class Lookup(Protocol):
    """A teacher's logits by sample number: `TeacherCache`, or whatever works like it."""

    @property
    def num_classes(self) -> int:
        """K."""

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return `(*index.shape, K)` logits."""


def looks_up(teacher: object) -> TypeGuard[Lookup]:
    """Whether it is asked about sample numbers and not called."""
    known = hasattr(teacher, "num_classes") and hasattr(teacher, "__getitem__")
    return known and not callable(teacher) and not isinstance(teacher, Target)


def looked_up(
    teacher: Lookup, index: Tensor | None, shape: torch.Size, user: str, way_out: str = ""
) -> Tensor:
    """Return the logits of these samples, classes last.

    Args:
        teacher: the cache.
        index: `(*batch)` integers.
        shape: of the logits, `(*batch, K)`.
        user: who asks, for errors.
        way_out: where the loss has no `index=`.

    Raises:
        TypeError: `index` is missing or holds no integers.
        ValueError: it does not number every label, or the cache has other classes.
    """
    if index is None:
        raise TypeError(
            f"{user} needs `index` to ask its teacher's cache: give the loss `index=`, the numbers "
            "of the batch's samples in the data set, which the data set returns beside inputs and "
            f"labels{way_out}"
        )
    if teacher.num_classes != shape[-1]:
        raise ValueError(
            f"`teacher` must hold {shape[-1]} classes like the logits, got a cache of "
            f"{teacher.num_classes}; build one from a teacher of the student's classes"
        )
    checks.check_labels_dtype(index, "index")
    if index.shape != shape[:-1]:
        raise ValueError(
            f"`index` must number every label, shape {tuple(shape[:-1])}, got "
            f"{tuple(index.shape)}; a cache holds one row of logits per number"
        )
    return teacher[index]


def sound_logits(logits: Tensor, name: str, validate: bool | None = None) -> Tensor:
    """Return a teacher's logits, or raise at a row that no softmax can be taken of.

    Rows that are all probabilities are refused too.

    Where values are not read such a row becomes NaN, so that nobody learns from a part of it.

    Args:
        logits: `(*batch, K)`, classes last, anything finite at ignored positions.
        name: of the logits in errors.
        validate: see `LossOptions`.
    """
    sound = logits.logsumexp(-1).isfinite()
    if not checks.should_validate(validate, logits):
        return logits.masked_fill(~sound.unsqueeze(-1), torch.nan)
    if not bool(sound.all()):
        first = tuple(int(i) for i in (~sound).nonzero()[0])
        raise ValueError(
            f"{name} must hold no NaN or inf and no row of -inf alone, got such a row at {first}; "
            "check the teacher on this batch before training with it"
        )
    if _are_distributions(logits):
        raise ValueError(
            f"{name} must be logits, but every row is a distribution (entries in [0, 1], sum 1); "
            "of probabilities pass the logarithm, `probs.log()`"
        )
    return logits


def _are_distributions(rows: Tensor) -> bool:
    """Whether rows are nothing but softmax outputs, beside the zeros of ignored positions.

    One row may be so by chance, and one-hot rows are no teacher's probabilities.
    """
    low, high = torch.aminmax(rows) if rows.numel() else (rows.new_tensor(-1.0),) * 2
    if rows.shape[-1] == 1 or not (low >= 0 and 0 < high < 1):
        return False
    rows = rows.reshape(-1, rows.shape[-1])
    said = rows[rows.sum(-1) != 0]
    sums_to_1 = ((said.sum(-1) - 1).abs() <= 1e-4).all()
    return len(said) > 1 and bool(sums_to_1 & (said > 0).all())
