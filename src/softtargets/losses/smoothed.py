"""The steps the heads share: layout, target and smoothing, from a function or from a module."""

from typing import Any

from torch import Tensor

from softtargets import checks
from softtargets.engine import check_target
from softtargets.losses.arguments import as_target, class_last
from softtargets.smoothing.base import AbstractSmoothing, apply_smoothing, check_smoothing_type
from softtargets.target import Target


def check_smoothing(smoothing: object) -> None:
    """Raise unless `smoothing` is None, a policy or a rate in [0, 1]."""
    check_smoothing_type(smoothing)
    if checks.is_number(smoothing):
        checks.check_rate(smoothing)


def smoothed_target(
    logits: Tensor,
    target: Tensor | Target,
    smoothing: AbstractSmoothing | float | None,
    *,
    class_dim: int,
    ignore_index: int,
    training: bool = True,
    validate: bool | None = None,
    inputs: Any = None,
    teacher_logits: Tensor | None = None,
    index: Tensor | None = None,
) -> tuple[Tensor, Target]:
    """Return the logits with classes last and the target to meet them.

    Args:
        logits: in the caller's layout.
        target: labels, probabilities or a `Target`.
        smoothing: a rate, a policy or None.
        class_dim: see `cross_entropy`.
        ignore_index: see `cross_entropy`.
        training: if False the target is the one before any smoothing.
        validate: see `LossOptions`.
        inputs: for a policy with a teacher of its own.
        teacher_logits: for a policy that needs them, in the caller's layout.
        index: for a policy that needs it.
    """
    view = class_last(logits, class_dim)
    if not training and isinstance(target, Target):
        target = target.given
    built = as_target(
        view, target, class_dim=class_dim, ignore_index=ignore_index, validate=validate
    )
    if not training:
        smoothing = None
    elif teacher_logits is not None:
        teacher_logits = class_last(teacher_logits, class_dim, "teacher_logits")
    smoothed = apply_smoothing(
        smoothing, built, view, teacher_logits=teacher_logits, inputs=inputs, index=index
    )
    if validate:
        check_target(view, smoothed, None)
    return view, smoothed
