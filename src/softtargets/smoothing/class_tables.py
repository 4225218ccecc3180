"""The soft labels of all classes, one row each: how they are kept and how an epoch renews them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

from softtargets.smoothing.class_sums import AbstractSums, DenseSums, row_blocks
from softtargets.target import Target
from softtargets.terms import Uniform, joined

Rows = tuple[Tensor, ...]
Initial = Literal["uniform", "zeros"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """Which rows change at the end of an epoch, and how much of the old row stays.

    Attributes:
        momentum: share of the old row that is kept.
        min_count: samples a class needs for its row to change.
        max_confidence: a row whose maximum has passed this stays; 1.0 never stops.
    """

    momentum: float
    min_count: int
    max_confidence: float

    def changed(self, counts: Tensor, old: Tensor) -> Tensor:
        """Return `(n)` bool for these counts and old rows `(n, K)`, or what is largest in them."""
        changed = counts >= self.min_count
        if self.max_confidence == 1:
            return changed
        # Not `<=`, which would keep a row of NaN for ever.
        return changed & ~(old.amax(-1) > self.max_confidence)

    def mixed(self, old: Tensor, fresh: Tensor) -> Tensor:
        """Return `momentum * old + (1 - momentum) * fresh`, row by row."""
        if self.momentum == 0:
            return fresh
        kept = self.kept(old)
        return kept * torch.where(kept == 0, 0, old) + (1 - kept) * fresh

    def kept(self, old: Tensor) -> Tensor:
        """Return `(n, 1)`; a row of zeros or NaN holds nothing that momentum could keep."""
        low, high = old.amin(-1, keepdim=True), old.amax(-1, keepdim=True)
        usable = low.isfinite() & high.isfinite() & ~((low == 0) & (high == 0))
        return self.momentum * usable.to(old.dtype)


class AbstractClassTable(ABC):
    """A way to keep a distribution per class, and the running sums it is renewed from.

    The rows themselves are buffers of the module that owns the table: a tuple of tensors in the
    order of `row_names`, handed in and returned, replaced and never changed in place.

    Attributes:
        row_names: what the owner calls the buffers.
        sums: the running sums of this epoch.
    """

    row_names: tuple[str, ...]
    sums: AbstractSums

    @abstractmethod
    def initial_rows(self, dtype: torch.dtype) -> Rows:
        """Return the rows before the first epoch, for targets of `dtype`."""

    @abstractmethod
    def refitted(self, rows: Rows, dtype: torch.dtype) -> Rows | None:
        """Return rows whose mass is exact in `dtype`, as after `.half()`; None where it is."""

    @abstractmethod
    def soft(self, rows: Rows, target: Target, logits: Tensor | None) -> Target:
        """Return `target` with each class replaced by its row.

        Args:
            rows: refitted to the target's dtype.
            target: labels, mixed labels or rows of probabilities.
            logits: `(*batch, K)` or None; `-inf` marks masked classes.
        """

    @abstractmethod
    def matrix(self, rows: Rows) -> Tensor:
        """Return the `(K, K)` matrix of all rows."""

    @abstractmethod
    def renewed(self, rows: Rows, rules: RowRules) -> Rows:
        """Return new rows by this epoch's sums."""


@final
class DenseTable(AbstractClassTable):
    """A `(K, K)` matrix in float32, or float64 once float64 targets or samples came."""

    def __init__(self, num_classes: int, initial: Initial) -> None:
        self.row_names = ("matrix",)
        self.sums: DenseSums = DenseSums(num_classes)
        self._num_classes = num_classes
        self._initial = initial

    def initial_rows(self, dtype: torch.dtype) -> Rows:
        value = 1 / self._num_classes if self._initial == "uniform" else 0.0
        return (torch.full((self._num_classes, self._num_classes), value, dtype=dtype),)

    def refitted(self, rows: Rows, dtype: torch.dtype) -> Rows | None:
        (matrix,) = rows
        if torch.promote_types(matrix.dtype, dtype) == matrix.dtype:
            return None
        wide = matrix.to(dtype)
        total = wide.sum(-1, keepdim=True)
        return (wide / torch.where(total == 0, 1, total),)

    def soft(self, rows: Rows, target: Target, logits: Tensor | None) -> Target:
        return target.map_classes(rows[0])

    def matrix(self, rows: Rows) -> Tensor:
        return rows[0]

    def renewed(self, rows: Rows, rules: RowRules) -> Rows:
        (matrix,) = rows
        dtype = torch.promote_types(matrix.dtype, self.sums.dtype)
        new = torch.empty_like(matrix, dtype=dtype)
        counts = self.sums.counts().to(matrix.device)
        for part in row_blocks(*matrix.shape):
            old = matrix[part].to(dtype)
            changed = rules.changed(counts[part], old).unsqueeze(-1)
            mixed = rules.mixed(old, _normalised(self.sums.total(part, old)))
            new[part] = torch.where(changed, mixed, old)
        return (new,)


