"""Arrays stored in files, read in blocks of rows; numbers only, nothing is unpickled."""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from softtargets.audit.errors import AuditError
from softtargets.audit.groups import Grouping, group_rows
from softtargets.audit.naming import Kind
from softtargets.audit.predictions import Block, Predictions, block_rows

LARGEST_WHOLE = 2**28  # bytes of an array that has to be read at once: stored column by column
_NAMES_AT_ONCE = 2**16  # of groups
BFLOAT16 = "bfloat16"  # numpy has no such type; read as 16-bit integers and reinterpreted
# What streams raise, those of damaged or encrypted archives too.
DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """An array in a file.

    Args:
        where: file and array, for messages.
        name: of the array.
        shape: as stored.
        dtype: a numpy type of numbers, or `BFLOAT16`.
        open: called, gives a stream that stands at the first number.
        by_columns: whether the numbers are stored column after column.
        note: what is special about reading it, or "".
    """

    where: str
    name: str
    shape: tuple[int, ...]
    dtype: Any
    open: Callable[[], IO[bytes]]
    by_columns: bool = False
    note: str = ""

    @property
    def floating(self) -> bool:
        """Whether it holds floating point numbers."""
        return bool(self.dtype == BFLOAT16 or np.dtype(self.dtype).kind == "f")

    def blocks(self, rows: int) -> Generator[Tensor]:
        """Yield blocks of that many rows, the last one shorter."""
        stored = np.dtype("<i2" if self.dtype == BFLOAT16 else self.dtype)
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        if self.by_columns and width > 1:
            whole = self._whole(stored)
            yield from (whole[start : start + rows] for start in range(0, len(whole), rows))
            return
        with self.open() as stream:
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                values = self._read(stream, count * width, stored)
                yield self._tensor(values.reshape(count, *self.shape[1:]))

    def names(self, rows: int) -> Generator[list[Any]]:
        """Yield blocks of that many integers or strings of an array `(N,)`."""
        with self.open() as stream:
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                yield self._read(stream, count, np.dtype(self.dtype)).tolist()

    def _whole(self, stored: Any) -> Tensor:
        size = int(np.prod(self.shape, dtype=np.int64)) * stored.itemsize
        if size > LARGEST_WHOLE:
            raise AuditError(
                f"{self.where} is stored column by column, which needs {size / 2**30:.1f} GiB of "
                "memory to read; save numpy.ascontiguousarray of it"
            )
        with self.open() as stream:
            values = self._read(stream, size // stored.itemsize, stored)
        return self._tensor(values.reshape(self.shape, order="F"))

    def _read(self, stream: IO[bytes], count: int, stored: Any) -> Any:
        try:
            content = bytearray(stream.read(count * stored.itemsize))
        except DAMAGE as error:
            raise AuditError(f"{self.where} is damaged ({reason(error)}); save it again") from error
        if len(content) < count * stored.itemsize:
            raise AuditError(f"{self.where} is truncated; save or copy the file again")
        values = np.frombuffer(content, stored)
        return values.astype(stored.newbyteorder("="), copy=False)

    def _tensor(self, values: Any) -> Tensor:
        if values.dtype.kind == "u" and values.dtype.itemsize > 1:
            values = values.astype(np.int64)  # torch knows these types, but computes little in them
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        return tensor.view(torch.bfloat16) if self.dtype == BFLOAT16 else tensor


def from_header(
    where: str, name: str, open_file: Callable[[], IO[bytes]], size: int, note: str = ""
) -> StoredArray:
    """Return the array that npy content describes in its header.

    Args:
        where: file and array, for messages.
        name: of the array.
        open_file: called, gives a stream at the start of the content.
        size: of the content in bytes.
        note: see `StoredArray`.

    Raises:
        AuditError: it is no npy content, holds Python objects, or is shorter than it says.
    """
    try:
        with open_file() as stream:
            shape, by_columns, dtype = _header(where, stream)
            offset = stream.tell()
    except DAMAGE as error:
        raise AuditError(f"{where} cannot be read ({reason(error)}); save it again") from error
    if dtype.hasobject:
        raise AuditError(
            f"{where} holds pickled Python objects, which are never loaded; save an array of "
            "numbers, such as numpy.stack(rows)"
        )
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < expected:
        raise AuditError(
            f"{where} is truncated: {size:,} of {expected:,} bytes are there; save or copy the "
            "file again"
        )

    def at_numbers() -> IO[bytes]:
        stream = open_file()
        stream.read(offset)
        return stream

    return StoredArray(
        where=where,
        name=name,
        shape=shape,
        dtype=dtype,
        open=at_numbers,
        by_columns=by_columns,
        note=note,
    )


def _too_wide(dtype: Any) -> bool:
    """Whether torch has no such type."""
    return bool(dtype != BFLOAT16 and np.dtype(dtype).itemsize > 8)


def _header(where: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, by_columns, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError, EOFError) as error:
        raise AuditError(
            f"{where} is no npy array of numbers; save it with numpy.save or numpy.savez"
        ) from error
    return shape, by_columns, dtype


def reason(error: Exception) -> str:
    """Return what an error says, in one line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())


def open_npy(path: Path) -> StoredArray:
    """Return the array of an npy file; its key is the file's name without the ending."""
    return from_header(str(path), path.stem, lambda: path.open("rb"), path.stat().st_size)


def paired(
    path: Path,
    scores: StoredArray,
    labels: StoredArray,
    kind: Kind,
    groups: StoredArray | None = None,
) -> Predictions:
    """Return predictions of two arrays.

    Args:
        path: of the scores' file.
        scores: `(N, K)`.
        labels: `(N,)`.
        kind: what the scores are.
        groups: `(N,)`, which rows belong together; None if each stands alone.

    Raises:
        AuditError: shapes or types do not fit.
    """
    if not scores.floating or _too_wide(scores.dtype):
        raise AuditError(
            f"{scores.where} must hold floating point numbers of at most 64 bits, got "
            f"{scores.dtype}; save .astype(numpy.float32) of it"
        )
    if len(scores.shape) != 2:
        raise AuditError(
            f"{scores.where} must have shape (N, K), got {scores.shape}; move the classes last and "
            "flatten the rest; two classes need both columns"
        )
    if labels.dtype != BFLOAT16 and (
        np.dtype(labels.dtype).kind not in "iuf" or _too_wide(labels.dtype)
    ):
        raise AuditError(
            f"{labels.where} must hold whole numbers, got {labels.dtype}; save the numbers of the "
            "classes, 0 .. K - 1, as integers"
        )
    if labels.shape != scores.shape[:1]:
        raise AuditError(
            f"{labels.where} must have shape ({scores.shape[0]},), one label for each row of "
            f"{scores.where}, got {labels.shape}"
        )
    rows = block_rows(scores.shape[1])

    def read() -> Generator[Block]:
        with closing(scores.blocks(rows)) as one, closing(labels.blocks(rows)) as other:
            yield from zip(one, other, strict=True)

    return Predictions(
        path=path,
        key=scores.name,
        kind=kind,
        num_classes=scores.shape[1],
        num_rows=scores.shape[0],
        note=scores.note,
        labels=labels.where,
        read=read,
        grouping=None if groups is None else _grouping(scores, groups),
    )


def _grouping(scores: StoredArray, groups: StoredArray) -> Grouping:
    if groups.dtype == BFLOAT16 or np.dtype(groups.dtype).kind not in "iuUS":
        raise AuditError(
            f"{groups.where} must hold whole numbers or strings to group by, got {groups.dtype}; "
            "save names as numpy.array(names, dtype=str)"
        )
    if groups.shape != scores.shape[:1]:
        raise AuditError(
            f"{groups.where} must have shape ({scores.shape[0]},), one group for each row of "
            f"{scores.where}, got {groups.shape}"
        )
    return group_rows(groups.where, groups.name, groups.names(_NAMES_AT_ONCE), scores.shape[1])
