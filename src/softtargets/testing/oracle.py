"""The slow truth: targets as full float64 tensors and the cross-entropy term by term.

Deliberately naive and independent of `softtargets.terms` and `softtargets.engine`; see
`dense_cross_entropy`.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from softtargets.target import Target
from softtargets.terms import DenseRows, Entries, TableRows, Uniform


def dense_target(target: Target, alive: Tensor | None = None) -> Tensor:
    """Return the target as a full float64 tensor, built from one-hot rows.

    Args:
        target: any target.
        alive: `(*batch, K)` bool, False for a masked class, or None.

    Returns:
        `(*batch, K)` float64: what `Target.dense` must equal.

    Raises:
        TypeError: the target holds a term of an unknown kind.

    Example:
        >>> import torch, softtargets as st
        >>> from softtargets import testing
        >>> target = st.Target.from_labels(torch.tensor([1]), 3).smooth(0.3)
        >>> testing.dense_target(target)
        tensor([[0.1000, 0.8000, 0.1000]], dtype=torch.float64)
    """
    shape = (*target.batch_shape, target.num_classes)
    if alive is None:
        alive = torch.ones(shape, dtype=torch.bool, device=target.device)
    total = torch.zeros(shape, dtype=torch.float64, device=target.device)
    for term in (target.entries, *target.others):
        total = total + _dense_term(term, target.num_classes, alive)
    return total


def _dense_term(term: object, num_classes: int, alive: Tensor) -> Tensor:
    if isinstance(term, Entries):
        one_hot = functional.one_hot(term.classes, num_classes).double()
        return torch.einsum("...j,...jk->...k", term.weights.double(), one_hot)
    if isinstance(term, TableRows):
        chosen = functional.one_hot(term.rows, len(term.table)).double()
        rows = torch.einsum("...jr,rk->...jk", chosen, term.table.double())
        return torch.einsum("...j,...jk->...k", term.weights.double(), _over_living(rows, alive))
    if isinstance(term, Uniform):
        even = torch.full_like(alive, 1 / num_classes, dtype=torch.float64).unsqueeze(-2)
        return term.weights.double().unsqueeze(-1) * _over_living(even, alive).squeeze(-2)
    if isinstance(term, DenseRows) and term.through is not None:
        before, table = (part.double() for part in term.through)
        rows = table.expand(*alive.shape[:-1], *table.shape)
        mixed = torch.einsum("...r,...rk->...k", before, _over_living(rows, alive))
        return term.weights.double().unsqueeze(-1) * mixed
    if isinstance(term, DenseRows):
        return term.weights.double().unsqueeze(-1) * term.values.double()
    raise TypeError(f"the oracle knows no term {type(term).__name__}")


def _over_living(rows: Tensor, alive: Tensor) -> Tensor:
    """Rows `(*batch, J, K)` with the mass of dead classes given to the living ones."""
    alive = alive.unsqueeze(-2).expand(rows.shape)
    mass = rows.sum(-1, keepdim=True)
    living = torch.where(alive, rows, 0.0)
    share = living / living.sum(-1, keepdim=True)
    even = alive.double() / alive.sum(-1, keepdim=True)
    share = torch.where(living.sum(-1, keepdim=True) == 0, even, share)
    return torch.where(alive.all(-1, keepdim=True), rows, (mass * share).nan_to_num(0.0))


def dense_cross_entropy(
    logits: Tensor,
    target: Target,
    *,
    weight: Tensor | None = None,
    class_mask: Tensor | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
    weight_mode: Literal["per_class", "per_sample"] = "per_class",
    normalizer: float | None = None,
) -> Tensor:
    """Return the cross-entropy in float64, class by class; differentiable in the logits.

        loss_n = -sum_k w_k q_nk log softmax(z_n)_k

    Args:
        logits: `(*batch, K)`, classes last, any float dtype.
        target: of batch shape `(*batch)`.
        weight: `(K,)` class weights, or None.
        class_mask: `(*batch, K)` bool, False for a masked class, or None.
        reduction: `"mean"`, `"sum"` or `"none"`.
        weight_mode: see `LossOptions`.
        normalizer: replaces the divisor of the mean.

    Returns:
        `(*batch)` for `"none"`, else a scalar; float64.

    Example:
        >>> import torch, softtargets as st
        >>> from softtargets import testing
        >>> target = st.Target.from_labels(torch.tensor([1]), 2)
        >>> testing.dense_cross_entropy(torch.zeros(1, 2), target)
        tensor(0.6931, dtype=torch.float64)
    """
    wide = logits.double()
    alive = wide.detach() != -torch.inf
    if class_mask is not None:
        alive = alive & class_mask
    counted = alive.any(-1) & (dense_target(target.given) != 0).any(-1)
    weights = wide.new_ones(wide.shape[-1]) if weight is None else weight.double()
    per_class = weights if weight_mode == "per_class" else torch.ones_like(weights)
    coefficients = per_class * dense_target(target, alive)
    log_probs = _log_softmax(wide, alive, counted)
    products = torch.where(coefficients == 0, 0.0, -coefficients * log_probs)
    losses = torch.where(counted, products.sum(-1), 0.0)
    given = dense_target(target.given)
    shares = (weights * given).sum(-1)
    if weight_mode == "per_sample":
        losses = losses * torch.where(counted, shares / given.sum(-1), 1.0)
    if reduction == "none":
        return losses
    if reduction == "sum" or not bool(counted.any()):
        return losses.sum()
    return losses.sum() / (shares[counted].sum() if normalizer is None else normalizer)


def _log_softmax(logits: Tensor, alive: Tensor, counted: Tensor) -> Tensor:
    """`log softmax` over the living classes; 0 in rows that do not count."""
    rows = torch.where(counted.unsqueeze(-1), logits, 0.0)
    living = alive | ~counted.unsqueeze(-1)
    rows = rows.masked_fill(~living, -torch.inf)
    top = rows.detach().amax(-1, keepdim=True)
    partition = top + (rows - top).exp().sum(-1, keepdim=True).log()
    return rows - partition