def _normalised(sums: Tensor) -> Tensor:
    return sums / sums.sum(-1, keepdim=True)


@final
class BFloat16Table(AbstractClassTable):
    """A `(K, K)` matrix in bfloat16 and, per row, the mass that rounding took from it.

    That rest is spread evenly over all classes, so that every row has the mass it should. A row
    is rounded to nearest, and towards zero where its mass would pass 1: no entry is negative.
    """

    def __init__(self, num_classes: int, initial: Initial) -> None:
        self.row_names = ("matrix", "rest")
        self.sums: DenseSums = DenseSums(num_classes)
        self._num_classes = num_classes
        self._initial = initial

    def initial_rows(self, dtype: torch.dtype) -> Rows:
        value = 1 / self._num_classes if self._initial == "uniform" else 0.0
        rounded = _towards_zero(torch.tensor(value))
        matrix = rounded.repeat(self._num_classes, self._num_classes)
        return matrix, _rest(matrix).to(dtype)

    def refitted(self, rows: Rows, dtype: torch.dtype) -> Rows | None:
        matrix, rest = rows
        wide = torch.promote_types(torch.promote_types(rest.dtype, dtype), torch.float32)
        if matrix.dtype == torch.bfloat16 and rest.dtype == wide:
            return None
        matrix = matrix.to(torch.bfloat16)
        return matrix, _rest(matrix).to(wide)

    def soft(self, rows: Rows, target: Target, logits: Tensor | None) -> Target:
        matrix, rest = rows
        soft = target.map_classes(matrix)
        lost = Uniform(target.mass(rest.to(target.device, target.dtype)), self._num_classes)
        return replace(soft, others=joined((*soft.others, lost)))

    def matrix(self, rows: Rows) -> Tensor:
        return rows[0]

    def renewed(self, rows: Rows, rules: RowRules) -> Rows:
        matrix, rest = rows
        dtype = torch.promote_types(rest.dtype, self.sums.dtype)
        new, new_rest = torch.empty_like(matrix), torch.empty_like(rest, dtype=dtype)
        counts = self.sums.counts().to(matrix.device)
        for part in row_blocks(*matrix.shape):
            old = matrix[part].to(dtype) + rest[part].to(dtype).unsqueeze(-1) / self._num_classes
            changed = rules.changed(counts[part], old)
            fresh = _normalised(self.sums.total(part, old))
            rounded = _rounded(rules.mixed(old, fresh))
            new[part] = torch.where(changed.unsqueeze(-1), rounded, matrix[part])
            new_rest[part] = torch.where(changed, _rest(rounded).to(dtype), rest[part].to(dtype))
        return new, new_rest


def _towards_zero(values: Tensor) -> Tensor:
    """Round to bfloat16: its bits are the upper half of a float32's."""
    return (values.float().view(torch.int32) & -(1 << 16)).view(torch.float32).bfloat16()


def _rounded(rows: Tensor) -> Tensor:
    nearest = rows.bfloat16()
    over = nearest.sum(-1, keepdim=True, dtype=torch.float64) > 1
    return torch.where(over, _towards_zero(rows), nearest)


def _rest(matrix: Tensor) -> Tensor:
    """Return what each row lacks of mass 1, in float64; a row of zeros lacks nothing."""
    rest = torch.empty(len(matrix), dtype=torch.float64, device=matrix.device)
    for part in row_blocks(*matrix.shape):
        total = matrix[part].sum(-1, dtype=torch.float64)
        rest[part] = torch.where(total == 0, 0, 1 - total)
    return rest
