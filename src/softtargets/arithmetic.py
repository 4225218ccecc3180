"""The small operations that terms are made of; class dimensions come last."""

import torch
from torch import Tensor

from softtargets import checks

# Up to so many entries a sample, compiled comparisons with every class cost less than a scatter.
MAX_COMPARED = 8


def column(factor: Tensor | float) -> Tensor | float:
    """One factor per sample, shaped to multiply tensors with one more dimension."""
    return factor.unsqueeze(-1) if isinstance(factor, Tensor) and factor.dim() else factor


def weighted_dot(values: Tensor, logits: Tensor, weight: Tensor | None) -> Tensor:
    """`sum_k weight_k values_k logits_k`."""
    return (values * logits if weight is None else values * weight * logits).sum(-1)


def without_idle(logits: Tensor, factors: Tensor) -> Tensor:
    """The logits with 0 for `-inf` where no mass meets it; 0 * -inf would be NaN.

    Living logits stay also where the mass is 0: they are the gradient of that mass.
    """
    return torch.where((factors == 0) & (logits == -torch.inf), 0, logits)


def gathered(logits: Tensor, classes: Tensor) -> Tensor:
    """`logits.gather(-1, classes)`.

    Where a compiler will differentiate it, by comparison, which it fuses with everything else; the
    gradient of a gather is scattered into an N x K tensor of zeros.
    """
    differentiated = torch.compiler.is_compiling() and torch.is_grad_enabled()
    if not (differentiated and 0 < classes.shape[-1] <= MAX_COMPARED):
        return logits.gather(-1, classes)
    numbers = torch.arange(logits.shape[-1], device=logits.device)
    columns = classes.unbind(-1)
    hits = [torch.where(numbers == column.unsqueeze(-1), logits, 0) for column in columns]
    found = torch.stack([hit.sum(-1) for hit in hits], -1)
    # A gather fails on a class that does not exist; nobody may take 0 for its logit.
    return torch.where((classes >= 0) & (classes < logits.shape[-1]), found, torch.nan)


def predicted(logits: Tensor, probs: Tensor, labels: Tensor) -> Tensor:
    """Return `logits.argmax(-1) == labels`, the first of equal logits winning; rows of NaN do not.

    `argmax` is ten times slower than `amax` on a CPU, so it settles ties alone, and only rows whose
    largest probability leaves room for another like it are looked at for ties.

    Args:
        logits: `(n, K)`.
        probs: `softmax(logits)`, to rounding.
        labels: `(n)` int64.
    """
    if not checks.readable(logits):
        return (logits.argmax(-1) == labels) & ~logits.amax(-1).isnan()
    at, highest = labels.unsqueeze(-1), logits.amax(-1)
    right = highest == logits.gather(-1, at).squeeze(-1)
    unsure = (right & ~(probs.gather(-1, at).squeeze(-1) > 0.51)).nonzero()[:, 0]
    others = logits.index_select(0, unsure).scatter_(-1, at[unsure], -torch.inf)
    tied = unsure[others.amax(-1) == highest[unsure]]
    right[tied] = logits[tied].argmax(-1) == labels[tied]
    return right


def accumulated(classes: Tensor, factors: Tensor) -> Tensor:
    """Return the factors with those of a class gathered in its first entry, 0 in the others.

    Args:
        classes: `(*batch, J)` int64.
        factors: `(*batch, J)`.
    """
    same = classes.unsqueeze(-1) == classes.unsqueeze(-2)
    total = torch.where(same, factors.unsqueeze(-2), 0).sum(-1)
    return torch.where(same.tril(-1).any(-1), 0, total)


def accumulated_where_dead(classes: Tensor, factors: Tensor, chosen: Tensor) -> Tensor:
    """`accumulated` if it matters: 1 and -1 cancel on a class of logit `-inf`, products do not.

    The comparison of all pairs is left out where that is known to change nothing, and beyond
    `MAX_COMPARED` entries where finding out would make a device wait.

    Args:
        classes: `(*batch, J)` int64.
        factors: `(*batch, J)`.
        chosen: `(*batch, J)`, the logits of the classes.
    """
    if classes.shape[-1] < 2:
        return factors
    if checks.readable(chosen):
        needed = bool(((chosen == -torch.inf) & (factors != 0)).any())
    else:
        needed = classes.shape[-1] <= MAX_COMPARED
    return accumulated(classes, factors) if needed else factors


def renormalised(values: Tensor, alive: Tensor) -> Tensor:
    """Rows with their mass on living classes only; evenly spread if none of it was on one."""
    mass = values.sum(-1, keepdim=True)
    living = values * alive
    remaining = living.sum(-1, keepdim=True)
    count = alive.sum(-1, keepdim=True)
    safe = torch.where(remaining == 0, 1, remaining)
    kept = torch.where(remaining == 0, mass * alive / count.clamp(min=1), living * (mass / safe))
    # A signed row may sum to 0: it is left alone where nothing is dead.
    return torch.where(count == alive.shape[-1], values, kept)


def unit_rows(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return distributions divided by what rounding made of their sums.

    Args:
        matrix: `(K,)` or `(R, K)`, rows that sum to 1 but for rounding.
        dtype: of what the rows are for; the result has it or a wider one. Rows that are as exact
            as they can be are returned themselves, so that a shared table stays shared.
    """
    wide = matrix.to(torch.promote_types(matrix.dtype, dtype))
    total = wide.sum(-1, keepdim=True)
    if wide is matrix and checks.readable(matrix):
        rounding = 8 * torch.finfo(matrix.dtype).eps
        if bool(((total.detach() - 1).abs() <= rounding).all()):
            return matrix
    return wide / total


def filled_up(weights: Tensor, remaining: int) -> tuple[Tensor, Tensor]:
    """Return weights of a row's largest classes, and what each of its other classes gets.

    Args:
        weights: `(*batch, k)`, summing to at most 1 but for rounding, which is taken away.
        remaining: how many other classes share the rest; with none the weights sum to 1.
    """
    total = weights.sum(-1, keepdim=True)
    weights = weights / (total.clamp(min=1) if remaining else total)
    return weights, (1 - weights.sum(-1)).clamp(min=0) / max(remaining, 1)


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` in float32 or wider, which autocast must not lower."""
    dtype = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    with torch.autocast(left.device.type, enabled=False):
        return left.to(dtype) @ right.to(dtype)
