"""Softmax cross-entropy against any target."""

from typing import Any, final

import torch
from torch import Tensor, nn

from softtargets.engine import LossOptions, check_alive_labels, example_losses
from softtargets.losses.arguments import as_class_mask, as_target, check_weight, class_last
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.smoothing.base import (
    AbstractSmoothing,
    Smoothed,
    check_smoothing_type,
    watch_smoothing,
)
from softtargets.smoothing.uniform import LabelSmoothing
from softtargets.target import Target


def cross_entropy(
    logits: Tensor,
    target: Tensor | Target,
    *,
    smoothing: AbstractSmoothing | float | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    class_mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
    options: LossOptions | None = None,
) -> Tensor:
    r"""Return the cross-entropy of `softmax(logits)` against any target.

        loss_n = -sum_k w_k q_nk log softmax(z_n)_k
        mean   = sum_n loss_n / sum_n sum_k w_k g_nk        g = the target before smoothing

    Labels, the same labels as one-hot rows, and the same labels as a `Target` give the same loss,
    with class weights and for every reduction. Classes whose logit is `-inf` take no part:
    uniform mass and table rows are spread over the others. Rows without mass or without a living
    class are ignored: exactly 0 loss, 0 gradient and no share in the mean; a batch of nothing
    else has the mean 0.

    Args:
        logits: `(N, K)`, `(N, K, d1, ...)` or `(K,)`, any float dtype; half precision is computed
            in float32.
        target: integer labels of the logits' shape without the class dimension, floating point
            probabilities of the logits' shape, or a `Target`.
        smoothing: a rate in [0, 1], a policy, or None.
        weight: `(K,)` class weights; see `LossOptions.weight_mode` for what they do to smoothing.
        ignore_index: label that is ignored. If it is a class, its mass is also taken out of
            probabilities.
        reduction: `"mean"`, `"sum"` or `"none"`.
        class_dim: the class dimension of the logits; -1 for language models.
        class_mask: bool, False for masked classes; the logits' shape or `(K,)`. Says what `-inf`
            says, for models that mask with a large negative number.
        normalizer: replaces the divisor of the mean: the number of tokens over all ranks and
            accumulation steps, for instance.
        options: rare switches, see `LossOptions`.

    Returns:
        A scalar, or `(N, d1, ...)` for `reduction="none"`; float32, float64 for float64 logits.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, a rate or label is out of range, a smoothed target would be
            smoothed again, or the mean's divisor is not positive.

    Example:
        >>> import torch, softtargets as st
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, -torch.inf, 1.0]])
        >>> st.cross_entropy(logits, torch.tensor([0, 2]), smoothing=0.1)
        tensor(0.3681)

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015.
    """
    return _cross_entropy(
        logits,
        target,
        smoothing,
        {},
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        class_dim=class_dim,
        class_mask=class_mask,
        normalizer=normalizer,
        options=options or LossOptions(),
    )


def _cross_entropy(
    logits: Tensor,
    target: Tensor | Target,
    smoothing: AbstractSmoothing | float | None,
    context: dict[str, Any],
    *,
    weight: Tensor | None,
    ignore_index: int,
    reduction: Reduction,
    class_dim: int,
    class_mask: Tensor | None,
    normalizer: Tensor | float | None,
    options: LossOptions,
) -> Tensor:
    """`cross_entropy` with what a policy is told beside the logits: `context`."""
    check_reduction(reduction, normalizer)
    view = class_last(logits, class_dim)
    check_weight(weight, view.shape[-1])
    mask = as_class_mask(class_mask, view, class_dim)
    built = as_target(
        view, target, class_dim=class_dim, ignore_index=ignore_index, validate=options.validate
    )
    if context.get("teacher_logits") is not None:
        context = {**context, "teacher_logits": class_last(context["teacher_logits"], class_dim)}
    smoothed = watch_smoothing(smoothing, built, _as_policies_see(view, mask, smoothing), **context)
    if options.validate:
        check_alive_labels(view, smoothed.target, mask)
    return _loss(view, smoothed, weight, mask, reduction, normalizer, options)


def _as_policies_see(
    logits: Tensor, class_mask: Tensor | None, smoothing: AbstractSmoothing | float | None
) -> Tensor:
    """Logits with `-inf` for masked classes, where the policy looks at them."""
    blind = not isinstance(smoothing, AbstractSmoothing) or isinstance(smoothing, LabelSmoothing)
    if class_mask is None or blind:
        return logits
    return logits.detach().masked_fill(~class_mask, -torch.inf)


