"""Parquet files, read in batches of rows with pyarrow."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softtargets.audit.arrays import reason
from softtargets.audit.errors import AuditError
from softtargets.audit.groups import group_rows
from softtargets.audit.naming import Keys
from softtargets.audit.predictions import Block, Predictions, block_rows
from softtargets.audit.tables import Columns, choose_columns
from softtargets.audit.tiles import Tiles

_BUFFER = 2**16  # bytes read ahead per column; without, whole columns of a row group are held
_NAMES_AT_ONCE = 2**16  # of groups
_COLUMNS_AT_ONCE = 32  # each open column holds pages and a dictionary of a megabyte


def open_parquet(path: Path, keys: Keys) -> Predictions:
    """Return the predictions of a Parquet file: a column per class, or one column of lists.

    Args:
        path: the file.
        keys: what the user says.

    Raises:
        AuditError: pyarrow is missing, the file is damaged, or columns do not fit.
    """
    try:
        file = _File(path)
    except ImportError as error:
        raise AuditError(
            f"{path}: Parquet files need pyarrow; pip install 'softtargets[parquet]'"
        ) from error
    if not file.num_rows:
        raise AuditError(f"{path} holds no rows")
    columns = choose_columns(str(path), file.schema.names, keys)
    where = f"{path}: {columns.name}"
    for name in (*columns.scores, columns.labels):
        file.check_type(name, whole=name == columns.labels)
    lists = file.is_list(columns.scores[0])
    if len(columns.scores) == 1 and not lists:
        raise AuditError(
            f"{where} must be a column of lists, or one column per class, {columns.name}_0, "
            f"{columns.name}_1 and so on"
        )
    num_classes = file.list_length(columns) if lists else len(columns.scores)
    grouping = None
    if columns.group is not None:
        file.check_names(columns.group)
        names = file.names(columns.group)
        grouping = group_rows(f"{path}: {columns.group}", columns.group, names, num_classes)
    return Predictions(
        path=path,
        key=columns.name,
        kind=columns.kind,
        num_classes=num_classes,
        num_rows=file.num_rows,
        note="",
        labels=f"{path}: {columns.labels}",
        read=lambda: file.lists(columns, num_classes) if lists else file.columns(columns),
        grouping=grouping,
    )


class _File:
    """A Parquet file. What pyarrow raises for damage becomes the audit's error."""

    def __init__(self, path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        self._arrow: Any = pyarrow
        self._path = path
        try:
            self._file = parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
            self.schema: Any = self._file.schema_arrow
        except (pyarrow.ArrowException, OSError) as error:
            raise AuditError(f"{path} is no whole Parquet file ({reason(error)})") from error
        self.num_rows: int = self._file.metadata.num_rows

    def is_list(self, name: str) -> bool:
        types, kind = self._arrow.types, self.schema.field(name).type
        return bool(
            types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        )

    def check_type(self, name: str, *, whole: bool) -> None:
        types, kind = self._arrow.types, self.schema.field(name).type
        inner = kind.value_type if self.is_list(name) and not whole else kind
        if types.is_floating(inner) or (whole and types.is_integer(inner)):
            return
        numbers = "whole" if whole else "floating point"
        raise AuditError(f"{self._path}: {name} must hold {numbers} numbers, got {kind}")

    def check_names(self, name: str) -> None:
        types, kind = self._arrow.types, self.schema.field(name).type
        inner = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_integer(inner) or types.is_string(inner) or types.is_large_string(inner)):
            raise AuditError(
                f"{self._path}: {name} must hold whole numbers or strings to group by, got {kind}"
            )

    def names(self, name: str) -> Generator[list[Any]]:
        """Blocks of a column of groups."""
        first = 0
        for batch in self._batches(_NAMES_AT_ONCE, [name]):
            yield self._without_nulls(batch.column(0), name, first).to_pylist()
            first += batch.num_rows

    def list_length(self, columns: Columns) -> int:
        """The length of the first list."""
        kind = self.schema.field(columns.scores[0]).type
        if self._arrow.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for batch in self._batches(1, columns.scores):
            return len(self._without_nulls(batch.column(0), columns.scores[0], 0)[0])
        return 0

    def lists(self, columns: Columns, num_classes: int) -> Generator[Block]:
        """Blocks of a column of lists."""
        first = 0
        name = columns.scores[0]
        for batch in self._batches(block_rows(num_classes), [name, columns.labels]):
            lists = self._without_nulls(batch.column(name), name, first)
            lengths = torch.from_numpy(lists.value_lengths().to_numpy(zero_copy_only=False).copy())
            other = (lengths != num_classes).nonzero()
            if len(other):
                row = int(other[0])
                raise AuditError(
                    f"{self._path}: {name} must hold lists of one length, {num_classes} in row 0, "
                    f"got {int(lengths[row])} in row {first + row}"
                )
            values = self._without_nulls(lists.flatten(), name, first, num_classes)
            labels = self._without_nulls(batch.column(columns.labels), columns.labels, first)
            yield _tensor(values).view(-1, num_classes), _tensor(labels)
            first += batch.num_rows

    def columns(self, columns: Columns) -> Generator[Block]:
        """Blocks of a column per class, turned into rows one row group after the other."""
        first = 0
        types = {str(self.schema.field(name).type) for name in columns.scores}
        dtype = torch.float64 if "double" in types else torch.float32
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if not rows:
                continue
            parts = [
                _tensor(self._without_nulls(batch.column(0), columns.labels, first))
                for batch in self._batches(max(1, rows), [columns.labels], group)
            ]
            labels = torch.cat(parts)
            with Tiles(rows, len(columns.scores), dtype) as tiles:
                for start in range(0, len(columns.scores), _COLUMNS_AT_ONCE):
                    self._write_columns(tiles, columns, start, group, first)
                for start, block in tiles.blocks():
                    yield block, labels[start : start + len(block)]
            first += rows

    def _write_columns(
        self, tiles: Tiles, columns: Columns, start: int, group: int, first: int
    ) -> None:
        """Write some columns of a row group."""
        names = columns.scores[start : start + _COLUMNS_AT_ONCE]
        row = 0
        for batch in self._batches(tiles.rows_per_tile, names, group):
            for place, name in enumerate(names, start):
                values = self._without_nulls(batch.column(name), name, first + row)
                tiles.write(row, place, _tensor(values))
            row += batch.num_rows

    def _batches(self, rows: int, names: list[str], group: int | None = None) -> Iterator[Any]:
        groups = None if group is None else [group]
        try:
            yield from self._file.iter_batches(
                rows, row_groups=groups, columns=list(dict.fromkeys(names)), use_threads=False
            )
        except (self._arrow.ArrowException, OSError) as error:
            raise AuditError(f"{self._path} is damaged ({reason(error)})") from error

    def _without_nulls(self, values: Any, name: str, first: int, width: int = 1) -> Any:
        if values.null_count:
            row = first + values.is_null().to_numpy(zero_copy_only=False).argmax() // width
            raise AuditError(
                f"{self._path}: {name} is null in row {row}; fill it in, or drop the row"
            )
        return values


def _tensor(values: Any) -> Tensor:
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype.kind == "u":
        array = array.astype("i8")
    return torch.from_numpy(array.copy())
