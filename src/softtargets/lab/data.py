"""Data sets, held in memory: scikit-learn's digits, and arrays from an npz file."""

import hashlib
import lzma
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softtargets.lab.errors import LabError

EMBEDDED = ("digits",)
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
LARGEST = 1e30
_ARCHIVE_ERRORS = (MemoryError, zipfile.BadZipFile, lzma.LZMAError, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Samples of one part of a data set.

    Attributes:
        inputs: `(N, *shape)` float32, standardised with the training part's mean and deviation.
        labels: `(N,)` int64.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set in its three parts; validation is what temperatures are fitted on.

    Attributes:
        name: what to call it in a report.
        digest: hash of contents and split.
        num_classes: K.
        mean: subtracted from the inputs.
        deviation: by which the inputs were divided.
        positions: `(N,)`, where in the source each training sample is.
        total: how many labels the source has of which training samples are drawn.
        noisy: `(N,)` int64 training labels of a file of noisy ones, or None.
    """

    name: str
    digest: str
    num_classes: int
    train: Split
    validation: Split
    test: Split
    mean: float
    deviation: float
    positions: Tensor
    total: int
    noisy: Tensor | None = None

    @property
    def noisy_digest(self) -> str | None:
        """Hash of the noisy labels."""
        if self.noisy is None:
            return None
        return hashlib.sha256(self.noisy.numpy().tobytes()).hexdigest()[:16]


def load(source: str, noisy_labels: str | None = None) -> DataSet:
    """Return the data set of that name, or the one in the npz file at that path.

    Args:
        source: `"digits"` (1,797 handwritten digits of 8 x 8, bundled with scikit-learn), or a
            path to an `.npz` or `.npz.xz` file with the arrays `x_train` (N, ...), `y_train` (N,),
            `x_test` and `y_test`. A seventh of the training part becomes validation data.
        noisy_labels: path of an `.npy` file with labels to train on instead of `y_train`, one for
            each (of digits, for each of the 1,797); those of validation samples are not read. Or
            of an `.npz` file that holds them alone, or as `y_train`; `PATH:NAME` names another of
            its arrays.

    Raises:
        LabError: no such data set or file, or a file that does not hold these arrays; noisy
            labels that do not fit the data.
    """
    data = _load(source)
    if noisy_labels is None:
        return data
    return replace(data, noisy=_noisy(noisy_labels, data))


def _load(source: str) -> DataSet:
    if source == "digits":
        return _digits()
    path, found = Path(source), False
    with suppress(OSError):  # as a name that is too long
        found = path.is_file()
    if not found:
        raise LabError(
            f"no data set {source!r}: give one of {', '.join(EMBEDDED)}, or the path of an .npz "
            f"file with the arrays {', '.join(_ARRAYS)}"
        )
    arrays = _read_arrays(path)
    x_train, y_train, x_test, y_test = (arrays[name] for name in _ARRAYS)
    places = np.arange(len(y_train))
    train, validation = _stratified(places, y_train, 1 / 7)
    name = path.name.removesuffix(".xz").removesuffix(".npz")
    return _assemble(
        name,
        [x_train[train], x_train[validation], x_test],
        [y_train[train], y_train[validation], y_test],
        positions=train,
        total=len(places),
    )


def _digits() -> DataSet:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    rest, test = _stratified(np.arange(len(labels)), labels, 1 / 3)
    train, validation = _stratified(rest, labels[rest], 1 / 4)
    parts = (train, validation, test)
    return _assemble(
        "digits",
        [images[part] for part in parts],
        [labels[part] for part in parts],
        positions=train,
        total=len(labels),
    )


def _stratified(places: Any, labels: Any, share: float) -> list[Any]:
    """Split places in two, the second with this share of every class."""
    from sklearn.model_selection import train_test_split

    parts: list[Any] = train_test_split(places, test_size=share, stratify=labels, random_state=0)
    return parts


def _assemble(
    name: str, inputs: list[Any], labels: list[Any], *, positions: Any, total: int
) -> DataSet:
    digest = hashlib.sha256()
    for array in (*inputs, *labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    mean = float(inputs[0].mean(dtype=np.float64))
    deviation = float(inputs[0].std(dtype=np.float64)) or 1.0
    parts = [
        Split(
            inputs=torch.from_numpy(_standardised(name, x, mean, deviation)),
            labels=torch.from_numpy(y.astype(np.int64)),
        )
        for x, y in zip(inputs, labels, strict=True)
    ]
    return DataSet(
        name=name,
        digest=digest.hexdigest()[:16],
        num_classes=int(max(part.labels.max() for part in parts)) + 1,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        mean=mean,
        deviation=deviation,
        positions=torch.from_numpy(positions),
        total=total,
    )


def _standardised(name: str, inputs: Any, mean: float, deviation: float) -> Any:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scaled = ((inputs.astype(np.float64) - mean) / deviation).astype(np.float32)
    if not np.isfinite(scaled).all():
        raise LabError(
            f"{name}: the numbers must fit into float32 after division by the training part's "
            f"deviation, {deviation:g}; remove outliers, or rescale the features"
        )
    return scaled


def _read_arrays(path: Path) -> dict[str, Any]:
    try:
        opener = lzma.open if path.suffix == ".xz" else Path.open
        with opener(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS if name in archive}
            found = ", ".join(archive.files)
    except (OSError, ValueError, TypeError, AttributeError, EOFError, *_ARCHIVE_ERRORS) as error:
        raise LabError(
            f"{path} cannot be read as an npz file of plain arrays; save it with "
            f"numpy.savez(path, {', '.join(f'{name}=...' for name in _ARRAYS)})"
        ) from error
    for name in _ARRAYS:
        if name not in arrays:
            raise LabError(
                f"{path} has no array {name!r}, it has: {found}; save it under that name"
            )
    for part in ("train", "test"):
        _check_part(path, part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise LabError(
            f"{path}: samples of x_train and x_test must have one shape, got "
            f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        )
    _check_classes(path, arrays["y_train"], arrays["y_test"])
    return arrays


def _check_part(path: Path, part: str, inputs: Any, labels: Any) -> None:
    found = f"got {labels.dtype} of shape {labels.shape}"
    if labels.dtype.kind not in "iu":
        raise LabError(f"{path}: y_{part} must hold integers, {found}; convert with .astype(int)")
    if labels.ndim != 1 or len(labels) == 0:
        raise LabError(
            f"{path}: y_{part} must hold one label per sample, shape (N,), {found}; try .ravel(), "
            "or .argmax(-1) of one-hot rows"
        )
    if labels.min() < 0:
        raise LabError(f"{path}: labels must be 0 .. K - 1, y_{part} holds {labels.min()}")
    if inputs.ndim < 2 or len(inputs) != len(labels) or inputs.dtype.kind not in "iuf":
        raise LabError(
            f"{path}: x_{part} must hold numbers of shape ({len(labels)}, ...) as y_{part} has "
            f"{len(labels)} labels, got {inputs.dtype} of shape {inputs.shape}"
        )
    if inputs.size == 0:
        raise LabError(f"{path}: samples of x_{part} must hold numbers, got shape {inputs.shape}")
    if not np.isfinite(inputs).all():
        raise LabError(f"{path}: x_{part} must be finite; it holds NaN or infinity")
    largest = max(-float(inputs.min()), float(inputs.max()))
    if largest > LARGEST:
        raise LabError(
            f"{path}: x_{part} must hold numbers up to {LARGEST:g} in size, got {largest:g}; "
            "rescale them"
        )


def _check_classes(path: Path, y_train: Any, y_test: Any) -> None:
    """Every class from 0 to the largest label needs samples to train and to validate on."""
    num_classes = int(max(y_train.max(), y_test.max())) + 1
    if num_classes < 2:
        raise LabError(f"{path}: there must be at least 2 classes, every label is 0")
    if num_classes > len(y_train) // 7:
        raise LabError(
            f"{path}: {len(y_train)} training samples are too few for {num_classes} classes; a "
            "seventh of them must hold one of each, for validation"
        )
    counts = np.bincount(y_train.astype(np.int64), minlength=num_classes)
    few = np.flatnonzero(counts < 2)
    if len(few):
        raise LabError(
            f"{path}: each of the classes 0 .. {num_classes - 1} needs at least 2 samples in "
            f"y_train, class {few[0]} has {counts[few[0]]}; number the classes without gaps"
        )


def _noisy(source: str, data: DataSet) -> Tensor:
    """Return the noisy labels of the training part, or raise."""
    labels = _read_labels(source)
    if labels.dtype.kind not in "iu" or labels.shape != (data.total,):
        raise LabError(
            f"{source} must hold one integer for each of the {data.total} samples that {data.name} "
            f"draws its training part from, got {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= data.num_classes:
        raise LabError(
            f"{source}: labels must be 0 .. {data.num_classes - 1} as in {data.name}, got "
            f"{labels.min()} .. {labels.max()}"
        )
    return torch.from_numpy(labels.astype(np.int64))[data.positions]


def _read_labels(source: str) -> Any:
    path, name = Path(source), None
    if not path.is_file() and ":" in source:
        path, name = Path(source.rpartition(":")[0]), source.rpartition(":")[2]
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded
        with loaded:
            names = list(loaded.files)
            chosen = name or ("y_train" if "y_train" in names else names[0])
            if chosen in names and (name or len(names) == 1 or chosen == "y_train"):
                return loaded[chosen]
    except (OSError, ValueError, TypeError, EOFError, IndexError, *_ARCHIVE_ERRORS) as error:
        raise LabError(
            f"{source} cannot be read as noisy labels; save them with numpy.save(path, labels)"
        ) from error
    raise LabError(
        f"{path} holds the arrays {', '.join(names)}; name one of them, as {path}:{names[0]}"
    )