def _loss(
    logits: Tensor,
    smoothed: Smoothed,
    weight: Tensor | None,
    class_mask: Tensor | None,
    reduction: Reduction,
    normalizer: Tensor | float | None,
    options: LossOptions,
) -> Tensor:
    given = smoothed.target.given
    if weight is not None:
        weight = weight.to(logits.device, torch.promote_types(logits.dtype, torch.float32))
    shares = given.mass(weight)
    per_sample = weight is not None and options.weight_mode == "per_sample"
    losses, partition = example_losses(
        logits,
        smoothed.target,
        weight=None if per_sample else weight,
        class_mask=class_mask,
        observer=smoothed.observer,
        options=options,
    )
    if per_sample:
        mass = given.mass()
        scale = shares / torch.where(mass == 0, 1, mass)
        # As for weights per class: weight 0 outweighs the infinite loss of a masked label.
        losses = losses.masked_fill((scale == 0) & losses.isinf(), 0) * scale
    living = partition != -torch.inf
    return reduce(
        losses, shares, living, given.ignored, reduction, normalizer, validate=options.validate
    )


@final
class CrossEntropyLoss(nn.Module):
    r"""Drop-in for `torch.nn.CrossEntropyLoss` with any target and any smoothing policy.

    In `.eval()` smoothing is off and the loss is the NLL (class weights stay), so validation
    losses can be compared between methods; a `Target` that was smoothed before counts as given.
    Policies that learn (online label smoothing) keep their state in this module's `state_dict()`:
    save the criterion with the model.

    For integer labels it gives torch's numbers. It differs from torch where torch's depend on how
    the same labels are written: with class weights, and for rows that do not sum to 1, the mean
    over soft targets divides by their weighted mass and not by their number.

    Args:
        smoothing: a rate in [0, 1], a policy such as `OnlineLabelSmoothing`, or None.
        weight: `(K,)` class weights.
        ignore_index: see `cross_entropy`.
        reduction: see `cross_entropy`.
        class_dim: see `cross_entropy`.
        options: see `LossOptions`.

    Raises:
        TypeError: a weight tensor in first position, or an argument of `nn.CrossEntropyLoss` that
            has another name here.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.CrossEntropyLoss(0.1)
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
        >>> criterion(logits, labels)
        tensor(0.3729)
        >>> criterion.eval()(logits, labels)
        tensor(0.2395)
    """

    weight: Tensor | None

    def __init__(
        self,
        smoothing: AbstractSmoothing | float | None = None,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        options: LossOptions | None = None,
        **torch_arguments: object,
    ) -> None:
        super().__init__()
        _refuse_torch_arguments(torch_arguments)
        check_smoothing_type(smoothing)
        check_reduction(reduction, None)
        check_weight(weight, len(weight) if isinstance(weight, Tensor) and weight.dim() else 0)
        if smoothing is None or isinstance(smoothing, AbstractSmoothing):
            self.smoothing: AbstractSmoothing | None = smoothing
        else:
            self.smoothing = LabelSmoothing(smoothing)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.class_dim = class_dim
        self.options = options or LossOptions()

    def forward(
        self,
        logits: Tensor,
        target: Tensor | Target,
        *,
        inputs: Any = None,
        teacher_logits: Tensor | None = None,
        index: Tensor | None = None,
        class_mask: Tensor | None = None,
        normalizer: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss; the keywords beyond `cross_entropy`'s are handed to the policy.

        Args:
            logits: see `cross_entropy`.
            target: see `cross_entropy`.
            inputs: what the policy's teacher is called with.
            teacher_logits: of the logits' shape, class dimension in the same place.
            index: the samples' numbers in the data set.
            class_mask: see `cross_entropy`.
            normalizer: see `cross_entropy`.
        """
        if not self.training and isinstance(target, Target):
            target = target.given
        return _cross_entropy(
            logits,
            target,
            self.smoothing if self.training else None,
            {"teacher_logits": teacher_logits, "inputs": inputs, "index": index},
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            class_dim=self.class_dim,
            class_mask=class_mask,
            normalizer=normalizer,
            options=self.options,
        )

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        weight = "" if self.weight is None else f", weight=({len(self.weight)},)"
        return (
            f"reduction={self.reduction!r}, ignore_index={self.ignore_index}, "
            f"class_dim={self.class_dim}{weight}"
        )


_REPLACEMENTS = {
    "label_smoothing": "pass the rate as the first argument, `CrossEntropyLoss(0.1)`",
    "size_average": 'use `reduction="mean"` or `"sum"`',
    "reduce": 'use `reduction="none"`',
}


def _refuse_torch_arguments(arguments: dict[str, object]) -> None:
    for name in arguments:
        way_out = _REPLACEMENTS.get(name, "see its documentation for the arguments it has")
        raise TypeError(f"CrossEntropyLoss has no argument `{name}`; {way_out}")
