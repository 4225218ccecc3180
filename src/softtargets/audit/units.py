"""Which predictions are drawn together in intervals: those of one sequence, image or cluster.

What lies in one of them is not independent. A mean over N predictions is the ratio of two sums over
units, so that to first order, with d_u the sum of a unit's deviations from the mean,

    variance of the mean = U / (U - 1) sum_u d_u^2 / N^2
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_UNITS_AT_ONCE = 2**12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """The unit of each prediction.

    Args:
        name: what a unit is: "sequence", "image" or "cluster".
        index: `(N,)`, whole numbers: the unit of each prediction, 0 .. U - 1.
        where: file and column that say so, for messages.
        column: its name, "" where the shape says so.
    """

    name: str
    index: Tensor
    where: str
    column: str = ""

    def __len__(self) -> int:
        return int(self.index.max()) + 1


def unit_values(values: Tensor, units: Tensor) -> Tensor:
    """`(U,)` values with the mean of `(N,)` ones, and the scatter that this mean has.

    Their standard deviation over the root of U is that of the mean when units are drawn.

    Args:
        values: finite.
        units: `(N,)`: the unit of each, 0 .. U - 1.
    """
    mean = values.mean()
    sums = torch.bincount(units, values - mean)
    return mean + sums * (len(sums) / len(values))


def unit_covariance(units: Tensor, parts: Iterable[tuple[Tensor, Tensor]], width: int) -> Tensor:
    """`(width, width)`: covariance of sums over N predictions in cells, divided by N.

    Args:
        units: `(N,)`: the unit of each prediction.
        parts: cells `(N,)`, 0 .. width - 1, and values `(N,)`, of one or several sums each
            prediction adds to.
        width: number of cells.
    """
    order = None if bool((units.diff() >= 0).all()) else units.argsort(stable=True)
    taken = [(units, *part) for part in parts]
    if order is not None:
        taken = [(units[order], cells[order], values[order]) for _, cells, values in taken]
    total = Moments.none(width)
    for sums, rows in _unit_sums(taken, width):
        total = total + Moments.of(sums, rows)
    return total.covariance()


def _unit_sums(
    parts: list[tuple[Tensor, Tensor, Tensor]], width: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """`(u, width)` sums of some units and `(u,)` their predictions, for ascending units."""
    units = parts[0][0]
    count = int(units[-1]) + 1
    for first in range(0, count, _UNITS_AT_ONCE):
        height = min(_UNITS_AT_ONCE, count - first)
        start, end = torch.searchsorted(units, torch.tensor([first, first + height])).tolist()
        rows = slice(start, end)
        local = units[rows].long() - first
        sums = torch.zeros(height * width, dtype=torch.float64)
        for _, cells, values in parts:
            sums += torch.bincount(local * width + cells[rows], values[rows], height * width)
        yield sums.view(height, width), torch.bincount(local, minlength=height).double()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sums over units of products of a unit's sums: what covariances are made of; they add up.

    Args:
        products: `(m, m)`: of the sums with each other.
        counted: `(m,)`: of the sums with the number of predictions.
        sums: `(m,)`: the sums themselves.
        squares: of the number of predictions with itself.
        rows: predictions.
        units: U.
    """

    products: Tensor
    counted: Tensor
    sums: Tensor
    squares: float
    rows: float
    units: int

    @classmethod
    def none(cls, width: int) -> "Moments":
        """The moments of no units."""
        return cls.of(torch.zeros(0, width).double(), torch.zeros(0).double())

    @classmethod
    def of(cls, sums: Tensor, rows: Tensor) -> "Moments":
        """The moments of some units.

        Args:
            sums: `(u, m)`, float64.
            rows: `(u,)`, float64: their predictions.
        """
        return cls(
            products=sums.T @ sums,
            counted=rows @ sums,
            sums=sums.sum(0),
            squares=float(rows.square().sum()),
            rows=float(rows.sum()),
            units=int((rows > 0).sum()),
        )

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            products=self.products + other.products,
            counted=self.counted + other.counted,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
            rows=self.rows + other.rows,
            units=self.units + other.units,
        )

    def covariance(self) -> Tensor:
        """`(m, m)`: that of the sums over the number of predictions."""
        means = self.sums / self.rows
        crossed = means.outer(self.counted)
        total = self.products - crossed - crossed.T + self.squares * means.outer(means)
        return total * (self.units / max(1, self.units - 1) / self.rows**2)


class Draws:
    """Sums over units under normal weights, drawn as units pass: of more sums than products allow.

        sum_u w_u (sums of u - means * predictions of u) / N,   w_u standard normal

    has the covariance that `Moments` has.

    Args:
        width: m.
        draws: D.
        seed: of the weights.

    References:
        Praestgaard and Wellner, Exchangeably weighted bootstraps of the general empirical process,
        1993.
    """

    def __init__(self, width: int, draws: int, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._weighted = torch.zeros(width, draws, dtype=torch.float64)
        self._counted = torch.zeros(draws, dtype=torch.float64)
        self._sums = torch.zeros(width, dtype=torch.float64)
        self._rows, self._units = 0.0, 0

    def add(self, sums: Tensor, rows: Tensor) -> None:
        """Add `(u, m)` sums of units and `(u,)` their predictions, both float64."""
        shape = (len(rows), len(self._counted))
        weights = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        self._weighted.addmm_(sums.T, weights)
        self._counted += rows @ weights
        self._sums += sums.sum(0)
        self._rows += float(rows.sum())
        self._units += len(rows)

    def joined(self, other: "Draws") -> "Draws":
        """The draws of both sets of units; equal weights of theirs fall into different draws."""
        both = Draws(len(self._sums), len(self._counted))
        both._weighted = self._weighted + other._weighted.roll(1, 1)
        both._counted = self._counted + other._counted.roll(1)
        both._sums = self._sums + other._sums
        both._rows, both._units = self._rows + other._rows, self._units + other._units
        return both

    def deviations(self) -> Tensor:
        """`(m, D)`: of the sums over the number of predictions."""
        deviations = self._weighted - (self._sums / self._rows).outer(self._counted)
        factor = (self._units / max(1, self._units - 1)) ** 0.5
        return deviations.mul_(factor / self._rows)


def effective_counts(
    units: Tensor, cells: Tensor, values: Tensor, outcomes: Tensor, width: int
) -> Tensor:
    """`(width,)`: how many independent outcomes tell as much as those of each cell do.

        n = p (1 - p) / variance of the mean of the values,   at most the outcomes there are

    Where all outcomes are equal, or come from one unit, their scatter tells nothing: there a unit
    counts as one.

    Args:
        units: `(N,)`: the unit of each prediction.
        cells: `(N,)`, 0 .. width - 1: such as its bin or class.
        values: `(N,)`: whose mean in each cell is asked about.
        outcomes: `(N,)`, float64: 0 or 1, p is their share.
        width: number of cells.

    References:
        Kish, Survey Sampling, 1965 (the design effect).
    """
    counts = torch.bincount(cells, minlength=width).double()
    share = torch.bincount(cells, outcomes, width) / counts
    residuals = values - (torch.bincount(cells, values, width) / counts)[cells]
    key, place = torch.unique(units.long() * width + cells, return_inverse=True)
    squares = torch.bincount(key % width, torch.bincount(place, residuals).square(), width)
    present = torch.bincount(key % width, minlength=width).double()
    variance = squares / counts.square() * present / (present - 1)
    expected = share * (1 - share)
    told = torch.where((expected > 0) & (present > 1), expected / variance, present)
    return torch.minimum(told, counts).clamp_min(1)
