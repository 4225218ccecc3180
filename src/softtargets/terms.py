"""The four kinds of term a `Target` is a sum of, each linear in its weights.

Class dimensions come last everywhere. `weight` is a `(K,)` tensor of class weights or None for
ones. `alive` is a `(*batch, K)` mask, False where a class is masked out, or None for all alive:
uniform mass and table rows are renormalised over the living classes, entries and dense rows stay.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from softtargets import arithmetic, checks


class AbstractTerm(ABC):
    """What a target needs of each of its terms; `(*batch)` values out of class-last tensors."""

    __slots__ = ()

    @abstractmethod
    def mass(self, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        """Return `sum_k weight_k q_k`."""

    @abstractmethod
    def dot(self, logits: Tensor, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        """Return `sum_k weight_k q_k z_k`; dead logits count only where mass is put on them."""

    @abstractmethod
    def add_to(self, out: Tensor, scale: Tensor, alive: Tensor | None) -> None:
        """Add `scale * q` to `out` in place."""

    @abstractmethod
    def used(self) -> Tensor:
        """Return True where the term is not zero everywhere."""

    @abstractmethod
    def mapped(self, matrix: Tensor) -> "AbstractTerm":
        """Return the term of `q @ matrix`."""

    @abstractmethod
    def joined(self, other: "AbstractTerm") -> "AbstractTerm | None":
        """Return the sum of both as one term where they are of a kind, else None."""

    @abstractmethod
    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return the term moved or cast, as `Tensor.to` does; integers keep their dtype."""

    @abstractmethod
    def __getitem__(self, key: Any) -> Self: ...

    @abstractmethod
    def __mul__(self, factor: Tensor | float) -> Self: ...

    @abstractmethod
    def floats(self) -> tuple[Tensor, ...]:
        """Return the floating point parts, into which a gradient could flow."""


