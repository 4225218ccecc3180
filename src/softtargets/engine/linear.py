"""Cross-entropy of `hidden @ weight.T + bias` without ever holding the logits whole.

A chunk of rows is multiplied out, its target is made, its losses are taken, and the gradient is
formed in the same memory and multiplied back at once. What lives beside the inputs is one chunk
and the gradients of the inputs, summed in float32 and scaled by the incoming gradient in the
backward pass. In float16 they would overflow or vanish before they are scaled: there, and where
every row has an incoming gradient of its own, the backward pass multiplies out again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softtargets import batching
from softtargets.engine import blocks, formula
from softtargets.engine.blocks import Key
from softtargets.engine.corrected import CorrectedEngine
from softtargets.engine.frame import Call
from softtargets.engine.observer import Observer
from softtargets.target import Target
from softtargets.transition import AbstractTransition

# 64 MiB of float32: enough rows for the matrix products to run at full speed.
CHUNK_ELEMENTS = 1 << 24

MakeTarget = Callable[[Key, Tensor], tuple[Target, Observer | None, AbstractTransition | None]]


class LinearLosses(NamedTuple):
    """The losses (their sum where that was asked for) and which rows have a living class."""

    losses: Tensor
    living: Tensor


class _Inputs(NamedTuple):
    hidden: Tensor
    weight: Tensor
    bias: Tensor | None

    def logits(self, key: Key) -> Tensor:
        """A chunk of logits in memory of its own, in the dtype the inputs are multiplied in."""
        return torch.nn.functional.linear(self.hidden[key], self.weight, self.bias)

    def chunk_keys(self) -> list[Key]:
        return list(
            batching.blocks(torch.Size((*self.hidden.shape[:-1], len(self.weight))), CHUNK_ELEMENTS)
        )


class _Gradients:
    """Sums of the inputs' gradients, in float32 or wider; None where none is needed."""

    def __init__(self, inputs: _Inputs, needed: tuple[bool, ...]) -> None:
        dtype = formula.compute_dtype(inputs.hidden)
        self.inputs = inputs
        self.sums = [
            None if x is None or not need else torch.zeros_like(x, dtype=dtype)
            for x, need in zip(inputs, needed, strict=False)
        ]

    def add(self, key: Key, of_logits: Tensor) -> None:
        """Add what a chunk's logit gradient, in the dtype of the inputs, contributes."""
        hidden, weight, bias = self.sums
        rows = of_logits.reshape(-1, of_logits.shape[-1])
        if hidden is not None:
            hidden[key] = of_logits @ self.inputs.weight
        if weight is not None:
            features = self.inputs.hidden[key].reshape(-1, self.inputs.hidden.shape[-1])
            if rows.dtype == weight.dtype:
                weight.addmm_(rows.T, features)
            else:
                weight += rows.T @ features
        if bias is not None:
            bias += rows.sum(0, dtype=bias.dtype)


def _losses_(
    logits: Tensor,
    target: Target,
    transition: AbstractTransition | None,
    incoming: Tensor | None,
    observer: Observer | None = None,
) -> tuple[Tensor, Tensor]:
    """Return losses and where rows count; overwrite `logits` with their gradient if asked to."""
    if transition is not None:
        return _corrected_losses_(logits, target, transition, incoming, observer)
    losses = logits.new_empty(logits.shape[:-1], dtype=formula.compute_dtype(logits))
    living = torch.empty_like(losses, dtype=torch.bool)
    memory = blocks.scratch(logits)
    for key in blocks.keys(logits):
        part = blocks.at(target, key)
        block = logits[key]
        wide = block.to(losses.dtype)
        values, masked = blocks.values(key, wide, part, None, observer, memory)
        losses[key] = values.losses
        living[key] = values.logsumexp != -torch.inf
        if incoming is not None:
            saved = (values.logsumexp, values.mass, incoming[key])
            blocks.gradient_(wide, wide, part, None, saved, masked)
            if wide.dtype != block.dtype:
                block.copy_(wide)
    return losses, living


