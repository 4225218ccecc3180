"""The one reduction of all losses: the mean divides by the mass of the targets as given."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from softtargets import checks

Reduction = Literal["mean", "sum", "none"]


def check_reduction(
    reduction: str, normalizer: Tensor | float | None, validate: bool | None = None
) -> None:
    """Raise on an unknown reduction or `validate`, or a normaliser not positive or without use."""
    checks.check_validate(validate)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'`reduction` must be "mean", "sum" or "none", got {reduction!r}')
    if normalizer is None:
        return
    if reduction != "mean":
        raise ValueError(
            f'`normalizer` replaces the divisor of `reduction="mean"`, got {reduction!r}; divide '
            "the result yourself"
        )
    if not (isinstance(normalizer, Tensor) or checks.is_number(normalizer)):
        raise TypeError(
            f"`normalizer` must be a number or a tensor, got {type(normalizer).__name__}"
        )
    if isinstance(normalizer, Tensor):
        if normalizer.numel() != 1:
            raise ValueError(
                f"`normalizer` must be one number, got shape {tuple(normalizer.shape)}"
            )
        if not checks.should_validate(validate, normalizer):
            return
    if not 0 < float(normalizer) < float("inf"):
        raise ValueError(f"`normalizer` must be finite and > 0, got {float(normalizer)}")


def reduce(
    losses: Tensor,
    shares: Tensor,
    living: Tensor,
    ignored: Callable[[], Tensor],
    reduction: Reduction,
    normalizer: Tensor | float | None = None,
    *,
    validate: bool | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Reduce per-example losses.

    Args:
        losses: `(*batch)`.
        shares: `(*batch)`, what each example adds to the divisor of the mean: its weighted mass
            before smoothing.
        living: `(*batch)` bool, False for examples without a living class.
        ignored: returns `(*batch)` bool, True for examples whose target is zero everywhere; asked
            for only where the divisor does not decide.
        reduction: `"mean"`, `"sum"` or `"none"`.
        normalizer: replaces the sum of the shares.
        validate: whether to check the divisor, see `LossOptions`.
        weight: the class weights in the shares, for errors.

    Returns:
        `(*batch)` for `"none"`, else a scalar; the mean over no counted example is 0.

    Raises:
        ValueError: the divisor is not positive.
    """
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    if normalizer is not None:
        if isinstance(normalizer, Tensor):
            return total / normalizer.to(total).reshape(())
        return total / checks.check_number(normalizer, "normalizer")
    divisor = torch.where(living, shares, 0).sum().to(total.dtype)
    if not checks.should_validate(validate, divisor):
        return total / torch.where((living & ~ignored()).any(), divisor, 1)
    if divisor > 0:
        if weight is not None and torch.isinf(divisor):
            check_finite(weight)
        return total / divisor
    if bool((living & ~ignored()).any()):
        check_finite(weight)
        raise ValueError(
            "the mean divides by the weighted mass of the targets, which must be > 0, got "
            f'{float(divisor)}; give `normalizer=` or use `reduction="sum"`; if the target holds '
            "logits, apply softmax to them first"
        )
    return total


def check_finite(weight: Tensor | None) -> None:
    """Raise, naming the first, if a class weight is not finite."""
    if weight is not None and not bool(weight.isfinite().all()):
        first = int((~weight.isfinite()).nonzero()[0])
        raise ValueError(
            f"`weight` must be finite, got {float(weight[first]):g} for class {first}; a class "
            "without samples has no inverse frequency: give it 0 or clamp its count to 1"
        )
