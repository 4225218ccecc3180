"""How far classes are apart, compared with how far their samples are spread."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.representation.checks import check_labelled, check_labels, check_matrix

_BLOCK_ELEMENTS = 2**20  # rows are read in blocks of this many numbers (8 MB in float64)
_PARALLEL = 1e-26  # a mean squared distance of unit vectors that rounding alone accounts for


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSeparation:
    """How separate the classes are, in cosine and in Euclidean terms.

    Args:
        cosine_separation: R², in [0, 1]: 1 - mean cosine distance within a class / among all.
        within_scatter: trace of the within-class scatter, per sample.
        between_scatter: trace of the between-class scatter, per sample.
    """

    cosine_separation: float
    within_scatter: float
    between_scatter: float

    @property
    def scatter_ratio(self) -> float:
        """`between_scatter / within_scatter`; infinite where each class is a single point."""
        if self.within_scatter == 0:
            return float("inf")
        return self.between_scatter / self.within_scatter


def class_separation(features: Tensor, labels: Tensor) -> ClassSeparation:
    """How tightly the samples of a class lie together, and how far the classes are apart.

        R² = 1 - d_within / d_all
        d_within = mean over classes k, samples x, y of class k of       1 - cos(x, y)
        d_all    = mean over classes j, k, samples x of j and y of k of  1 - cos(x, y)

        within_scatter  = (1/N) Σ_i ‖h_i - μ_(class of i)‖²
        between_scatter = (1/N) Σ_k N_k ‖μ_k - μ‖²

    Classes weigh the same in R², whatever their size, and samples do in the scatters. R² ignores
    how long features are, the ratio of the scatters only a common factor. A pair of a sample with
    itself counts, as in the paper; a row of zeros has cosine 0 with every row.

    Args:
        features: `(N, D)`, floating point.
        labels: `(N,)`, integers from 0, at least two classes.

    Returns:
        A `ClassSeparation`, computed in float64; memory does not grow with N.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, a negative label, a single
            class, or features that are all equal or all point in one direction.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> found = class_separation(features, torch.tensor([0, 0, 1, 1]))
        >>> found
        ClassSeparation(cosine_separation=1.0, within_scatter=1.0, between_scatter=2.0)
        >>> found.scatter_ratio
        2.0

    References:
        Kornblith et al., Why Do Better Loss Functions Lead to Less Transferable Features?,
        NeurIPS 2021 (R²). The scatters are those of Fisher's discriminant analysis.
    """
    check_matrix(features, "features", "(N, D)")
    check_labels(labels, features, "features")
    check_labelled(labels)
    present, position = torch.unique(labels, return_inverse=True)
    if len(present) < 2:
        raise ValueError(
            f"`labels` must hold at least two classes, got only class {int(present[0])}; pass the "
            "samples of several"
        )
    rows, counts = features.detach(), position.bincount().double()
    within, between = _scatters(rows, position, counts / len(rows))
    unit_within, unit_between = _scatters(rows, position, 1 / len(counts), unit=True)
    if unit_within + unit_between <= _PARALLEL:
        raise ValueError(
            "`features` must differ in direction, got rows that are all parallel; nothing separates"
            " them"
        )
    return ClassSeparation(
        cosine_separation=unit_between / (unit_within + unit_between),
        within_scatter=within,
        between_scatter=between,
    )


def _scatters(
    rows: Tensor, position: Tensor, shares: Tensor | float, *, unit: bool = False
) -> tuple[float, float]:
    """Mean squared distances of rows to their class's mean, and of these to the mean of all.

    Args:
        rows: `(N, D)`.
        position: `(N,)`, int64: each row's class, none of them empty.
        shares: `(K,)` or one number for all: what a class counts.
        unit: whether to measure directions. A row of zeros has none; it then counts as 1 away from
            every row, itself included.
    """
    counts = position.bincount().double()
    sums = torch.zeros(len(counts), rows.shape[1], dtype=torch.float64, device=rows.device)
    for block, at in _blocks(rows, position, unit):
        sums.index_add_(0, at, block)
    means = sums / counts[:, None]
    spread = torch.zeros_like(counts)
    for block, at in _blocks(rows, position, unit):
        away = (block - means[at]).square().sum(-1)
        spread.index_add_(0, at, away + (block == 0).all(-1) if unit else away)
    weights = torch.zeros_like(counts) + shares
    centre = (weights[:, None] * means).sum(0)
    apart = (means - centre).square().sum(-1)
    return float((weights * spread / counts).sum()), float((weights * apart).sum())


def _blocks(rows: Tensor, position: Tensor, unit: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of rows in float64, divided by their length if `unit`, and their classes."""
    size = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    for start in range(0, len(rows), size):
        block = rows[start : start + size].double()
        if unit:
            block = _divided(block, block.abs().amax(-1))  # squares of tiny numbers vanish
            block = _divided(block, block.norm(dim=-1))
        yield block, position[start : start + size]


def _divided(block: Tensor, lengths: Tensor) -> Tensor:
    return block / lengths.where(lengths > 0, 1)[:, None]