def _corrected_losses_(
    logits: Tensor,
    target: Target,
    transition: AbstractTransition,
    incoming: Tensor | None,
    observer: Observer | None,
) -> tuple[Tensor, Tensor]:
    engine = CorrectedEngine()
    call = Call(logits=logits, target=target, weight=None, class_mask=None, transition=transition)
    result = engine.forward(call, observer)
    if incoming is not None:
        engine.gradient_(logits, call, result, incoming)
    return result.losses, result.logsumexp != -torch.inf


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        make_target: MakeTarget,
        summed: bool,
        grad_enabled: bool,
    ) -> tuple[Tensor, Tensor]:
        inputs = _Inputs(hidden, weight, bias)
        losses = hidden.new_empty(hidden.shape[:-1], dtype=formula.compute_dtype(hidden))
        living = torch.empty_like(losses, dtype=torch.bool)
        needed = grad_enabled and any(ctx.needs_input_grad)
        at_once = needed and summed and hidden.dtype != torch.float16
        ctx.gradients = _Gradients(inputs, ctx.needs_input_grad) if at_once else None
        ctx.met = []
        watched: list[Tensor] = []
        for key in inputs.chunk_keys():
            logits = inputs.logits(key)
            target, observer, transition = make_target(key, logits)
            incoming = None if ctx.gradients is None else torch.ones_like(losses[key])
            losses[key], living[key] = _losses_(logits, target, transition, incoming, observer)
            if ctx.gradients is not None:
                ctx.gradients.add(key, logits)
            elif needed:
                ctx.met.append((target, transition))
                # So that autograd notices if someone changes them.
                watched += formula.own_floats(target)
            # Before the next chunk is made.
            del logits, target
        ctx.save_for_backward(hidden, weight, bias, *watched)
        ctx.mark_non_differentiable(living)
        return losses.sum() if summed else losses, living

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the gradient of `linear_cross_entropy` cannot be differentiated again "
                "(`create_graph=True`); use `cross_entropy` on the logits for that"
            )
        inputs, incoming = _Inputs(*ctx.saved_tensors[:3]), grads[0]
        gradients = ctx.gradients
        if gradients is None:
            gradients = _Gradients(inputs, ctx.needs_input_grad)
            incoming = incoming.expand(inputs.hidden.shape[:-1])
            for key, (target, transition) in zip(inputs.chunk_keys(), ctx.met, strict=True):
                logits = inputs.logits(key)
                _losses_(logits, target, transition, incoming[key])
                gradients.add(key, logits)
                del logits
        scale = incoming if ctx.gradients is not None else None
        results = [
            None if x is None or like is None else _scaled(x, scale, like)
            for x, like in zip(gradients.sums, inputs, strict=True)
        ]
        return (*results, None, None, None)


def _scaled(total: Tensor, scale: Tensor | None, like: Tensor) -> Tensor:
    """The gradient in its dtype, without another copy in float32."""
    if scale is None:
        return total.to(like.dtype)
    return torch.mul(total, scale, out=torch.empty_like(like, requires_grad=False))


def linear_losses(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, make_target: MakeTarget, *, summed: bool
) -> LinearLosses:
    """Return the cross-entropy of `hidden @ weight.T + bias` against targets made chunk by chunk.

    Args:
        hidden: `(*batch, D)` floating point.
        weight: `(K, D)` of the same dtype.
        bias: `(K,)` of the same dtype, or None.
        make_target: called once for each chunk, in order, with its selection of the batch and its
            logits `(*chunk, K)`; returns the target, who is shown the chunk's blocks, and the noise
            between prediction and target or None.
        summed: return the sum of the losses; then, but for float16, the gradients are formed in the
            forward pass and nothing is multiplied out twice.

    Returns:
        `losses`, a scalar or `(*batch)`, in float32 (float64 for float64 inputs), and `living`,
        `(*batch)` bool, False for rows without a living class.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        losses, living = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden, weight, bias, make_target, summed, torch.is_grad_enabled()
        )
    return LinearLosses(losses, living)
