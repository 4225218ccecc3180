"""The cache's files: chunks of rows, each complete or absent, and the manifest that lists them.

A chunk file holds its fields one after the other, whole tensors in native byte order: sample
numbers first, so that everything is aligned. A chunk counts once the manifest names it; both are
written aside, flushed and renamed, so a process may die at any moment.
"""

import hashlib
import json
import math
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softtargets.distillation.identity import bytes_of

MANIFEST = "manifest.json"
FORMAT = 1
DTYPES = {torch.float16: "float16", torch.float32: "float32"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One file: its name, the number of samples in it and the hash of its bytes."""

    file: str
    rows: int
    sha256: str


@dataclass(slots=True)
class Manifest:
    """What a cache is, and the chunks that are complete."""

    num_classes: int
    dtype: str
    top_k: int | None
    teacher: str
    data: str
    finished: bool = False
    chunks: list[Chunk] = field(default_factory=list)

    def identity(self) -> dict[str, object]:
        """Return what a build must agree with to be continued."""
        return {
            name: getattr(self, name)
            for name in ("num_classes", "dtype", "top_k", "teacher", "data")
        }

    def fields(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """Return name, dtype and shape of each field of one sample, in the order of the file."""
        stored = getattr(torch, self.dtype)
        if self.top_k is None:
            return [("index", torch.int64, ()), ("logits", stored, (self.num_classes,))]
        return [
            ("index", torch.int64, ()),
            ("rest", torch.float32, ()),
            ("classes", torch.int32, (self.top_k,)),
            ("logits", stored, (self.top_k,)),
        ]

    def row_bytes(self) -> int:
        """Return the size of one sample."""
        return sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in self.fields())


def _write_whole(path: Path, parts: list[memoryview]) -> None:
    """Write a file that is either there and complete or not there."""
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_chunk(folder: Path, manifest: Manifest, rows: dict[str, Tensor]) -> None:
    """Write a chunk and then the manifest that counts it."""
    tensors = [rows[name].to(dtype).contiguous() for name, dtype, _ in manifest.fields()]
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(bytes_of(tensor))
    name = f"chunk-{len(manifest.chunks):06d}.bin"
    _write_whole(folder / name, [bytes_of(tensor) for tensor in tensors])
    manifest.chunks.append(Chunk(name, len(rows["index"]), digest.hexdigest()))
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest."""
    content = {"format": FORMAT, "byteorder": sys.byteorder, **asdict(manifest)}
    _write_whole(folder / MANIFEST, [memoryview(json.dumps(content, indent=1).encode())])


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest, or None where there is no cache."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, order = content.pop("format"), content.pop("byteorder")
        if (version, order) == (FORMAT, sys.byteorder):
            return _manifest(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"`path` must hold a readable cache, {path} is damaged ({error}); build it anew in "
            "another folder"
        ) from error
    raise ValueError(
        f"`path` must hold a cache of format {FORMAT} in {sys.byteorder}-endian bytes, got "
        f"{version} and {order}; build it anew in another folder"
    )


def is_positive(value: object) -> bool:
    """Whether it is an integer of at least 1, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _manifest(content: dict[str, Any]) -> Manifest:
    """Return the manifest a JSON object stands for.

    Raises:
        ValueError: it does not stand for one.
        TypeError: fields are missing, or there are others.
    """
    chunks = [Chunk(**chunk) for chunk in content.pop("chunks")]
    manifest = Manifest(**content, chunks=chunks)
    right = {
        "num_classes": is_positive(manifest.num_classes),
        "dtype": manifest.dtype in DTYPES.values(),
        "top_k": manifest.top_k is None
        or (is_positive(manifest.top_k) and manifest.top_k <= manifest.num_classes),
        "teacher": isinstance(manifest.teacher, str),
        "data": isinstance(manifest.data, str),
        "finished": isinstance(manifest.finished, bool),
        "chunks": all(
            re.fullmatch(r"chunk-\d{6,}\.bin", chunk.file)
            and is_positive(chunk.rows)
            and isinstance(chunk.sha256, str)
            for chunk in chunks
        ),
    }
    wrong = [name for name, is_right in right.items() if not is_right]
    if wrong:
        raise ValueError(f"it has no valid {', '.join(wrong)}")
    return manifest


def map_chunk(folder: Path, manifest: Manifest, chunk: Chunk, verify: bool) -> dict[str, Tensor]:
    """Return the fields of a chunk, mapped into memory and not read.

    Args:
        folder: of the cache.
        manifest: of the cache.
        chunk: which one.
        verify: read it once and compare its hash.

    Raises:
        ValueError: the file is missing, has another size or other bytes.
    """
    path, size = folder / chunk.file, chunk.rows * manifest.row_bytes()
    found = path.stat().st_size if path.is_file() else None
    if found != size:
        state = "is missing" if found is None else f"has {found} bytes instead of {size}"
        raise ValueError(
            f"`path` must hold a whole cache, {path} {state}; build it anew in another folder"
        )
    if verify:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != chunk.sha256:
            raise ValueError(
                f"`path` must hold the bytes that were written, {path} has the hash "
                f"{digest[:12]} instead of {chunk.sha256[:12]}; build it anew in another folder"
            )
    memory = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    fields, start = {}, 0
    for name, dtype, shape in manifest.fields():
        length = chunk.rows * dtype.itemsize * math.prod(shape)
        part = memory[start : start + length].view(dtype)
        fields[name] = part.view(chunk.rows, *shape)
        start += length
    return fields


def joined(parts: list[Tensor]) -> Tensor:
    """Return rows of one field together, also under an autocast that knows other dtypes only."""
    with torch.autocast("cpu", enabled=False):
        return torch.cat(parts)
