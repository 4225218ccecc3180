"""Softmax cross-entropy fused with the linear layer before it."""

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from softtargets import checks
from softtargets.engine import LossOptions, check_options, check_target
from softtargets.engine.linear import linear_losses
from softtargets.losses.arguments import as_target
from softtargets.losses.evaluation import Meeting, meet
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.smoothing.base import (
    AbstractSmoothing,
    check_smoothing_type,
)
from softtargets.smoothing.schedule import step_schedules
from softtargets.smoothing.uniform import LabelSmoothing
from softtargets.target import Target

if TYPE_CHECKING:
    from softtargets.losses.correction import Correction


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor | Target,
    *,
    bias: Tensor | None = None,
    smoothing: AbstractSmoothing | float | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    correction: "Correction | None" = None,
    normalizer: Tensor | float | None = None,
    options: LossOptions | None = None,
) -> Tensor:
    r"""Return the cross-entropy of `softmax(hidden @ weight.T + bias)` without the N x K logits.

    The same numbers as `cross_entropy(linear(hidden, weight, bias), target, class_dim=-1)` for
    every target, on any device. Logits exist a chunk of rows at a time; a policy sees one chunk and
    returns that chunk's target, and observes each chunk once. Beside the inputs' gradients about
    64 MiB are used, by a forward correction several times that.

    Args:
        hidden: `(*batch, D)`.
        weight: `(K, D)`, the output layer, of the same dtype; may be tied to an embedding.
        target: integer labels `(*batch)`, probabilities `(*batch, K)`, or a `Target`.
        bias: `(K,)` or None.
        smoothing: a rate in [0, 1], a policy, or None. A policy that needs a teacher's logits
            cannot work on chunks, nor one through whose target a gradient would flow.
        ignore_index: see `cross_entropy`.
        reduction: `"mean"`, `"sum"`, or `"none"`, which multiplies the logits out twice.
        correction: of label noise, see `cross_entropy`.
        normalizer: replaces the divisor of the mean, see `cross_entropy`.
        options: see `LossOptions`; `validate` alone has a meaning here.

    Returns:
        A scalar, or `(*batch)` for `reduction="none"`; float32, float64 for float64 inputs.

    Raises:
        TypeError: an argument is of the wrong kind or dtype, the policy needs a teacher, or its
            target requires a gradient.
        ValueError: shapes do not fit, a rate or label is out of range, or the mean's divisor is not
            positive.
        RuntimeError: it is called under `torch.func`, in forward mode, or its gradient is to be
            differentiated again; `cross_entropy` on the logits can do all of that.

    Example:
        >>> import torch, softtargets as st
        >>> hidden, weight = torch.tensor([[1.0, 2.0]]), torch.eye(3, 2)
        >>> st.linear_cross_entropy(hidden, weight, torch.tensor([1]), smoothing=0.1)
        tensor(0.5076)

    References:
        Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024, for the idea of
        never holding the logits.
    """
    options = check_options(options)
    check_reduction(reduction, normalizer, options.validate)
    _check_inputs(hidden, weight, bias, options)
    _check_untransformed(hidden, weight, bias)
    hidden, weight, bias = _in_autocast_dtype(hidden, weight, bias)
    # Stands for the logits where only their shape, dtype and device matter; takes no memory.
    shape = (*hidden.shape[:-1], len(weight))
    like_logits = hidden.new_empty(()).expand(shape)
    built = as_target(
        like_logits, target, class_dim=-1, ignore_index=ignore_index, validate=options.validate
    )
    check_smoothing_type(smoothing)
    if isinstance(smoothing, AbstractSmoothing) and smoothing.needs_whole_batch:
        raise TypeError(
            f"{type(smoothing).__name__} looks at neighbouring positions and cannot work on "
            "chunks; call it first and pass the smoothed target"
        )
    if torch.is_grad_enabled() and built.requires_grad:
        raise ValueError(
            "`target` must not require a gradient here, it would get none; detach it, or use "
            "`cross_entropy` on the logits"
        )
    given = built.given

    def make_target(key: tuple[slice, ...], logits: Tensor) -> Meeting:
        part = built[key] if key else built
        with torch.set_grad_enabled(grad_enabled):
            seen = logits.detach().requires_grad_(grad_enabled)
            made = meet(part, seen, correction, smoothing)
        if grad_enabled and made.target.requires_grad:
            raise TypeError(
                f"{type(smoothing).__name__} returns a target that requires a gradient, which it "
                "would not get here; detach it, or use `cross_entropy` on the logits"
            )
        if options.validate:
            check_target(logits, made.target, None, key, made.transition)
        return made

    grad_enabled = torch.is_grad_enabled()
    summed = reduction != "none"
    losses, living = linear_losses(hidden, weight, bias, make_target, summed=summed)
    shares = given.mass().detach()
    return reduce(
        losses, shares, living, given.ignored, reduction, normalizer, validate=options.validate
    )


