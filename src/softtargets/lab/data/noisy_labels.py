"""Training labels of a file, in place of the true ones."""

import lzma
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softtargets.lab.data.dataset import DataSet
from softtargets.lab.errors import LabError

ARCHIVE_ERRORS = (MemoryError, zipfile.BadZipFile, lzma.LZMAError, zlib.error)
_TRUTH = "clean"  # the name that the human labels of CIFAR give the true ones


def with_noisy(data: DataSet, source: str) -> DataSet:
    """Return the data set with the training labels of a file besides the true ones.

    Args:
        data: the data set.
        source: `PATH`, or `PATH:NAME` of one of an npz file's arrays.

    Raises:
        LabError: the file cannot be read, or its labels do not fit the data.
    """
    labels, truth = _read_labels(source)
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
    if truth is not None:
        _check_order(source, truth, data)
    return replace(data, noisy=torch.from_numpy(labels.astype(np.int64))[data.positions])


def _check_order(source: str, truth: Any, data: DataSet) -> None:
    """Raise where the file says that its rows belong to other samples."""
    if truth.shape != (data.total,) or truth.dtype.kind not in "iu":
        return
    kept = torch.from_numpy(truth.astype(np.int64))[data.positions]
    wrong = int((kept != data.train.labels).sum())
    if wrong:
        raise LabError(
            f"{source}: its array {_TRUTH!r} differs from the labels of {data.name} in {wrong} of "
            f"{len(kept)} rows, so its rows belong to other samples; the data must be in the order "
            "that the labels were collected in, for those of CIFAR that of the official files"
        )


def _read_labels(source: str) -> tuple[Any, Any]:
    """Return the labels of a file, and those that it says are the true ones, or None."""
    path, name = Path(source), None
    if not path.is_file() and ":" in source:
        path, name = Path(source.rpartition(":")[0]), source.rpartition(":")[2]
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded, None
        with loaded:
            names = list(loaded.files)
            chosen = name or ("y_train" if "y_train" in names else names[0])
            if chosen in names and (name or len(names) == 1 or chosen == "y_train"):
                return loaded[chosen], loaded[_TRUTH] if _TRUTH in names else None
    except (OSError, ValueError, TypeError, EOFError, IndexError, *ARCHIVE_ERRORS) as error:
        raise LabError(
            f"{source} cannot be read as noisy labels; save them with numpy.save(path, labels)"
        ) from error
    raise LabError(
        f"{path} holds the arrays {', '.join(names)}; name one of them, as {path}:{names[0]}"
    )
