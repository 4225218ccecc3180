"""CIFAR-10 and CIFAR-100: the official binary files, or grids of pictures with their labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab.data.assembly import Contents, Part, with_validation
from softtargets.lab.data.noisy_labels import ARCHIVE_ERRORS
from softtargets.lab.data.pictures import read_picture
from softtargets.lab.errors import LabError

SIDE = 32
TRAIN, TEST = 50_000, 10_000  # pictures in the official files
_PIXELS = 3 * SIDE * SIDE
_VALIDATION = 1 / 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """How the files of a data set are called and laid out.

    Attributes:
        title: of the data set.
        num_classes: K.
        binary: folder of the official binary files.
        parts: names of the training files, without suffix.
        test: name of the test file, without suffix.
        label_bytes: before each picture of a binary file; the last of them is the label.
        names: text file of class names beside the binary files.
        grids: names of the training grids, without suffix.
        factor: by which the values of a grid are multiplied.
        class_names: where the files do not say.
    """

    title: str
    num_classes: int
    binary: str
    parts: tuple[str, ...]
    test: str
    label_bytes: int
    names: str
    grids: tuple[str, ...]
    factor: int
    class_names: tuple[str, ...] | None = None


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
FILES = {
    "cifar10": _Files(
        title="CIFAR-10",
        num_classes=10,
        binary="cifar-10-batches-bin",
        parts=_BATCHES,
        test="test_batch",
        label_bytes=1,
        names="batches.meta.txt",
        grids=_BATCHES,
        factor=1,
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
    ),
    "cifar100": _Files(
        title="CIFAR-100",
        num_classes=100,
        binary="cifar-100-binary",
        parts=("train",),
        test="test",
        label_bytes=2,
        names="fine_label_names.txt",
        grids=tuple(f"train_{number}" for number in range(5)),
        factor=3,
    ),
}


def cifar_contents(kind: str, folder: Path) -> Contents | None:
    """Return what a folder holds; None where it has neither binary files nor grids.

    Training files that are missing are left out, and the data set's name says so. A tenth of the
    training part becomes validation data, of every class.

    Args:
        kind: `"cifar10"` or `"cifar100"`.
        folder: of the official binary files (`data_batch_1.bin`, or `train.bin`; or the folder
            around theirs), or of `labels.npz` with grids of 32 x 32 pictures: `data_batch_1.webp`
            and so on, or `train_0.webp` and so on with values divided by 3.

    Raises:
        LabError: a file that cannot be read, or is not whole.
    """
    files = FILES[kind]
    for place in (folder, folder / files.binary):
        there = _present(place, files.parts, ".bin")
        if there:
            return _from_binary(files, place, there)
    there = _present(folder, files.grids, ".webp")
    if there and (folder / "labels.npz").is_file():
        return _from_grids(files, folder, there)
    return None


def whole_cifar(kind: str, train: Part, test: Part) -> Contents:
    """Return contents of a whole data set.

    Args:
        kind: `"cifar10"` or `"cifar100"`.
        train: training part, images `(N, 3, 32, 32)`.
        test: test part.
    """
    files = FILES[kind]
    return with_validation(
        files.title, train, test, share=_VALIDATION, class_names=files.class_names
    )


def _present(folder: Path, names: tuple[str, ...], suffix: str) -> dict[int, Path]:
    paths = {number: folder / (name + suffix) for number, name in enumerate(names)}
    return {number: path for number, path in paths.items() if path.is_file()}


def _from_binary(files: _Files, folder: Path, there: dict[int, Path]) -> Contents:
    each = TRAIN // len(files.parts)
    parts = (_binary(files, path, each) for path in there.values())
    train = _joined(parts, each * len(there))
    test = _binary(files, folder / f"{files.test}.bin", TEST)
    return _contents(files, train, test, list(there), len(files.parts), _names(files, folder))


def _binary(files: _Files, path: Path, records: int) -> Part:
    """Read records of label bytes and a picture, plane by plane."""
    size = files.label_bytes + _PIXELS
    try:
        stored = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise LabError(
            f"{path} is missing or cannot be read; unpack the binary version of {files.title} anew"
        ) from error
    if stored.size != records * size:
        raise LabError(
            f"{path} must hold {records:,} records of {size:,} bytes, {records * size:,} bytes in "
            f"all, got {stored.size:,}; unpack the binary version of {files.title} anew"
        )
    rows = stored.reshape(records, size)
    labels = rows[:, files.label_bytes - 1]
    _check_labels(files, str(path), labels)
    return Part(
        inputs=rows[:, files.label_bytes :].reshape(records, 3, SIDE, SIDE), labels=labels.copy()
    )


def _check_labels(files: _Files, where: str, labels: Any) -> None:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise LabError(
            f"{where} must hold one integer per picture, got {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= files.num_classes:
        raise LabError(
            f"{where} must hold labels 0 .. {files.num_classes - 1}, got {labels.min()} .. "
            f"{labels.max()}; is it of {files.title}?"
        )


def _names(files: _Files, folder: Path) -> tuple[str, ...] | None:
    path = folder / files.names
    if not path.is_file():
        return None
    names = tuple(path.read_text(encoding="utf-8", errors="replace").split())
    return names if len(names) == files.num_classes else None


def _from_grids(files: _Files, folder: Path, there: dict[int, Path]) -> Contents:
    labels = _grid_labels(files, folder / "labels.npz")
    y_train, y_test = labels["y_train"], labels["y_test"]
    count = len(files.grids)
    each = len(y_train) // count
    if each * count != len(y_train):
        raise LabError(
            f"{folder / 'labels.npz'}: y_train must hold the labels of {count} equal files, got "
            f"{len(y_train)}"
        )
    parts = (
        Part(inputs=_grid(files, path, each), labels=y_train[number * each : (number + 1) * each])
        for number, path in there.items()
    )
    train = _joined(parts, each * len(there))
    test = Part(inputs=_grid(files, folder / f"{files.test}.webp", len(y_test)), labels=y_test)
    names = labels.get("class_names", np.empty(0))
    named = names.shape == (files.num_classes,)
    class_names = tuple(map(str, names)) if named else None
    return _contents(files, train, test, list(there), count, class_names)


def _grid_labels(files: _Files, path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            wanted = ("y_train", "y_test", "class_names")
            arrays = {name: archive[name] for name in wanted if name in archive}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, *ARCHIVE_ERRORS) as error:
        raise LabError(f"{path} cannot be read as an npz file of plain arrays") from error
    for name in ("y_train", "y_test"):
        if name not in arrays or not arrays[name].size:
            raise LabError(f"{path} must hold labels in an array {name!r}, one per picture")
        _check_labels(files, f"{path}: {name}", arrays[name])
    return arrays


def _grid(files: _Files, path: Path, count: int) -> Any:
    """Cut a grid of pictures, row by row, into uint8 `(count, 3, 32, 32)`."""
    grid = read_picture(path)
    rows, columns = grid.shape[0] // SIDE, grid.shape[1] // SIDE
    if grid.shape[:2] != (rows * SIDE, columns * SIDE) or rows * columns != count:
        raise LabError(
            f"{path} must be a grid of {count} pictures of {SIDE} x {SIDE}, one per label, got "
            f"{grid.shape[1]} x {grid.shape[0]} pixels"
        )
    if int(grid.max()) * files.factor > 255:
        raise LabError(
            f"{path} must hold values divided by {files.factor}, up to {255 // files.factor}, got "
            f"{grid.max()}; divide them, in a lossless format"
        )
    tiles = grid.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 4, 1, 3)
    pictures = tiles.reshape(-1, 3, SIDE, SIDE)
    pictures *= np.uint8(files.factor)
    return pictures


def _joined(parts: Iterable[Part], count: int) -> Part:
    """Put parts one behind the other as they are read, so that none is there twice."""
    inputs = np.empty((count, 3, SIDE, SIDE), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    start = 0
    for part in parts:
        stop = start + len(part.labels)
        inputs[start:stop], labels[start:stop] = part.inputs, part.labels
        start = stop
    return Part(inputs=inputs, labels=labels)


def _contents(
    files: _Files,
    train: Part,
    test: Part,
    there: list[int],
    count: int,
    class_names: tuple[str, ...] | None,
) -> Contents:
    """Return contents of the training files of these numbers, out of `count` equal ones."""
    each = len(train.labels) // len(there)
    name = files.title
    if len(there) < count:
        name += f" (training files {', '.join(str(number + 1) for number in there)} of {count})"
    return with_validation(
        name,
        train,
        test,
        share=_VALIDATION,
        places=np.concatenate([number * each + np.arange(each) for number in there]),
        total=each * count,
        class_names=class_names or files.class_names,
    )
