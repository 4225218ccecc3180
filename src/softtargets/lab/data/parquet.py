"""Tables in Parquet files, read with pyarrow."""

from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab.data.arrays import check_arrays
from softtargets.lab.data.assembly import Contents, Part, stratified, with_validation
from softtargets.lab.errors import LabError, reason

LABEL, PART = "label", "split"
_TEST_SHARE = 1 / 5
_NUMBERED = "number the classes 0 .. K - 1, as integers"


def parquet_contents(path: Path) -> Contents:
    """Return the rows of a table: column `label` of whole numbers, all others features.

    A column `split` says `train` or `test` row by row; without one a fifth of every class is for
    testing, always the same rows. A seventh of the training part becomes validation data.
    Columns of lists count as several features.

    Args:
        path: of the file.

    Raises:
        LabError: pyarrow is missing, the file is damaged, or columns do not fit.
    """
    table = parquet_table(path)
    names = [name for name in table.column_names if name not in (LABEL, PART)]
    if LABEL not in table.column_names or not names or not table.num_rows:
        raise LabError(
            f"{path} must have rows with a column {LABEL!r} and features in others, got columns "
            f"{', '.join(table.column_names) or '(none)'} and {table.num_rows} rows"
        )
    labels = _numbers(path, table, LABEL)
    if labels.dtype.kind not in "iu":
        raise LabError(f"{path}: {LABEL} must hold whole numbers, got {labels.dtype}; {_NUMBERED}")
    inputs = np.concatenate([_numbers(path, table, name) for name in names], axis=1)
    labels = labels[:, 0] if labels.ndim == 2 else labels
    tested = _tested(path, table, labels)
    parts = {
        "train": Part(inputs=inputs[~tested], labels=labels[~tested]),
        "test": Part(inputs=inputs[tested], labels=labels[tested]),
    }
    check_arrays(
        path,
        {f"x_{name}": part.inputs for name, part in parts.items()}
        | {f"y_{name}": part.labels for name, part in parts.items()},
    )
    return with_validation(
        path.name.removesuffix(".parquet"),
        parts["train"],
        parts["test"],
        places=np.flatnonzero(~tested),
        total=len(labels),
    )


def parquet_table(path: Path) -> Any:
    """Return a whole file as a table of pyarrow.

    Args:
        path: of the file.

    Raises:
        LabError: pyarrow is missing, or the file is damaged.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LabError(
            f"{path}: Parquet files need pyarrow; pip install 'softtargets[parquet]'"
        ) from error
    try:
        return parquet.read_table(path, use_threads=False, partitioning=None)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise LabError(
            f"{path} is no whole Parquet file ({reason(error)}); write it anew"
        ) from error


def _numbers(path: Path, table: Any, name: str) -> Any:
    """Return a column as `(N, width)`."""
    import pyarrow

    column = table.column(name).combine_chunks()
    types = pyarrow.types
    if types.is_fixed_size_list(column.type) or types.is_list(column.type):
        lengths = column.value_lengths() if types.is_list(column.type) else None
        if column.null_count or (lengths is not None and len(lengths.unique()) != 1):
            raise LabError(f"{path}: {name} must hold lists of one length in every row")
        column = column.flatten()
    if not (types.is_integer(column.type) or types.is_floating(column.type)):
        way_out = _NUMBERED if name == LABEL else "encode it, or drop it"
        raise LabError(f"{path}: {name} must hold numbers, got {column.type}; {way_out}")
    if column.null_count:
        raise LabError(
            f"{path}: {name} holds {column.null_count} nulls; fill them in, or drop rows"
        )
    values = column.to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
    wrong = np.flatnonzero(~np.isfinite(values).all(1))
    if len(wrong):
        raise LabError(
            f"{path}: {name} must be finite, it is not in row {wrong[0]}, the first of "
            f"{len(wrong)}; fill in what is missing, or drop these rows"
        )
    return values


def _tested(path: Path, table: Any, labels: Any) -> Any:
    """Return which rows are for testing."""
    tested = np.zeros(table.num_rows, dtype=bool)
    if PART in table.column_names:
        words = np.array(table.column(PART).to_pylist(), dtype=object)
        odd = [word for word in words if word not in ("train", "test")]
        if odd:
            raise LabError(f"{path}: {PART} must hold train or test in every row, got {odd[0]!r}")
        return words == "test"
    try:
        tested[stratified(np.arange(len(labels)), labels, _TEST_SHARE)[1]] = True
    except ValueError as error:
        raise LabError(
            f"{path}: a fifth of every class cannot be kept for testing ({reason(error)}); add a "
            f"column {PART!r} that says train or test"
        ) from error
    return tested
