"""Files of several named arrays: npz archives and safetensors."""

import json
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from softtargets.audit.arrays import BFLOAT16, DAMAGE, StoredArray, from_header, reason
from softtargets.audit.errors import AuditError

_LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format
_TENSOR_TYPES: dict[str, Any] = {
    "BF16": BFLOAT16,
    **{
        name: np.dtype(f"<{code}")
        for name, code in {
            "F64": "f8",
            "F32": "f4",
            "F16": "f2",
            "I64": "i8",
            "I32": "i4",
            "I16": "i2",
            "I8": "i1",
            "U64": "u8",
            "U32": "u4",
            "U16": "u2",
            "U8": "u1",
        }.items()
    },
}


def open_npz(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an npz file by name.

    Raises:
        AuditError: it is no whole npz file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGE as error:
        raise AuditError(
            f"{path} is no whole npz file ({reason(error)}); save it with numpy.savez"
        ) from error
    return {member.filename.removesuffix(".npy"): member for member in members}


def npz_array(path: Path, name: str, member: zipfile.ZipInfo) -> StoredArray:
    """Return an array of an npz file; it is read as a stream, so compression costs no memory.

    Args:
        path: the file.
        name: of the array.
        member: as `open_npz` returns it.
    """
    compressed = member.compress_type != zipfile.ZIP_STORED

    def content() -> IO[bytes]:
        with zipfile.ZipFile(path) as archive:  # the file stays open until the stream is closed
            return archive.open(member)

    return from_header(
        f"{path}: {name}",
        name,
        content,
        member.file_size,
        _unpacking(member) if compressed else "",
    )


def _unpacking(member: zipfile.ZipInfo) -> str:
    return (
        f"compressed: {math.ceil(member.file_size / 1e6):,} MB are unpacked while it is read, "
        "which takes time but no more memory"
    )


def open_safetensors(path: Path) -> dict[str, dict[str, Any]]:
    """Return what the header of a safetensors file says, by name.

    The file is eight bytes with the length of a JSON header, the header with type, shape and place
    of each tensor, and the numbers.

    Raises:
        AuditError: it is no whole safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise AuditError(f"{path} is no whole safetensors file; save or copy it again")
        content = file.read(length)
    try:
        header = json.loads(content)
        header.pop("__metadata__", None)
        for entry in header.values():
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end or min(entry["shape"], default=0) < 0:
                raise ValueError("a tensor of negative size")
            entry["start"], entry["end"] = 8 + length + begin, 8 + length + end
            if entry["end"] > size:
                raise AuditError(f"{path} is truncated; save or copy it again")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AuditError(f"{path} has no header of safetensors; save it again") from error
    return dict(header)


def safetensors_array(path: Path, name: str, entry: dict[str, Any]) -> StoredArray:
    """Return a tensor of a safetensors file.

    Args:
        path: the file.
        name: of the tensor.
        entry: as `open_safetensors` returns it.

    Raises:
        AuditError: its type is none of numbers, or its length does not fit its shape.
    """
    where = f"{path}: {name}"
    dtype = _TENSOR_TYPES.get(entry.get("dtype", ""))
    if dtype is None:
        raise AuditError(
            f"{where} has the type {entry.get('dtype')}; save it as one of "
            f"{', '.join(_TENSOR_TYPES)}"
        )
    shape, start, end = tuple(map(int, entry["shape"])), int(entry["start"]), int(entry["end"])
    width = 2 if dtype == BFLOAT16 else dtype.itemsize
    if end - start != width * math.prod(shape):
        raise AuditError(f"{where} has a length that does not fit its shape {shape}; save it again")

    def at_numbers() -> IO[bytes]:
        file = path.open("rb")
        file.seek(start)
        return file

    return StoredArray(where=where, name=name, shape=shape, dtype=dtype, open=at_numbers)
