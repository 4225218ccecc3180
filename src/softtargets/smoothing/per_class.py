"""What is given class by class: a rate for each, and tables of distributions."""

from dataclasses import replace

import torch
from torch import Tensor

from softtargets import arithmetic, checks
from softtargets.target import Target
from softtargets.terms import AbstractTerm, DenseRows, Entries, TableRows, Uniform, no_entries


def blend_by_class(target: Target, rates: Tensor, prior: Tensor | None, policy: str) -> Target:
    """Return `sum_k g_k [(1 - rates_k) e_k + rates_k prior_k]`, marked as smoothed.

    Args:
        target: g: labels, mixed labels or rows of probabilities.
        rates: `(K,)`.
        prior: None (uniform), `(K,)`, or `(K, K)` with one row per label.
        policy: named in errors.

    Raises:
        TypeError: the target holds other terms.
        ValueError: another number of classes.
    """
    if rates.shape != (target.num_classes,):
        raise ValueError(
            f"{policy} has rates for {len(rates)} classes and `target` has {target.num_classes}; "
            "build the policy for this task"
        )
    rates = rates.to(target.device, torch.promote_types(rates.dtype, target.dtype))
    kept, moved = scaled(target, 1 - rates, policy), scaled(target, rates, policy)
    mass = moved.mass()
    if prior is not None and prior.dim() == 2:
        away = moved.map_classes(prior)
    else:
        term: AbstractTerm = Uniform(mass, target.num_classes)
        if prior is not None:
            rows = torch.zeros_like(mass, dtype=torch.long).unsqueeze(-1)
            term = TableRows(prior.to(mass.device).unsqueeze(0), rows, mass.unsqueeze(-1))
        away = replace(moved, entries=no_entries(mass), others=(term,))
    return (kept + away).smoothed_from(target)


def scaled(target: Target, factors: Tensor, policy: str) -> Target:
    """Return the target with each class's entry multiplied by its factor.

    Args:
        target: labels, mixed labels or rows of probabilities.
        factors: `(K,)`.
        policy: named in the error.

    Raises:
        TypeError: the target holds other terms.
    """
    weights = target.entries.weights * factors[target.entries.classes]
    entries = Entries(target.entries.classes, weights.to(target.dtype))
    others: list[AbstractTerm] = []
    for term in target.others:
        if not isinstance(term, DenseRows) or term.through is not None:
            raise TypeError(
                "`target` must be labels, mixed labels or rows of probabilities for rates by class "
                f"in {policy}, got one with further terms; apply the policy before other changes"
            )
        others.append(replace(term, values=term.values * factors.to(target.dtype)))
    return replace(target, entries=entries, others=tuple(others))


def rows_in(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return distributions in a dtype at least as wide, rounded rows summing to 1 again.

    Args:
        matrix: `(K,)` or `(K, K)` from `kept_rows`, or cast since, by `.half()` for instance.
        dtype: of the target.
    """
    wider = torch.promote_types(matrix.dtype, dtype)
    return matrix if wider == matrix.dtype else arithmetic.unit_rows(matrix, dtype)


def kept_rows(matrix: Tensor, name: str) -> Tensor:
    """Return a copy of distributions to keep, rows off by rounding summing to 1 again, or raise.

    Args:
        matrix: `(K,)` or `(K, K)` floating point.
        name: what the error calls it.
    """
    checks.check_distribution_rows(matrix, name)
    rows = matrix.detach()
    return arithmetic.unit_rows(rows.double(), torch.float64).to(rows.dtype, copy=True)