def _check_inputs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, options: LossOptions
) -> None:
    if options.reuse_logits:
        raise ValueError(
            "`reuse_logits` has no meaning where the logits never exist whole; leave it at False"
        )
    if options.impl not in (None, "eager") or options.weight_mode != "per_class":
        raise ValueError(
            '`options` must leave `impl` at None or "eager", and `weight_mode` at "per_class" as '
            f"there are no class weights, for `linear_cross_entropy`, got {options}"
        )
    named = [("hidden", hidden), ("weight", weight)] + ([] if bias is None else [("bias", bias)])
    for name, tensor in named:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"`{name}` must be a floating point tensor, got {kind}")
        checks.check_whole(tensor, name)
        exact = torch.float64 in (tensor.dtype, hidden.dtype)
        cast = torch.is_autocast_enabled(tensor.device.type) and not exact
        if tensor.dtype != hidden.dtype and not cast:
            raise TypeError(
                f"`{name}` must have the dtype of `hidden`, {hidden.dtype}, got {tensor.dtype}; "
                "cast one of them or use autocast"
            )
    if weight.dim() != 2 or hidden.dim() < 1 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            "`hidden` must have shape (*batch, D) and `weight` (K, D), got "
            f"{tuple(hidden.shape)} and {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"`bias` must have shape ({weight.shape[0]},), one per class, got {tuple(bias.shape)}"
        )


def _check_untransformed(*inputs: Tensor | None) -> None:
    """Raise under `torch.func` and for the dual numbers of forward mode."""
    if torch.compiler.is_compiling():
        return
    transformed = torch._C._are_functorch_transforms_active()
    if forward_ad._current_level >= 0 and not transformed:
        given = [each for each in inputs if each is not None]
        duals = [forward_ad.unpack_dual(each) for each in given]  # type: ignore[no-untyped-call]
        transformed = any(dual.tangent is not None for dual in duals)
    if transformed:
        raise RuntimeError(
            "`linear_cross_entropy` cannot run under torch.func (grad, vmap, jvp) or in forward "
            "mode; use `cross_entropy` on the logits for that"
        )


def _in_autocast_dtype(
    hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast the inputs as autocast does for a linear layer."""
    device = hidden.device.type
    if not torch.is_autocast_enabled(device) or hidden.dtype == torch.float64:
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


@final
class LinearCrossEntropyLoss(nn.Module):
    """`linear_cross_entropy` as a module; the output layer stays the model's.

    In `.eval()` smoothing and correction are off and the loss is the NLL. A policy that learns
    keeps its state in this module's `state_dict()`.

    Args:
        smoothing: a rate in [0, 1], a policy, or None.
        ignore_index: see `cross_entropy`.
        reduction: see `cross_entropy`.
        correction: see `cross_entropy`.
        options: see `LossOptions`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion, head = st.LinearCrossEntropyLoss(0.1), torch.nn.Linear(16, 1000)
        >>> hidden, labels = torch.randn(8, 16), torch.randint(1000, (8,))
        >>> criterion(hidden, head.weight, labels, bias=head.bias).backward()
    """

    def __init__(
        self,
        smoothing: AbstractSmoothing | float | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        correction: "Correction | None" = None,
        options: LossOptions | None = None,
    ) -> None:
        super().__init__()
        check_smoothing_type(smoothing)
        check_reduction(reduction, None)
        self.smoothing: AbstractSmoothing | None
        if smoothing is None or isinstance(smoothing, AbstractSmoothing):
            self.smoothing = smoothing
        else:
            self.smoothing = LabelSmoothing(smoothing)
        if correction is not None:
            from softtargets.losses.correction import check_correction

            check_correction(correction)
        self.correction = correction
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.options = check_options(options)

    def forward(
        self,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor | Target,
        *,
        bias: Tensor | None = None,
        normalizer: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss; arguments as for `linear_cross_entropy`."""
        if not self.training and isinstance(target, Target):
            target = target.given
        return linear_cross_entropy(
            hidden,
            weight,
            target,
            bias=bias,
            smoothing=self.smoothing if self.training else None,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            correction=self.correction if self.training else None,
            normalizer=normalizer,
            options=self.options,
        )

    def step(self) -> None:
        """Advance every `Schedule` in the policy and the correction by one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"reduction={self.reduction!r}, ignore_index={self.ignore_index}"
