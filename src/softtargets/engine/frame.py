"""The autograd frame around every implementation: what is saved, and when the gradient is formed.

The gradient is formed in the backward pass from the incoming one, so that fp16 keeps the entries
that a loss scale makes representable.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softtargets.engine import formula
from softtargets.engine.observer import Observer
from softtargets.target import Target
from softtargets.transition import AbstractTransition


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the cross-entropy is taken of.

    Attributes:
        logits: `(*batch, K)` floating point, classes last, any strides.
        target: of batch shape `(*batch)`.
        weight: `(K,)` class weights in the computing dtype, or None.
        class_mask: `(*batch, K)` bool, False for a masked class, or None.
        transition: noise between the softmax and the target, or None.
    """

    logits: Tensor
    target: Target
    weight: Tensor | None
    class_mask: Tensor | None
    transition: AbstractTransition | None = None


class Forward(NamedTuple):
    """Results of a forward pass: losses and log-partition `(*batch)`, and what backward needs."""

    losses: Tensor
    logsumexp: Tensor
    kept: tuple[Tensor, ...]
    masked: bool = True


class AbstractEngine(ABC):
    """One way to run the formula."""

    @abstractmethod
    def forward(self, call: Call, observer: Observer | None) -> Forward:
        """Return the results; show every block of logits to the observer."""

    @abstractmethod
    def gradient_(self, out: Tensor, call: Call, forward: Forward, incoming: Tensor) -> None:
        """Write the gradient of the logits into `out`, which may be the logits.

        Args:
            out: of the logits' shape and dtype.
            call: as in the forward pass.
            forward: what it returned; the losses may be gone.
            incoming: gradient of the losses, `(*batch)`.
        """

    def example_losses(
        self, call: Call, observer: Observer | None, *, reuse_logits: bool
    ) -> tuple[Tensor, Tensor]:
        """Return losses and log-partition, `(*batch)`; see `engine.example_losses`."""
        losses, partition = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
            call.logits, call, observer, self, reuse_logits
        )
        return losses, partition


class _CrossEntropy(torch.autograd.Function):
    """`(losses, logsumexp)` of class-last logits; the second output carries no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        call: Call,
        observer: Observer | None,
        engine: AbstractEngine,
        reuse_logits: bool,
    ) -> tuple[Tensor, Tensor]:
        result = engine.forward(call, observer)
        ctx.engine, ctx.target, ctx.reuse_logits = engine, call.target, reuse_logits
        ctx.transition = call.transition
        ctx.masked, ctx.kept = result.masked, len(result.kept)
        # The target's own parts are saved too, so that autograd notices if someone changes them.
        own = formula.own_floats(call.target)
        ctx.save_for_backward(
            logits, call.weight, call.class_mask, result.logsumexp, *result.kept, *own
        )
        ctx.mark_non_differentiable(result.logsumexp)
        return result.losses, result.logsumexp

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, weight, class_mask, partition, *rest = ctx.saved_tensors
        incoming = grads[0]
        if torch.is_grad_enabled():
            grad = formula.differentiable_gradient(
                ctx.target, logits, weight, class_mask, ctx.transition, incoming
            )
            return grad, None, None, None, None
        # Detached, or the gradient that takes the logits' memory would belong to their graph.
        source = logits.detach()
        call = Call(
            logits=source,
            target=ctx.target,
            weight=weight,
            class_mask=class_mask,
            transition=ctx.transition,
        )
        forward = Forward(incoming, partition, tuple(rest[: ctx.kept]), ctx.masked)
        grad = source if ctx.reuse_logits else torch.empty_like(source)
        ctx.engine.gradient_(grad, call, forward, incoming)
        if ctx.reuse_logits:
            torch.autograd.graph.increment_version(logits)
        return grad, None, None, None, None
