"""The formula in plain differentiable operations: what every faster way must equal.

    loss = sum_k w_k q_k * logsumexp(z) - sum_k w_k q_k z_k

Used where a graph is wanted (double backward, forward mode, `torch.func`, `torch.compile`, a
gradient into the target) and, block by block and without a graph, by the eager engine.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.target import Target
from softtargets.terms import TableRows


class Values(NamedTuple):
    """Per-example losses, log-partition (`-inf`: no living class) and weighted mass."""

    losses: Tensor
    logsumexp: Tensor
    mass: Tensor


def compute_dtype(logits: Tensor) -> torch.dtype:
    """Return float64 for float64 logits, else float32."""
    return torch.promote_types(logits.dtype, torch.float32)


def masked_logits(logits: Tensor, class_mask: Tensor | None) -> Tensor:
    """Return logits in the computing dtype, `-inf` where `class_mask` is False."""
    logits = logits.to(compute_dtype(logits))
    return logits if class_mask is None else logits.masked_fill(~class_mask, -torch.inf)


def fast_values(logits: Tensor, target: Target, weight: Tensor | None) -> Values:
    """Return the losses where no class is masked; not finite where one is and it matters.

    Args:
        logits: `(*batch, K)` float32 or float64.
        target: of the same batch shape.
        weight: `(K,)` or None.
    """
    partition = torch.logsumexp(logits, -1)
    mass = target.mass(weight)
    losses = mass * partition - target.dot(logits, weight)
    return Values(losses.to(logits.dtype), partition, mass)


def values(logits: Tensor, target: Target, weight: Tensor | None) -> Values:
    """Return the losses for any logits, masked (`-inf`) classes and rows included.

    Args:
        logits: `(*batch, K)` float32 or float64.
        target: of the same batch shape.
        weight: `(K,)` or None.
    """
    alive = logits != -torch.inf
    living = alive.any(-1)
    counted = living & ~target.ignored()
    # Rows that do not count may hold anything; zeros keep NaN out of their gradient.
    logits = torch.where(counted.unsqueeze(-1), logits, 0)
    partition = torch.logsumexp(logits, -1)
    mass = target.mass(weight, alive)
    losses = mass * partition - target.dot(logits, weight, alive)
    losses = torch.where(counted, losses, 0)
    return Values(losses.to(logits.dtype), torch.where(living, partition, -torch.inf), mass)


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
        out: `(*batch, K)` float32 or float64.
        logits: `(*batch, K)`, of the same dtype.
        target: of the same batch shape.
        weight: `(K,)` or None.
        saved: log-partition, weighted mass and incoming gradient of the losses, `(*batch)` each.
        masked: whether classes may be masked or rows not counted.
    """
    partition, mass, incoming = saved
    alive = None
    if masked:
        alive = logits != -torch.inf
        counted = (partition != -torch.inf) & ~target.ignored()
        incoming = torch.where(counted, incoming, 0)
        partition = torch.where(counted, partition, 0)
    torch.sub(logits, partition.unsqueeze(-1), out=out).exp_()
    out *= (incoming * mass).unsqueeze(-1)
    if weight is None:
        target.add_to(out, -incoming, alive)
    else:
        out -= incoming.unsqueeze(-1) * (weight * target.dense(alive))
    if masked:
        out.masked_fill_(~counted.unsqueeze(-1), 0)


def differentiable_gradient(
    target: Target,
    logits: Tensor,
    weight: Tensor | None,
    class_mask: Tensor | None,
    incoming: Tensor,
) -> Tensor:
    """Return the gradient with a graph of its own, for double backward."""
    losses = values(masked_logits(logits, class_mask), target, weight).losses
    (grad,) = torch.autograd.grad(losses, logits, incoming, create_graph=True)
    return grad


def own_floats(target: Target) -> tuple[Tensor, ...]:
    """Return the float parts of one batch, for autograd to watch.

    Tables are left out: DDP writes buffers anew before a forward.
    """
    return tuple(
        part for term in target.terms if not isinstance(term, TableRows) for part in term.floats()
    )
