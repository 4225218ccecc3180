"""The closed form on one block of logits: what the eager engine and the fused layer repeat.

A block is small enough to stay in cache, so each pass over it is cheap. On a CPU the masks are left
out until a sum that is not finite asks for them.
"""

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from softtargets import batching
from softtargets.engine import formula
from softtargets.engine.observer import Observer
from softtargets.target import Target

# 4 MiB of float32: measured best; smaller blocks pay for calls, larger ones leave the cache.
BLOCK_ELEMENTS = 1 << 20
# A GPU hides launches behind larger blocks, of which the masked formula makes several copies.
BLOCK_ELEMENTS_GPU = 1 << 24
# Rows of fewer classes cost torch's softmax on a CPU more than `exp` of differences.
NARROW = 32
# Longer rows are divided by their sum once more.
LONG = 4096

Key = tuple[slice, ...]

_Part = TypeVar("_Part", Tensor, Tensor | None, Target)


class BlockValues(NamedTuple):
    """Values of a block, and whether masks were needed to compute them."""

    values: formula.Values
    masked: bool


def keys(logits: Tensor) -> list[Key]:
    """Return the selections that cut class-last logits into blocks; `()` where one will do."""
    limit = BLOCK_ELEMENTS if logits.is_cpu else BLOCK_ELEMENTS_GPU
    return [()] if logits.numel() <= limit else list(batching.blocks(logits.shape, limit))


def at(whole: _Part, key: Key) -> _Part:
    """Return a block of a tensor there may be, or of a target; where it is all, `whole` itself."""
    return whole[key] if key and whole is not None else whole


def assembled(parts: list[formula.Values], keys: list[Key], shape: torch.Size) -> formula.Values:
    """Return the values of all blocks in tensors of the batch shape."""
    if len(parts) == 1:
        return parts[0]
    whole = formula.Values(*(value.new_empty(shape) for value in parts[0]))
    for key, part in zip(keys, parts, strict=True):
        for value, block in zip(whole, part, strict=True):
            value[key] = block
    return whole


def scratch(logits: Tensor) -> Tensor | None:
    """Return memory for the softmax of a block, to be used for all blocks in turn; None for one.

    Memory from the system is new, and dearer than the arithmetic, each time it is asked for.
    """
    if not logits.is_cpu or logits.numel() <= BLOCK_ELEMENTS:
        return None
    elements = max(BLOCK_ELEMENTS, logits.shape[-1])
    return logits.new_empty(elements, dtype=formula.compute_dtype(logits))


def values(
    key: Key,
    block: Tensor,
    target: Target,
    weight: Tensor | None,
    observer: Observer | None,
    memory: Tensor | None,
) -> BlockValues:
    """Return losses, log-partition and mass of a block.

    Args:
        key: what the block is of the batch.
        block: `(*block, K)` float32 or float64, `-inf` where masked.
        target: of the block.
        weight: `(K,)` or None.
        observer: is shown the block, or None.
        memory: from `scratch`.
    """
    if not block.is_cpu:
        if observer is not None:
            observer(key, block, torch.softmax(block, -1))
        return BlockValues(formula.values(block, target, weight), True)
    weights = _exponentials(block, memory=memory)
    narrow = block.shape[-1] < NARROW
    # As exact as `logsumexp`, in half the time: the largest weight is no less than total / K, and
    # 1 in a narrow row.
    share = weights.sum(-1).reciprocal_() if narrow else weights.amax(-1) / _total(weights)
    partition = block.amax(-1) - share.log_()
    if observer is not None:
        observer(key, block, weights / weights.sum(-1, keepdim=True) if narrow else weights)
    mass = target.mass(weight)
    losses = (mass * partition - target.dot(block, weight)).to(block.dtype)
    if math.isfinite(float(losses.sum())):
        return BlockValues(formula.Values(losses, partition, mass), False)
    return BlockValues(formula.values(block, target, weight), True)


def show(observer: Observer, logits: Tensor, class_mask: Tensor | None) -> None:
    """Show an observer all blocks, where the loss was computed by other means."""
    memory = logits.new_empty(0, dtype=formula.compute_dtype(logits))
    for key in keys(logits):
        mask = None if class_mask is None else class_mask[key]
        block = formula.masked_logits(logits[key], mask)
        if len(memory) < block.numel():
            memory = memory.new_empty(block.numel())
        room = memory[: block.numel()].view(block.shape)
        observer(key, block, torch.softmax(block, -1, out=room))


def gradient_(
    out: Tensor,
    logits: Tensor,
    target: Target,
    weight: Tensor | None,
    saved: tuple[Tensor, Tensor, Tensor],
    masked: bool,
) -> None:
    """Write `incoming * (sum_k w_k q_k * softmax(z) - w q)` into `out`, which may be `logits`.

    Args:
        out: `(*block, K)` float32 or float64.
        logits: `(*block, K)`, of the same dtype.
        target: of the same batch shape.
        weight: `(K,)` or None.
        saved: log-partition, weighted mass and incoming gradient of the losses, `(*block)` each.
        masked: whether classes may be masked or rows not counted.
    """
    partition, mass, incoming = saved
    alive = None
    if masked:
        alive = logits != -torch.inf
        counted = (partition != -torch.inf) & ~target.ignored()
        incoming = torch.where(counted, incoming, 0)
    scale = incoming * mass
    if out.is_cpu:
        scale = scale / _total(_exponentials(logits, out))
    else:
        torch.sub(logits, partition.unsqueeze(-1), out=out).exp_()
    out *= scale.unsqueeze(-1)
    if weight is None:
        target.add_to(out, -incoming, alive)
    else:
        out -= incoming.unsqueeze(-1) * (weight * target.dense(alive))
    if masked:
        # Rows that do not count may hold anything, NaN too.
        out.masked_fill_(~counted.unsqueeze(-1), 0)


def _total(weights: Tensor) -> Tensor | float:
    """Row sums of what `_exponentials` gives, where they are not 1 to rounding."""
    return 1.0 if NARROW <= weights.shape[-1] <= LONG else weights.sum(-1)


def _exponentials(
    logits: Tensor, out: Tensor | None = None, memory: Tensor | None = None
) -> Tensor:
    """Return `exp(z - c)` with a c for each row, computed in the order the memory has.

    It is torch's softmax: twice as fast on a CPU as `exp` of differences, but for narrow rows; of
    long rows its sum is a few 1e-6 from 1. `out` may be `logits`, whose rows are read before they
    are written; `memory` is room for the result.
    """
    if logits.stride(-1) == 1:
        return _exponentials_along(-1, logits, out, memory)
    order = sorted(range(logits.dim()), key=logits.stride, reverse=True)
    back = [order.index(dim) for dim in range(logits.dim())]
    result = None if out is None else out.permute(order)
    classes = order.index(logits.dim() - 1)
    return _exponentials_along(classes, logits.permute(order), result, memory).permute(back)


def _exponentials_along(
    classes: int, logits: Tensor, out: Tensor | None, memory: Tensor | None
) -> Tensor:
    if memory is not None:
        out = memory[: logits.numel()].view(logits.shape)
    if logits.shape[classes] >= NARROW:
        return torch.softmax(logits, classes, out=out)
    highest = logits.amax(classes, keepdim=True)
    return torch.sub(logits, highest, out=out).exp_()
