"""The eager engine: the closed form, block by block, on any device.

A block is small enough to stay in cache, so each pass over it is cheap; besides the logits there
is one N x K tensor, the gradient, and none in evaluation. The gradient is formed in the backward
pass from the incoming one, so that fp16 keeps the entries that a loss scale makes representable.
"""

import math
from typing import Any

import torch
from torch import Tensor

from softtargets.batching import blocks
from softtargets.engine import formula
from softtargets.target import Target

# 4 MiB of float32: measured best; smaller blocks pay for calls, larger ones leave the cache.
BLOCK_ELEMENTS = 1 << 20
# A GPU hides launches behind large blocks instead.
BLOCK_ELEMENTS_GPU = 1 << 26


class _CrossEntropy(torch.autograd.Function):
    """`(losses, logsumexp)` of class-last logits; the second output carries no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Target,
        weight: Tensor | None,
        class_mask: Tensor | None,
        reuse_logits: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.target, ctx.reuse_logits = target, reuse_logits
        keys, parts, ctx.masked = block_keys(logits), [], False
        for key in keys:
            mask = None if class_mask is None else class_mask[key]
            block = formula.masked_logits(logits[key], mask)
            part, masked = block_values(block, target[key] if key else target, weight)
            parts.append(part)
            ctx.masked |= masked
        if len(parts) == 1:
            losses, partition, mass = parts[0]
        else:
            losses, partition, mass = _assembled(parts, keys, logits.shape[:-1])
        # The target's own parts are saved too, so that autograd notices if someone changes them.
        ctx.save_for_backward(
            logits, weight, class_mask, partition, mass, *formula.own_floats(target)
        )
        ctx.mark_non_differentiable(partition)
        return losses, partition

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, weight, class_mask, partition, mass, *_ = ctx.saved_tensors
        incoming = grads[0]
        if torch.is_grad_enabled():
            grad = formula.differentiable_gradient(ctx.target, logits, weight, class_mask, incoming)
        else:
            grad = logits if ctx.reuse_logits else torch.empty_like(logits)
            for key in block_keys(logits):
                block = logits[key]
                mask = None if class_mask is None else class_mask[key]
                same = class_mask is None and block.dtype == partition.dtype
                block = formula.masked_logits(block, mask)
                out = grad[key] if same else block
                part = ctx.target[key] if key else ctx.target
                saved = (partition[key], mass[key], incoming[key])
                formula.gradient_(out, block, part, weight, saved, ctx.masked)
                if mask is not None:
                    out.masked_fill_(~mask, 0)
                if not same:
                    grad[key] = out
        return grad, None, None, None, None


def block_values(
    block: Tensor, target: Target, weight: Tensor | None
) -> tuple[formula.Values, bool]:
    """Return the values of a block, and whether they were computed with masks.

    On a CPU the masks are left out until a sum that is not finite asks for them.
    """
    if block.is_cpu:
        result = formula.fast_values(block, target, weight)
        if math.isfinite(float(result.losses.sum())):
            return result, False
    return formula.values(block, target, weight), True


def _assembled(
    parts: list[formula.Values], keys: list[tuple[slice, ...]], shape: torch.Size
) -> formula.Values:
    """The values of all blocks in tensors of the batch shape."""
    whole = formula.Values(*(value.new_empty(shape) for value in parts[0]))
    for key, part in zip(keys, parts, strict=True):
        for value, block in zip(whole, part, strict=True):
            value[key] = block
    return whole


def block_keys(logits: Tensor) -> list[tuple[slice, ...]]:
    """Return the selections that cut class-last logits into blocks; `()` where one will do."""
    limit = BLOCK_ELEMENTS if logits.is_cpu else BLOCK_ELEMENTS_GPU
    return [()] if logits.numel() <= limit else list(blocks(logits.shape, limit))


def example_losses(
    logits: Tensor,
    target: Target,
    weight: Tensor | None,
    class_mask: Tensor | None,
    reuse_logits: bool,
) -> tuple[Tensor, Tensor]:
    """Return the losses and log-partitions of class-last logits; see `engine.example_losses`."""
    losses, partition = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        logits, target, weight, class_mask, reuse_logits
    )
    return losses, partition