def _summed(entries: Tensor) -> Tensor:
    """Sum over the last dimension, which has one entry most of the time."""
    return entries.squeeze(-1) if entries.shape[-1] == 1 else entries.sum(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Entries(AbstractTerm):
    """A few classes per sample: `sum_j weights_j * e[classes_j]`; classes may repeat.

    Attributes:
        classes: `(*batch, J)` int64.
        weights: `(*batch, J)` float32 or float64.
    """

    classes: Tensor
    weights: Tensor

    def _factors(self, weight: Tensor | None) -> Tensor:
        return self.weights if weight is None else self.weights * weight[self.classes]

    def mass(self, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        return _summed(self._factors(weight))

    def dot(self, logits: Tensor, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        factors = self._factors(weight)
        chosen = arithmetic.gathered(logits, self.classes)
        if alive is not None:
            factors = arithmetic.accumulated_where_dead(self.classes, factors, chosen)
            chosen = arithmetic.without_idle(chosen, factors)
        return _summed(factors * chosen)

    def add_to(self, out: Tensor, scale: Tensor, alive: Tensor | None) -> None:
        out.scatter_add_(-1, self.classes, (scale.unsqueeze(-1) * self.weights).to(out.dtype))

    def used(self) -> Tensor:
        return (self.weights != 0).any(-1)

    def mapped(self, matrix: Tensor) -> "TableRows":
        return TableRows(matrix, self.classes, self.weights)

    def joined(self, other: AbstractTerm) -> "Entries | None":
        if not isinstance(other, Entries):
            return None
        if other.classes.shape[-1] == 0:
            return self
        classes = torch.cat([self.classes, other.classes], -1)
        return Entries(classes, torch.cat([self.weights, other.weights], -1))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        weights = self.weights.to(*args, **kwargs)
        return replace(self, classes=self.classes.to(weights.device), weights=weights)

    def __getitem__(self, key: Any) -> Self:
        return replace(self, classes=self.classes[key], weights=self.weights[key])

    def __mul__(self, factor: Tensor | float) -> Self:
        return type(self)(self.classes, self.weights * arithmetic.column(factor))

    def floats(self) -> tuple[Tensor, ...]:
        return (self.weights,)


@dataclass(frozen=True, slots=True, eq=False)
class TableRows(AbstractTerm):
    """Rows of a table that all samples share: `sum_j weights_j * table[rows_j]`.

    Attributes:
        table: `(R, K)` floating point: a prior, an OLS matrix, an inverse noise matrix.
        rows: `(*batch, J)` int64.
        weights: `(*batch, J)` float32 or float64.
    """

    table: Tensor
    rows: Tensor
    weights: Tensor

    def _each(self, alive: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        for j in range(self.rows.shape[-1]):
            values = self._chosen(self.rows[..., j]).to(self.weights.dtype)
            yield (
                values if alive is None else arithmetic.renormalised(values, alive),
                self.weights[..., j],
            )

    def _chosen(self, rows: Tensor) -> Tensor:
        """Rows of the table, `(*batch, K)`, or `(K,)` for all where there is but one."""
        if len(self.table) == 1:
            return self.table[0]
        # Several times faster than indexing with a tensor of rows.
        return self.table.index_select(0, rows.reshape(-1)).reshape(
            *rows.shape, self.table.shape[1]
        )

    def mass(self, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        if weight is None and alive is None and self.rows.numel() >= len(self.table):
            sums = self.table.sum(-1, dtype=self.weights.dtype)
            return (self.weights * sums[self.rows]).sum(-1)
        total = torch.zeros_like(self.weights[..., 0])
        for values, weights in self._each(alive):
            total = total + weights * (values if weight is None else values * weight).sum(-1)
        return total

    def dot(self, logits: Tensor, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        total = torch.zeros_like(logits[..., 0])
        safe = logits if alive is None else torch.where(alive, logits, 0)
        # Rows gathered for this product alone are its memory too: one N x K buffer instead of two.
        reused = len(self.table) > 1 and self.weights.dtype == logits.dtype and weight is None
        reused = reused and not (torch.is_grad_enabled() or checks.traced())
        for values, weights in self._each(alive):
            if reused:
                total = total + weights * torch.mul(values, safe, out=values).sum(-1)
            else:
                total = total + weights * arithmetic.weighted_dot(values, safe, weight)
        return total

    def add_to(self, out: Tensor, scale: Tensor, alive: Tensor | None) -> None:
        for values, weights in self._each(alive):
            out.addcmul_((scale * weights).unsqueeze(-1).to(out.dtype), values.to(out.dtype))

    def used(self) -> Tensor:
        return (self.weights != 0).any(-1)

    def mapped(self, matrix: Tensor) -> "TableRows":
        return replace(self, table=arithmetic.matmul(self.table, matrix))

    def joined(self, other: AbstractTerm) -> "TableRows | None":
        if not isinstance(other, TableRows) or other.table is not self.table:
            return None
        rows = torch.cat([self.rows, other.rows], -1)
        return TableRows(self.table, rows, torch.cat([self.weights, other.weights], -1))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        weights = self.weights.to(*args, **kwargs)
        table = self.table.to(*args, **kwargs)
        return replace(self, table=table, rows=self.rows.to(weights.device), weights=weights)

    def __getitem__(self, key: Any) -> Self:
        return replace(self, rows=self.rows[key], weights=self.weights[key])

    def __mul__(self, factor: Tensor | float) -> Self:
        return replace(self, weights=self.weights * arithmetic.column(factor))

    def floats(self) -> tuple[Tensor, ...]:
        return (self.table, self.weights)


@dataclass(frozen=True, slots=True, eq=False)
class Uniform(AbstractTerm):
    """Mass spread evenly over all classes: `(weights / K) * 1`.

    Attributes:
        weights: `(*batch)` float32 or float64, the mass.
        num_classes: K.
    """

    weights: Tensor
    num_classes: int

    def mass(self, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        if weight is None:
            return self.weights
        if alive is None:
            return self.weights * weight.mean()
        return self.weights * (alive * weight).sum(-1) / alive.sum(-1).clamp(min=1)

    def dot(self, logits: Tensor, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        count: Tensor | int = self.num_classes
        if alive is not None:
            logits, count = torch.where(alive, logits, 0), alive.sum(-1).clamp(min=1)
        return self.weights * (logits if weight is None else logits * weight).sum(-1) / count

    def add_to(self, out: Tensor, scale: Tensor, alive: Tensor | None) -> None:
        spread = (scale * self.weights).unsqueeze(-1)
        if alive is None:
            out += spread / self.num_classes
        else:
            out += spread / alive.sum(-1, keepdim=True).clamp(min=1) * alive

    def used(self) -> Tensor:
        return self.weights != 0

    def mapped(self, matrix: Tensor) -> TableRows:
        rows = torch.zeros_like(self.weights, dtype=torch.long).unsqueeze(-1)
        wide = torch.promote_types(matrix.dtype, self.weights.dtype)
        mean = matrix.mean(0, keepdim=True, dtype=wide)
        return TableRows(mean, rows, self.weights.unsqueeze(-1))

    def joined(self, other: AbstractTerm) -> "Uniform | None":
        if not isinstance(other, Uniform):
            return None
        return Uniform(self.weights + other.weights, self.num_classes)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        return replace(self, weights=self.weights.to(*args, **kwargs))

    def __getitem__(self, key: Any) -> Self:
        return replace(self, weights=self.weights[key])

    def __mul__(self, factor: Tensor | float) -> Self:
        return replace(self, weights=self.weights * factor)

    def floats(self) -> tuple[Tensor, ...]:
        return (self.weights,)


@dataclass(frozen=True, slots=True, eq=False)
class DenseRows(AbstractTerm):
    """Full rows that the user or a teacher brought: `weights * values`.

    Attributes:
        values: `(*batch, K)` floating point, kept as it came.
        weights: `(*batch)` float32 or float64.
        through: where `values` is `before @ table`, these two: `(*batch, K)` and `(K, K)`. Mixed
            table rows are renormalised over living classes as single ones are, each by itself.
    """

    values: Tensor
    weights: Tensor
    through: tuple[Tensor, Tensor] | None = None

    def living_values(self, alive: Tensor | None) -> Tensor:
        """Return the rows, mixed table rows renormalised over living classes."""
        values = self.values.to(self.weights.dtype)
        if alive is None or self.through is None:
            return values
        before, table = (part.to(self.weights.dtype) for part in self.through)
        mass, living = table.sum(-1), arithmetic.matmul(alive.to(table.dtype), table.T)
        count = alive.sum(-1, keepdim=True)
        lost = living == 0
        kept = before * torch.where(lost, 0, mass / torch.where(lost, 1, living))
        spread = (before * torch.where(lost, mass, 0)).sum(-1, keepdim=True) / count.clamp(min=1)
        return torch.where(
            count == alive.shape[-1], values, alive * (arithmetic.matmul(kept, table) + spread)
        )

    def mass(self, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        if weight is None and alive is None:
            return self.weights * self.values.sum(-1, dtype=self.weights.dtype)
        values = self.living_values(alive)
        return self.weights * (values if weight is None else values * weight).sum(-1)

    def dot(self, logits: Tensor, weight: Tensor | None, alive: Tensor | None) -> Tensor:
        values = self.living_values(alive)
        if weight is not None:
            values = values * weight
        if alive is not None:
            # A row of weight 0 meets no logit at all.
            logits = arithmetic.without_idle(logits, values * self.weights.unsqueeze(-1))
        return self.weights * (values * logits).sum(-1)

    def add_to(self, out: Tensor, scale: Tensor, alive: Tensor | None) -> None:
        values = self.values if alive is None else self.living_values(alive)
        out += (scale * self.weights).unsqueeze(-1) * values

    def used(self) -> Tensor:
        return (self.weights != 0) & (self.values != 0).any(-1)

    def mapped(self, matrix: Tensor) -> "DenseRows":
        before, table = self.values, matrix
        if self.through is not None:
            before, table = self.through[0], arithmetic.matmul(self.through[1], matrix)
        return replace(self, values=arithmetic.matmul(self.values, matrix), through=(before, table))

    def joined(self, other: AbstractTerm) -> None:
        return None

    def to(self, *args: Any, **kwargs: Any) -> Self:
        weights = self.weights.to(*args, **kwargs)
        values, through = self.values.to(*args, **kwargs), None
        if self.through is not None:
            before, table = (part.to(*args, **kwargs) for part in self.through)
            through = before, table
            if values.dtype != self.values.dtype:
                values = arithmetic.matmul(before, table)
        return replace(self, values=values, weights=weights, through=through)

    def __getitem__(self, key: Any) -> Self:
        through = None if self.through is None else (self.through[0][key], self.through[1])
        return replace(self, values=self.values[key], weights=self.weights[key], through=through)

    def __mul__(self, factor: Tensor | float) -> Self:
        return replace(self, weights=self.weights * factor)

    def floats(self) -> tuple[Tensor, ...]:
        return (self.values, self.weights, *(self.through or ()))


def no_entries(per_sample: Tensor) -> Entries:
    """No single entries, for the batch shape, dtype and device of `per_sample`."""
    weights = per_sample.unsqueeze(-1)[..., :0]
    return Entries(torch.zeros_like(weights, dtype=torch.long), weights)


def joined(terms: tuple[AbstractTerm, ...]) -> tuple[AbstractTerm, ...]:
    """Sum terms that are of a kind: uniform masses, rows of the same table."""
    result: list[AbstractTerm] = []
    for term in terms:
        for i, seen in enumerate(result):
            both = seen.joined(term)
            if both is not None:
                result[i] = both
                break
        else:
            result.append(term)
    return tuple(result)
