"""Sums over the rows of each unit, given out and forgotten when its last row has passed."""

import torch
from torch import Tensor


class OpenSums:
    """Sums of units of which some rows have passed and others are to come.

    Args:
        counts: `(U,)`, int64: the rows of each unit.
        most: the most units that are unfinished at a time; see `most_open`.
        width: how many sums a unit has.
    """

    def __init__(self, counts: Tensor, most: int, width: int) -> None:
        self._missing = counts.clone()
        self._sums = torch.empty(most, width, dtype=torch.float64)
        self._place = torch.full((len(counts),), -1)  # of a unit's sums, -1 where none are held
        self._free = torch.arange(most)
        self._taken = 0  # places of `_free` in use, from its start

    def add(self, units: Tensor, sums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Add what a block has of some units.

        Args:
            units: `(u,)`, int64, none of them twice.
            sums: `(u, width)`, float64: over their rows in the block, overwritten.
            rows: `(u,)`, int64: how many rows.

        Returns:
            The units whose last row was among these, and their sums.
        """
        place = self._place[units]
        held = place >= 0
        sums[held] += self._sums[place[held]]
        self._missing[units] -= rows
        done = self._missing[units] == 0
        self._give_back(units[done & held])
        self._take(units[~done & ~held])
        self._sums[self._place[units[~done]]] = sums[~done]
        return units[done], sums[done]

    def _give_back(self, units: Tensor) -> None:
        self._taken -= len(units)
        self._free[self._taken : self._taken + len(units)] = self._place[units]
        self._place[units] = -1

    def _take(self, units: Tensor) -> None:
        self._place[units] = self._free[self._taken : self._taken + len(units)]
        self._taken += len(units)


def ends_of(index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the first and the last row of each unit, `(U,)` int64.

    Args:
        index: `(N,)`: the unit of each row, all of 0 .. U - 1.
        count: U.
    """
    row, index = torch.arange(len(index)), index.long()
    first = torch.full((count,), len(index)).scatter_reduce_(0, index, row, "amin")
    last = torch.zeros(count, dtype=torch.int64).scatter_reduce_(0, index, row, "amax")
    return first, last


def most_open(first: Tensor, last: Tensor, rows: int) -> int:
    """Return the most units of which some rows have passed and others are to come.

    Args:
        first: `(U,)`: the first row of each unit.
        last: `(U,)`: the last one.
        rows: of all units.
    """
    steps = torch.zeros(rows, dtype=torch.int64)
    steps[first] += 1
    steps[last] -= 1
    return int(steps.cumsum(0).max())
