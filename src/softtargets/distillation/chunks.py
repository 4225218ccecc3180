"""The cache's files: chunks of rows, each complete or absent, and the manifest that lists them.

A chunk file holds its fields one after the other, whole tensors in native byte order: sample
numbers first, so that everything is aligned. A chunk counts once the manifest names it; both are
written aside, flushed and renamed, so a process may die at any moment.
"""

import ctypes
import hashlib
import json
import math
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

MANIFEST = "manifest.json"
FORMAT = 1


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


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor; torch alone has no buffer protocol."""
    size = tensor.numel() * tensor.element_size()
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr())).cast("B")


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
        digest.update(_bytes_of(tensor))
    name = f"chunk-{len(manifest.chunks):06d}.bin"
    _write_whole(folder / name, [_bytes_of(tensor) for tensor in tensors])
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
        content = json.loads(path.read_text())
        version, order = content.pop("format"), content.pop("byteorder")
        chunks = [Chunk(**chunk) for chunk in content.pop("chunks")]
        manifest = Manifest(**content, chunks=chunks)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"`path` must hold a readable cache, {path} is damaged ({error}); build it anew in "
            "another folder"
        ) from error
    if (version, order) != (FORMAT, sys.byteorder):
        raise ValueError(
            f"`path` must hold a cache of format {FORMAT} in {sys.byteorder}-endian bytes, got "
            f"{version} and {order}; build it anew"
        )
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
        raise ValueError(f"`path` must hold a whole cache, {path} {state}; build it anew")
    if verify:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != chunk.sha256:
            raise ValueError(
                f"`path` must hold the bytes that were written, {path} has the hash "
                f"{digest[:12]} instead of {chunk.sha256[:12]}; build it anew"
            )
    memory = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    fields, start = {}, 0
    for name, dtype, shape in manifest.fields():
        length = chunk.rows * dtype.itemsize * math.prod(shape)
        part = memory[start : start + length].view(dtype)
        fields[name] = part.view(chunk.rows, *shape)
        start += length
    return fields


def teacher_hash(teacher: nn.Module) -> str:
    """Return a hash of names, dtypes, shapes and bytes of a module's state."""
    if not isinstance(teacher, nn.Module):
        raise TypeError(
            f"`teacher` must be a torch.nn.Module, whose state can be hashed, got "
            f"{type(teacher).__name__}"
        )
    digest = hashlib.sha256()
    for name, value in sorted(teacher.state_dict().items()):
        if not isinstance(value, Tensor):
            digest.update(f"{name}={value!r};".encode())
            continue
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        digest.update(_bytes_of(value.detach().cpu().contiguous()))
    return digest.hexdigest()


def data_hash(fingerprint: str | Tensor) -> str:
    """Return the fingerprint as it will be compared: a text as it is, a tensor's hash."""
    if isinstance(fingerprint, Tensor):
        values = fingerprint.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{values.dtype}:{tuple(values.shape)};".encode())
        digest.update(_bytes_of(values))
        return digest.hexdigest()
    if not isinstance(fingerprint, str) or not fingerprint:
        raise TypeError(
            "`data_fingerprint` must be a text that names the data and its version, or a tensor "
            f"to hash, the labels for instance, got {fingerprint!r}"
        )
    return fingerprint
