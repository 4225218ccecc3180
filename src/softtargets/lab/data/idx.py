"""MNIST and Fashion-MNIST: the official idx files, compressed or not, or an npz file."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab.data.arrays import read_npz
from softtargets.lab.data.assembly import Contents, Part, with_validation
from softtargets.lab.errors import LabError, reason

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
}
_TRAIN = 60_000
_RAW = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}  # where torchvision puts them
_IMAGES, _LABELS = 0x803, 0x801  # bytes, of three dimensions and of one


def mnist_contents(kind: str, path: Path) -> Contents | None:
    """Return what a path holds; None where it has neither idx files nor an npz file.

    Args:
        kind: `"mnist"` or `"fashion-mnist"`.
        path: a folder of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and two of `t10k`,
            each with `.gz` or without; of one `.npz` or `.npz.xz` file with `x_train` and so on;
            or that file.

    Raises:
        LabError: a file that cannot be read, or is not whole.
    """
    for folder in (path, path / _RAW[kind]):
        if _find(folder, "train-images", 3) is not None:
            return whole_mnist(kind, *(_pair(folder, stem) for stem in ("train", "t10k")))
    files = [path] if path.is_file() else sorted([*path.glob("*.npz"), *path.glob("*.npz.xz")])
    if not files:
        return None
    if len(files) > 1:
        raise LabError(
            f"{path} holds {len(files)} npz files, {files[0].name} and {files[1].name} among them; "
            f"name one, as {kind}:{files[0]}"
        )
    arrays = read_npz(files[0])
    for part in ("train", "test"):
        inputs = arrays[f"x_{part}"]
        if inputs.dtype != np.uint8 or inputs.shape[1:] != (28, 28):
            raise LabError(
                f"{files[0]}: x_{part} of {TITLES[kind]} must be uint8 of shape (N, 28, 28), got "
                f"{inputs.dtype} of shape {inputs.shape}; other arrays are read as arrays:"
                f"{files[0]}"
            )
        _check_labels(files[0], arrays[f"y_{part}"])
    train, test = (
        Part(inputs=arrays[f"x_{part}"], labels=arrays[f"y_{part}"]) for part in ("train", "test")
    )
    return whole_mnist(kind, train, test)


def whole_mnist(kind: str, train: Part, test: Part) -> Contents:
    """Return contents of images `(N, 28, 28)`; the name says how many samples are missing.

    Args:
        kind: `"mnist"` or `"fashion-mnist"`.
        train: training part.
        test: test part.
    """
    name = TITLES[kind]
    if len(train.labels) < _TRAIN:
        name += f" ({len(train.labels):,} of {_TRAIN:,} training samples)"
    train, test = (Part(inputs=each.inputs[:, None], labels=each.labels) for each in (train, test))
    return with_validation(name, train, test, class_names=CLASS_NAMES[kind])


def _find(folder: Path, stem: str, dimensions: int) -> Path | None:
    names = [f"{stem}{mark}idx{dimensions}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _pair(folder: Path, stem: str) -> Part:
    """Read the images and labels of one part."""
    paths = [_find(folder, f"{stem}-images", 3), _find(folder, f"{stem}-labels", 1)]
    for path, what in zip(paths, ("images-idx3", "labels-idx1"), strict=True):
        if path is None:
            raise LabError(f"{folder} has no {stem}-{what}-ubyte, with .gz or without; add it")
    images_path, labels_path = paths
    assert images_path is not None
    assert labels_path is not None
    images, labels = read_idx(images_path, _IMAGES), read_idx(labels_path, _LABELS)
    if len(images) != len(labels):
        raise LabError(
            f"{images_path} holds {len(images):,} images and {labels_path.name} {len(labels):,} "
            "labels; both must be of the same part"
        )
    _check_labels(labels_path, labels)
    return Part(inputs=images, labels=labels)


def _check_labels(path: Path, labels: Any) -> None:
    if labels.max() > 9:
        raise LabError(f"{path}: labels must be 0 .. 9, got {labels.max()}")


def read_idx(path: Path, magic: int) -> Any:
    """Return the bytes of an idx file as an array.

    Args:
        path: of the file; `.gz` is decompressed.
        magic: the number that it must begin with: 0x800 plus the number of dimensions.

    Raises:
        LabError: it cannot be read, begins with another number or is not whole.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise LabError(
            f"{path} is damaged or cannot be read ({reason(error)}); get it anew"
        ) from error
    dimensions = magic & 0xFF
    header = 4 + 4 * dimensions
    if len(content) < header or struct.unpack(">I", content[:4])[0] != magic:
        raise LabError(
            f"{path} must begin with the bytes {magic:08x} of an idx file of {dimensions} "
            f"dimension{'s' * (dimensions > 1)}, got {content[:4].hex() or 'nothing'}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + int(np.prod(shape, dtype=np.float64))
    if len(content) != expected or not all(shape):
        raise LabError(
            f"{path} must have {expected:,} bytes for shape {shape}, got {len(content):,}; get it "
            "anew"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()
