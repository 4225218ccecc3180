"""A table that comes column by column and is wanted row by row, on disk where it is large."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from softtargets.audit.predictions import block_rows

_TILE_ELEMENTS = 2**23  # numbers per tile: 32 MB in float32
_LARGEST_HELD = 2**27  # bytes kept in memory, more goes to a temporary file


class Tiles:
    """Columns written in any order, read as blocks of rows; a context manager.

    The numbers are held in tiles of some thousand rows, in each tile column after column, so that
    neither writing a column nor reading rows touches small pieces.

    Args:
        rows: N.
        columns: K.
        dtype: of the numbers.
    """

    def __init__(self, rows: int, columns: int, dtype: torch.dtype) -> None:
        self._rows, self._columns, self._dtype = rows, columns, dtype
        self.rows_per_tile = max(1, _TILE_ELEMENTS // columns)
        self._file = SpooledTemporaryFile(max_size=_LARGEST_HELD)  # noqa: SIM115 - closed by exit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, row: int, column: int, values: Tensor) -> None:
        """Write a piece of a column.

        Args:
            row: of its first number.
            column: which.
            values: `(n,)`, all in one tile.
        """
        first = row - row % self.rows_per_tile
        height = min(self.rows_per_tile, self._rows - first)
        if row + len(values) > first + height:
            raise ValueError(f"rows {row} to {row + len(values)} are in more than one tile")
        place = first * self._columns + column * height + row - first
        self._file.seek(place * self._dtype.itemsize)
        self._file.write(values.to(self._dtype).numpy().tobytes())

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield blocks `(b, K)` with the number of their first row."""
        for first in range(0, self._rows, self.rows_per_tile):
            height = min(self.rows_per_tile, self._rows - first)
            self._file.seek(first * self._columns * self._dtype.itemsize)
            content = self._file.read(height * self._columns * self._dtype.itemsize)
            tile = torch.frombuffer(bytearray(content), dtype=self._dtype)
            step = block_rows(self._columns)
            for start in range(0, height, step):
                part = tile.view(self._columns, height)[:, start : start + step]
                yield first + start, part.T.contiguous()
