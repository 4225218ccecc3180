"""The softmax cross-entropy of each example, from arguments as users give them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from softtargets.engine import LossOptions, Observer, check_target, example_losses
from softtargets.losses.arguments import as_class_mask, as_target, check_weight, class_last
from softtargets.losses.penalties import AbstractPenalty, check_penalty
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.smoothing.base import AbstractSmoothing, watch_smoothing
from softtargets.smoothing.uniform import LabelSmoothing
from softtargets.target import Target
from softtargets.transition import AbstractTransition

if TYPE_CHECKING:
    from softtargets.losses.correction import Correction


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The arguments of `cross_entropy` beside logits, target and smoothing; see there."""

    weight: Tensor | None
    ignore_index: int
    reduction: Reduction
    class_dim: int
    penalty: AbstractPenalty | None
    class_mask: Tensor | None
    normalizer: Tensor | float | None
    options: LossOptions
    correction: "Correction | None" = None


def check_weight_mode(options: LossOptions, weight: Tensor | None) -> None:
    """Raise if weights are to be applied in a way of their own and there are none."""
    if weight is None and options.weight_mode != "per_class":
        raise ValueError(
            f'`weight_mode="{options.weight_mode}"` says what class weights do, and `weight` is '
            'None; give `weight=`, or leave the mode at "per_class"'
        )


class Evaluated(NamedTuple):
    """Losses and log-partition of each example, its share in the mean, the target as given."""

    losses: Tensor
    logsumexp: Tensor
    shares: Tensor
    given: Target

    def reduced(self, settings: Settings) -> Tensor:
        """Return the loss that the settings ask for."""
        return reduce(
            self.losses,
            self.shares,
            self.logsumexp != -torch.inf,
            self.given.ignored,
            settings.reduction,
            settings.normalizer,
            validate=settings.options.validate,
            weight=settings.weight,
        )


def evaluate(
    logits: Tensor,
    target: Tensor | Target,
    smoothing: AbstractSmoothing | float | None,
    context: dict[str, Any],
    settings: Settings,
    watch: Callable[[Target, torch.dtype], Observer] | None = None,
) -> Evaluated:
    """Return the loss of each example.

    Args:
        logits: see `cross_entropy`.
        target: see `cross_entropy`.
        smoothing: see `cross_entropy`.
        context: what a policy is told beside the logits.
        settings: the other arguments.
        watch: makes one more observer of the logits, out of the target as given and the dtype of
            the losses.
    """
    check_reduction(settings.reduction, settings.normalizer, settings.options.validate)
    check_penalty(settings.penalty)
    options, class_dim = settings.options, settings.class_dim
    view = class_last(logits, class_dim)
    check_weight(settings.weight, view.shape[-1])
    check_weight_mode(options, settings.weight)
    mask = as_class_mask(settings.class_mask, view, class_dim)
    built = as_target(
        view,
        target,
        class_dim=class_dim,
        ignore_index=settings.ignore_index,
        validate=options.validate,
    )
    if context.get("teacher_logits") is not None:
        teacher = class_last(context["teacher_logits"], class_dim, "teacher_logits")
        context = {**context, "teacher_logits": teacher}
    seen = _as_policies_see(view, mask, smoothing)
    smoothed, observer, transition = meet(built, seen, settings.correction, smoothing, **context)
    if options.validate:
        check_target(view, smoothed, mask, transition=transition)
    watchers = [] if observer is None else [observer]
    if watch is not None:
        dtype = torch.promote_types(view.dtype, torch.float32)
        watchers.append(watch(smoothed.given, dtype))
    return _losses(view, smoothed, mask, transition, settings, _together(watchers))


class Meeting(NamedTuple):
    """A target to meet, who watches the logits, and the noise between prediction and target."""

    target: Target
    observer: Observer | None
    transition: AbstractTransition | None


def meet(
    target: Target,
    logits: Tensor,
    correction: "Correction | None",
    smoothing: AbstractSmoothing | float | None,
    **context: Any,
) -> Meeting:
    """Return what logits meet where `target` was given: it is corrected first, then smoothed.

    Args:
        target: as given.
        logits: `(*batch, K)`, as policies see them.
        correction: see `cross_entropy`.
        smoothing: see `cross_entropy`.
        context: what a policy is told beside the logits.
    """
    undone, transition = _corrected(correction, target)
    smoothed, observer = watch_smoothing(smoothing, undone, logits, **context)
    if undone is not target:
        smoothed = smoothed.smoothed_from(target)
    return Meeting(smoothed, observer, transition)


def _corrected(
    correction: "Correction | None", target: Target
) -> tuple[Target, AbstractTransition | None]:
    """What a correction makes of the target, and what it puts between prediction and target."""
    if correction is None:
        return target, None
    # Imported when it is used: most training has no correction.
    from softtargets.losses.correction import check_correction, resolved

    check_correction(correction, target.num_classes)
    return resolved(correction, target)


def _as_policies_see(
    logits: Tensor, class_mask: Tensor | None, smoothing: AbstractSmoothing | float | None
) -> Tensor:
    """Logits with `-inf` for masked classes, where the policy looks at them."""
    blind = not isinstance(smoothing, AbstractSmoothing) or isinstance(smoothing, LabelSmoothing)
    if class_mask is None or blind:
        return logits
    return logits.masked_fill(~class_mask, -torch.inf)


def _together(observers: list[Observer]) -> Observer | None:
    if len(observers) < 2:
        return observers[0] if observers else None

    def show(key: tuple[slice, ...], logits: Tensor, probs: Tensor) -> None:
        for observer in observers:
            observer(key, logits, probs)

    return show


def _losses(
    logits: Tensor,
    target: Target,
    class_mask: Tensor | None,
    transition: AbstractTransition | None,
    settings: Settings,
    observer: Observer | None,
) -> Evaluated:
    given, options, weight = target.given, settings.options, settings.weight
    if weight is not None:
        weight = weight.to(logits.device, torch.promote_types(logits.dtype, torch.float32))
    shares = given.mass(weight)
    per_sample = options.weight_mode == "per_sample"
    penalties = None
    if settings.penalty is not None:
        # Before the losses, which may consume the logits.
        penalties = shares * settings.penalty(logits, target, class_mask)
    losses, partition = example_losses(
        logits,
        target,
        weight=None if per_sample else weight,
        class_mask=class_mask,
        transition=transition,
        observer=observer,
        options=options,
    )
    if per_sample:
        mass = given.mass()
        scale = shares / torch.where(mass == 0, 1, mass)
        # As for weights per class: weight 0 outweighs the infinite loss of a masked label.
        losses = losses.masked_fill((scale == 0) & losses.isinf(), 0) * scale
    if penalties is not None:
        losses = losses + penalties
    return Evaluated(losses, partition, shares, given)
