"""Arrays from an npz file, and what training and test arrays must be."""

import io
import lzma
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from softtargets.lab.data.assembly import Contents, Part, with_validation
from softtargets.lab.data.noisy_labels import ARCHIVE_ERRORS
from softtargets.lab.errors import LabError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
LARGEST = 1e30


def npz_contents(path: Path) -> Contents:
    """Return what an `.npz` or `.npz.xz` file holds; a seventh of its training part validates.

    Args:
        path: the file.

    Raises:
        LabError: it does not hold the arrays.
    """
    arrays = read_npz(path)
    return with_validation(
        path.name.removesuffix(".xz").removesuffix(".npz"),
        Part(inputs=arrays["x_train"], labels=arrays["y_train"]),
        Part(inputs=arrays["x_test"], labels=arrays["y_test"]),
    )


def read_npz(path: Path) -> dict[str, Any]:
    """Return the arrays `x_train`, `y_train`, `x_test` and `y_test` of a file.

    Args:
        path: an `.npz` or `.npz.xz` file.

    Raises:
        LabError: they are not there, or do not fit together.
    """
    try:
        with _opened(path) as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ARRAYS if name in archive}
            found = ", ".join(archive.files)
    except PermissionError as error:
        raise LabError(
            f"cannot read {path} ({error.strerror}); name a file that may be read"
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, EOFError, *ARCHIVE_ERRORS) as error:
        table = path.name.endswith((".csv", ".tsv", ".jsonl", ".gz"))
        raise LabError(
            f"{path} cannot be read as an npz file of plain arrays, no Python objects; save it "
            f"with numpy.savez(path, {', '.join(f'{name}=...' for name in ARRAYS)})"
            + (f", or name a table of texts text:{path}" if table else "")
        ) from error
    for name in ARRAYS:
        if name not in arrays:
            raise LabError(
                f"{path} has no array {name!r}, it has: {found}; save it under that name"
            )
    check_arrays(path, arrays)
    return arrays


def _opened(path: Path) -> BinaryIO:
    """Open a file; decompressed at once, as reading an archive goes back and forth."""
    if path.suffix != ".xz":
        return path.open("rb")
    with lzma.open(path) as file:
        return io.BytesIO(file.read())


def check_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Raise `LabError` unless training and test arrays are what can be trained on.

    Args:
        path: that they are from.
        arrays: `x_train`, `y_train`, `x_test` and `y_test`.
    """
    for part in ("train", "test"):
        _check_part(path, part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise LabError(
            f"{path}: samples of x_train and x_test must have one shape, got "
            f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        )
    _check_classes(path, arrays["y_train"], arrays["y_test"])


def _check_part(path: Path, part: str, inputs: Any, labels: Any) -> None:
    _check_labels(path, f"y_{part}", labels)
    if inputs.ndim < 2 or len(inputs) != len(labels) or inputs.dtype.kind not in "iuf":
        raise LabError(
            f"{path}: x_{part} must hold numbers of shape ({len(labels)}, ...) as y_{part} has "
            f"{len(labels)} labels, got {inputs.dtype} of shape {inputs.shape}"
        )
    if inputs.size == 0:
        raise LabError(f"{path}: samples of x_{part} must hold numbers, got shape {inputs.shape}")
    finite = np.isfinite(inputs)
    if not finite.all():
        rows = np.flatnonzero(~finite.reshape(len(inputs), -1).all(1))
        value = inputs[rows[0]][~finite[rows[0]]][0]
        raise LabError(
            f"{path}: x_{part} must be finite, got {value} in row {rows[0]}, the first of "
            f"{len(rows)}; fill in what is missing, or drop these rows of x_{part} and y_{part}"
        )
    largest = max(-float(inputs.min()), float(inputs.max()))
    if largest > LARGEST:
        raise LabError(
            f"{path}: x_{part} must hold numbers up to {LARGEST:g} in size, got {largest:g}; "
            "rescale them"
        )


def _check_labels(path: Path, name: str, labels: Any) -> None:
    """Raise `LabError` unless an array holds a class number for each sample; name the way out."""
    rule, way_out = "hold one label per sample, shape (N,)", ""
    if labels.size == 0:
        way_out = "it is empty: save the number of each sample's class"
    elif labels.ndim == 2 and labels.shape[1] > 1 and _are_one_hot(labels):
        way_out = "of one-hot rows save .argmax(-1)"
    elif labels.ndim != 1:
        way_out = "save the number of one class for each sample"
        if labels.size == max(labels.shape, default=0):
            way_out = "save .ravel() of it"
    elif labels.dtype.kind not in "iu":
        rule, way_out = "hold integers", _numbering(labels)
    if way_out:
        found = f"{labels.dtype} of shape {labels.shape}"
        raise LabError(f"{path}: {name} must {rule}, got {found}; {way_out}")
    if labels.min() < 0:
        raise LabError(
            f"{path}: labels must be 0 .. K - 1, {name} holds {labels.min()}; number the classes "
            "from 0, and drop samples without a label"
        )


def _are_one_hot(labels: Any) -> bool:
    """Whether every row is 1 in one place and 0 elsewhere."""
    numbers = labels.dtype.kind in "biuf"
    return numbers and bool(((labels == 1).sum(1) == 1).all() and np.isin(labels, (0, 1)).all())


def _numbering(labels: Any) -> str:
    """Say how labels `(N,)` that are not integers become class numbers."""
    if labels.dtype.kind in "US":  # of both parts at once, as one may lack a class
        return (
            "number the classes of both parts at once, "
            "names, numbers = numpy.unique([*y_train, *y_test], return_inverse=True), and save "
            "numbers[:len(y_train)] and numbers[len(y_train):]"
        )
    if labels.dtype.kind == "f":
        odd = np.flatnonzero(~(labels == np.floor(labels)) | np.isinf(labels))
        if len(odd):
            return (
                f"row {odd[0]} is {labels[odd[0]]}, which is no class: save the number of each "
                "sample's class"
            )
    if labels.dtype.kind in "fb":
        return "save .astype(int) of it"
    return "save the number of each sample's class"


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
