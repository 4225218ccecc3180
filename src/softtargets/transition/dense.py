"""Any transition matrix, held whole."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softtargets import arithmetic, checks
from softtargets.transition.base import (
    AbstractTransition,
    log_add,
    log_total,
    masked,
    with_spread,
)

# exp of anything lower, times a small entry of T, leaves the normal numbers of float64.
_LOWEST = -600.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class DenseTransition(AbstractTransition):
    r"""Noise by a matrix: estimated, counted or written down.

    Args:
        matrix: `(K, K)` floating point, `matrix[i, j] = P(noisy j | clean i)`; rows are
            distributions, and are divided by their sum, which must be 1 within 1e-4 (half
            precision: 2e-2).

    Raises:
        TypeError: the matrix is not floating point.
        ValueError: it is not square, or a row is no distribution.

    Example:
        >>> import torch, softtargets as st
        >>> noise = st.noise.DenseTransition(torch.tensor([[0.9, 0.1], [0.3, 0.7]]))
        >>> noise.solve(noise.apply(torch.tensor([0.25, 0.75])))
        tensor([0.2500, 0.7500])
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        matrix = self.matrix
        checks.check_floating(matrix, "transition")
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
            raise ValueError(
                "`transition` must have shape (K, K), one row per clean class and at least 2, got "
                f"{tuple(matrix.shape)}"
            )
        checks.check_distribution_rows(matrix, "transition")
        wide = matrix.detach().double()
        kept = torch.promote_types(matrix.dtype, torch.float32)
        rows = (wide / wide.sum(-1, keepdim=True)).to(kept)
        object.__setattr__(self, "matrix", rows)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """The number of classes, K."""
        return len(self.matrix)

    @property
    def table(self) -> Tensor:
        """The matrix."""
        return self.matrix

    def holding(self, table: Tensor | None) -> "DenseTransition":
        """Return a transition around a matrix that was checked before it was moved or cast."""
        held = object.__new__(DenseTransition)
        object.__setattr__(held, "matrix", table)
        return held

    def dense(self) -> Tensor:
        wide = self.matrix.double()
        return wide / wide.sum(-1, keepdim=True)

    def apply(self, probs: Tensor) -> Tensor:
        probs = self._checked(probs)
        return arithmetic.matmul(probs, self.dense().to(probs))

    def solve(self, probs: Tensor) -> Tensor:
        self.check_invertible()
        probs = self._checked(probs)
        return arithmetic.matmul(probs, self.inverted().to(probs))

    def singular_values(self) -> Tensor:
        values: Tensor = torch.linalg.svdvals(self.dense())
        return values

    def label_logits(self, logits: Tensor, labels: Tensor, partition: Tensor) -> Tensor:
        columns = self.dense().to(logits).T.log()
        sums = logits + columns.index_select(0, labels.reshape(-1)).reshape(logits.shape)
        return log_total(sums).squeeze(-1)

    def noisy_logits(self, logits: Tensor, alive: Tensor | None = None) -> Tensor:
        matrix = self.dense().to(logits.device)
        wide, diagonal = logits.double(), matrix.diagonal()
        others = matrix - torch.diag(diagonal)
        if alive is None:
            return _noisy(wide, diagonal, others).to(logits.dtype)
        left = arithmetic.matmul(alive.double(), matrix.T)
        lost = alive & (left == 0)
        kept = torch.where(lost, -torch.inf, wide - torch.where(lost, 1, left).log())
        noisy = masked(_noisy(masked(kept, alive), diagonal, others), alive)
        return with_spread(noisy, wide, lost, alive).to(logits.dtype)


def _noisy(logits: Tensor, diagonal: Tensor, others: Tensor) -> Tensor:
    """Return `log(exp(z) @ (diag(diagonal) + others))` in float64.

    The way of a class to itself stays in log space: it must never vanish. The rest is a product of
    matrices, in which what is below exp(-600) of the largest class is 0.
    """
    top = logits.detach().amax(-1, keepdim=True)
    top = torch.where(top == -torch.inf, 0, top)
    shifted = logits - top
    shares = torch.where(shifted < _LOWEST, 0, shifted.clamp(min=_LOWEST).exp())
    product = arithmetic.matmul(shares, others)
    nothing = product <= 0
    moved = torch.where(nothing, -torch.inf, torch.where(nothing, 1, product).log() + top)
    return log_add(logits + diagonal.log(), moved)
