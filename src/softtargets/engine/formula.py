"""The formula in plain differentiable operations: what every faster way must equal.

    loss = sum_k w_k q_k * logsumexp(z) - sum_k w_k q_k z_k

Used where a graph is wanted: double backward, forward mode, `torch.func`, `torch.compile`, a
gradient into the target.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.arithmetic import MAX_COMPARED
from softtargets.checks import readable
from softtargets.target import Target
from softtargets.terms import TableRows
from softtargets.transition import AbstractTransition


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


def values(logits: Tensor, target: Target, weight: Tensor | None, *, masked: bool = True) -> Values:
    """Return the losses for any logits, masked (`-inf`) classes and rows included.

    Args:
        logits: `(*batch, K)` float32 or float64.
        target: of the same batch shape.
        weight: `(K,)` or None.
        masked: False leaves the masks out: right where losses are finite, else not.
    """
    if not masked:
        partition, mass = torch.logsumexp(logits, -1), target.mass(weight)
        losses = mass * partition - target.dot(logits, weight)
        return Values(losses.to(logits.dtype), partition, mass)
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


def noisy_values(
    logits: Tensor, target: Target, weight: Tensor | None, transition: AbstractTransition
) -> Values:
    """Return the values where predictions pass through label noise: z becomes `log(exp(z) @ T)`.

    Args:
        logits: `(*batch, K)` float32 or float64, `-inf` where masked.
        target: of the same batch shape.
        weight: `(K,)` or None.
        transition: of K classes.
    """
    plain = _finite(logits)
    entries = target.entries
    if plain and not target.others and entries.classes.shape[-1] == 1:
        labels, mass = entries.classes[..., 0], target.mass(weight)
        partition = torch.logsumexp(logits, -1)
        # A noisy label of probability 0 has an infinite loss, an ignored one has none.
        losses = partition - transition.label_logits(logits, labels, partition)
        losses = torch.where(mass == 0, 0, losses) * mass
        return Values(losses.to(logits.dtype), partition, mass)
    if plain:
        noisy = transition.noisy_logits(logits)
        return values(noisy, target, weight, masked=not _finite(noisy))
    alive = logits != -torch.inf
    counted = (alive.any(-1) & ~target.ignored()).unsqueeze(-1)
    # As in `values`: NaN of rows that do not count must not reach a gradient.
    noisy = transition.noisy_logits(torch.where(counted, logits, 0), alive | ~counted)
    return values(torch.where(counted, noisy, logits), target, weight)


def _finite(logits: Tensor) -> bool:
    """Whether all is finite, found out where that costs no synchronisation."""
    return readable(logits) and math.isfinite(float(logits.detach().sum()))


def gradient(
    logits: Tensor,
    target: Target,
    weight: Tensor | None,
    saved: tuple[Tensor, Tensor, Tensor],
    *,
    masked: bool,
) -> Tensor:
    """Return `incoming * (sum_k w_k q_k * softmax(z) - w q)` in operations that compilers fuse.

    Args:
        logits: `(*batch, K)` float32 or float64.
        target: of the same batch shape.
        weight: `(K,)` or None.
        saved: log-partition, weighted mass and incoming gradient of the losses, `(*batch)` each.
        masked: whether classes may be masked or rows not counted.
    """
    partition, mass, incoming = saved
    alive = counted = None
    if masked:
        alive = logits != -torch.inf
        counted = ((partition != -torch.inf) & ~target.ignored()).unsqueeze(-1)
        incoming = torch.where(counted[..., 0], incoming, 0)
    spread = torch.zeros_like(logits)
    for term in target.others:
        term.add_to(spread, incoming, alive)
    factors = incoming.unsqueeze(-1) * target.entries.weights
    if weight is not None:
        spread, factors = spread * weight, factors * weight[target.entries.classes]
    grad = torch.exp(logits - partition.unsqueeze(-1)) * (incoming * mass).unsqueeze(-1) - spread
    if factors.shape[-1] > MAX_COMPARED:
        grad = grad.scatter_add(-1, target.entries.classes, -factors.to(grad.dtype))
    else:
        # A comparison is fused where a scatter would need the whole gradient in memory first.
        classes = torch.arange(logits.shape[-1], device=logits.device)
        for j in range(factors.shape[-1]):
            hit = classes == target.entries.classes[..., j : j + 1]
            grad = grad - torch.where(hit, factors[..., j : j + 1], 0)
    return (grad if counted is None else torch.where(counted, grad, 0)).to(logits.dtype)


def differentiable_gradient(
    target: Target,
    logits: Tensor,
    weight: Tensor | None,
    class_mask: Tensor | None,
    transition: AbstractTransition | None,
    incoming: Tensor,
) -> Tensor:
    """Return the gradient with a graph of its own, for double backward."""
    seen = masked_logits(logits, class_mask)
    if transition is None:
        losses = values(seen, target, weight).losses
    else:
        losses = noisy_values(seen, target, weight, transition).losses
    (grad,) = torch.autograd.grad(losses, logits, incoming, create_graph=True)
    return grad


def own_floats(target: Target) -> tuple[Tensor, ...]:
    """Return the float parts of one batch, for autograd to watch.

    Tables are left out: DDP writes buffers anew before a forward.
    """
    return tuple(
        part for term in target.terms if not isinstance(term, TableRows) for part in term.floats()
    )
