"""Which positions of sequences and label maps are measured."""

from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """The positions that are measured.

    Args:
        entries: of the first dimension: sequences or images.
        shape: of the positions in one; () where an entry is one row.
        drawn: how many of each entry are looked at; None: all.
        ignored: how many of them have no label.
        flat: `(N,)`, int64: the others, counted through all entries.
        labels: `(N,)`, int32.
    """

    entries: int
    shape: tuple[int, ...]
    drawn: int | None
    ignored: int
    flat: Tensor
    labels: Tensor

    @property
    def name(self) -> str:
        """What one of them is."""
        return "position" if self.shape else "row"

    @property
    def per_entry(self) -> int:
        """Positions of an entry, measured or not."""
        return prod(self.shape)

    def place(self, row: int) -> str:
        """Return where a row of predictions was, for messages."""
        return place_of(int(self.flat[row]), self.shape)


def place_of(flat: int, shape: tuple[int, ...]) -> str:
    """Return the name of a position.

    Args:
        flat: its number, counted through all entries.
        shape: of the positions of an entry.
    """
    if not shape:
        return f"row {flat}"
    entry, rest = divmod(flat, prod(shape))
    inside = cast(tuple[int, ...], np.unravel_index(rest, shape))
    return f"position {(entry, *map(int, inside))}"
