"""The sums over pixels that the Dice loss is made of, block by block.

Besides the logits there is one tensor of their size, the gradient, and none in evaluation.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from softtargets import batching, checks
from softtargets.engine import formula
from softtargets.target import Target

Form = Literal["squared", "intersection"]
Activation = Literal["softmax", "sigmoid"]

# As in the engine: on a CPU a block stays in the cache, a GPU hides launches behind larger ones.
BLOCK_ELEMENTS = 2**20
BLOCK_ELEMENTS_GPU = 2**24


class Rows(NamedTuple):
    """Class-last logits and what they should be: a `Target`, or yes-or-no entries with a mask."""

    logits: Tensor
    target: Target | Tensor
    counted: Tensor | None = None

    def at(self, key: tuple[slice, ...]) -> "Rows":
        """Return a part of the batch."""
        counted = None if self.counted is None else self.counted[key]
        return Rows(self.logits[key], self.target[key], counted)


class _Block(NamedTuple):
    """Prediction and target of a block, both 0 where nothing counts, and the mask of what does."""

    predicted: Tensor
    wanted: Tensor
    counted: Tensor


def class_sums(rows: Rows, form: Form, activation: Activation) -> Tensor:
    """Return `(N, 4, K)`: overlap, size of p, size of q and number of counted pixels.

    Args:
        rows: prediction and target.
        form: see `dice_loss`.
        activation: see `dice_loss`.
    """
    target = rows.target
    learned = target.requires_grad and torch.is_grad_enabled()
    if learned or checks.traced():
        return _plain_sums(rows, form, activation)
    sums: Tensor = _Sums.apply(rows.logits, rows, form, activation)  # type: ignore[no-untyped-call]
    return sums


def _plain_sums(rows: Rows, form: Form, activation: Activation) -> Tensor:
    """The same in plain differentiable operations, at once."""
    logits, target, counted = rows
    logits = logits.to(formula.compute_dtype(logits))
    if isinstance(target, Target):
        alive = logits != -torch.inf
        counted = (alive.any(-1) & ~target.ignored()).unsqueeze(-1)
        q = target.dense(alive)
    else:
        q = target
    assert counted is not None
    # What does not count may hold anything; zeros keep NaN out of its gradient.
    logits = torch.where(counted, logits, 0)
    p = torch.softmax(logits, -1) if activation == "softmax" else torch.sigmoid(logits)
    p, q = torch.where(counted, p, 0), torch.where(counted, q, 0).to(p.dtype)
    return _summed(_Block(p, q, counted), form)


def _summed(block: _Block, form: Form) -> Tensor:
    p, q, counted = block
    squared = form == "squared"
    parts = [p * q, p.square(), q.square()] if squared else [torch.minimum(p, q), p, q]
    pixels = tuple(range(1, p.dim() - 1))
    # Summed as integers, the mask needs no copy of the logits' size.
    count = counted.sum(pixels) if pixels else counted.long()
    sums = [part.sum(pixels) if pixels else part for part in parts]
    return torch.stack([*sums, count.expand_as(sums[0]).to(p.dtype)], 1)


def _block(rows: Rows, activation: Activation) -> _Block:
    """Prediction and target of a block, in the order that its logits have in memory."""
    logits, target, counted = rows
    logits = logits.to(formula.compute_dtype(logits))
    q = torch.zeros_like(logits)
    if isinstance(target, Target):
        alive = None
        if not (checks.readable(logits) and math.isfinite(float(logits.sum()))):
            alive = logits != -torch.inf
        counted = ~target.ignored() if alive is None else alive.any(-1) & ~target.ignored()
        counted = counted.unsqueeze(-1)
        target.add_to(q, torch.ones_like(q[..., 0]), alive)
    else:
        q += target
    assert counted is not None
    if activation == "softmax":
        p = (logits - logits.amax(-1, keepdim=True)).exp_()
        p /= p.sum(-1, keepdim=True)
    else:
        p = torch.sigmoid(logits)
    if not (checks.readable(logits) and bool(counted.all())):
        # What does not count may hold anything, NaN too.
        p, q = p.masked_fill_(~counted, 0), q.masked_fill_(~counted, 0)
    return _Block(p, q, counted)


def _gradient(block: _Block, incoming: Tensor, form: Form, activation: Activation) -> Tensor:
    """Return what reaches the logits of a block; `incoming` is `(n, 4, K)`."""
    p, q, _ = block
    shape = (len(p), *[1] * (p.dim() - 2), p.shape[-1])
    overlap, size = (incoming[:, i].reshape(shape).to(p.dtype) for i in (0, 1))
    if form == "squared":
        grad = (2 * size * p).addcmul_(overlap, q)
    else:
        # Of equal ones each has half, as in torch.minimum.
        grad = torch.where(p < q, overlap, 0).add_(size)
        grad += torch.where(p == q, 0.5 * overlap, 0)
    if activation == "softmax":
        grad -= (p * grad).sum(-1, keepdim=True)
        return grad.mul_(p)
    return grad.mul_(p).mul_(1 - p)


def _keys(logits: Tensor) -> list[tuple[slice, ...]]:
    limit = BLOCK_ELEMENTS if logits.is_cpu else BLOCK_ELEMENTS_GPU
    return list(batching.blocks(logits.shape, limit))


class _Sums(torch.autograd.Function):
    """`class_sums` whose backward pass goes through the blocks once more."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, rows: Rows, form: Form, activation: Activation) -> Tensor:
        dtype = formula.compute_dtype(logits)
        sums = logits.new_zeros(len(logits), 4, logits.shape[-1], dtype=dtype)
        for key in _keys(logits):
            images = key[0] if key else slice(None)
            sums[images] += _summed(_block(rows.at(key), activation), form)
        target = rows.target
        # Saved too, so that autograd notices if someone changes them.
        own = formula.own_floats(target) if isinstance(target, Target) else (target,)
        ctx.save_for_backward(logits, *own)
        ctx.target, ctx.counted, ctx.form, ctx.activation = target, rows.counted, form, activation
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, incoming = ctx.saved_tensors[0], grads[0]
        rows = Rows(logits, ctx.target, ctx.counted)
        if torch.is_grad_enabled():
            sums = _plain_sums(rows, ctx.form, ctx.activation)
            (grad,) = torch.autograd.grad(sums, logits, incoming, create_graph=True)
            return grad, None, None, None
        grad = torch.empty_like(logits)
        for key in _keys(logits):
            images = key[0] if key else slice(None)
            block = _block(rows.at(key), ctx.activation)
            grad[key] = _gradient(block, incoming[images], ctx.form, ctx.activation)
        return grad, None, None, None
