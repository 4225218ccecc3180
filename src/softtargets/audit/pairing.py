"""Predictions made of two arrays, with one of groups or clusters if there is one."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from softtargets.audit.arrays import BFLOAT16, StoredArray, too_wide
from softtargets.audit.clusters import arranged
from softtargets.audit.errors import AuditError
from softtargets.audit.layouts import Layout, blocks_of, class_dim_of, positions_of, units_of
from softtargets.audit.naming import Keys, Kind
from softtargets.audit.predictions import Block, Predictions, block_rows

_NAMES_AT_ONCE = 2**16  # of groups


def paired(
    path: Path,
    scores: StoredArray,
    labels: StoredArray,
    kind: Kind,
    *,
    keys: Keys,
    names: StoredArray | None = None,
    layout: Layout,
) -> Predictions:
    """Return predictions of two arrays.

    Args:
        path: of the scores' file.
        scores: `(N, K)`, or with more dimensions as `layout` says.
        labels: `(N,)`, the shape without the classes.
        kind: what the scores are.
        keys: what the user says about names.
        names: `(N,)`, which rows belong together; None if nothing is said.
        layout: what the user says about dimensions.

    Raises:
        AuditError: shapes or types do not fit.
    """
    _check_types(scores, labels)
    class_dim = class_dim_of(scores, labels, layout)
    found = Predictions(
        path=path,
        key=scores.name,
        kind=kind,
        num_classes=scores.shape[class_dim],
        num_rows=scores.shape[0],
        note=scores.note,
        labels=labels.where,
        read=lambda: _rows(scores, labels),
    )
    rows = len(scores.shape) == 2
    if keys.group is None or not rows or layout.said:
        _check_together(scores, keys)
        positions = positions_of(scores, labels, layout, class_dim)
        if not rows or layout.said or positions.ignored:
            found = replace(
                found,
                num_rows=len(positions.flat),
                read=lambda: blocks_of(scores, positions, class_dim),
                units=units_of(positions, class_dim, labels.where),
                positions=positions,
            )
    if names is None:
        return found
    _check_names(scores, names, keys)
    return arranged(found, keys, names.where, names.name, names.names(_NAMES_AT_ONCE))


def _rows(scores: StoredArray, labels: StoredArray) -> Generator[Block]:
    rows = block_rows(scores.shape[1])
    with closing(scores.blocks(rows)) as one, closing(labels.blocks(rows)) as other:
        yield from zip(one, other, strict=True)


def _check_together(scores: StoredArray, keys: Keys) -> None:
    if keys.group is not None or (keys.cluster is not None and len(scores.shape) > 2):
        raise AuditError(
            f"--{keys.purpose} {keys.column} is for rows (N, K) that all have a label, "
            f"{scores.where} has shape {scores.shape}; leave it out"
            + ("" if keys.group is not None else ": whole entries are drawn anyway")
        )


def _check_types(scores: StoredArray, labels: StoredArray) -> None:
    if not scores.floating or too_wide(scores.dtype):
        raise AuditError(
            f"{scores.where} must hold floating point numbers of at most 64 bits, got "
            f"{scores.dtype}; save .astype(numpy.float32) of it"
        )
    if len(scores.shape) < 2:
        raise AuditError(
            f"{scores.where} must have shape (N, K), got {scores.shape}; two classes need both "
            "columns"
        )
    if labels.dtype != BFLOAT16 and (
        np.dtype(labels.dtype).kind not in "iuf" or too_wide(labels.dtype)
    ):
        raise AuditError(
            f"{labels.where} must hold whole numbers, got {labels.dtype}; save the numbers of the "
            "classes, 0 .. K - 1, as integers"
        )


def _check_names(scores: StoredArray, names: StoredArray, keys: Keys) -> None:
    if names.dtype == BFLOAT16 or np.dtype(names.dtype).kind not in "iuUS":
        raise AuditError(
            f"{names.where} must hold whole numbers or strings to {keys.purpose} by, got "
            f"{names.dtype}; save names as numpy.array(names, dtype=str)"
        )
    if names.shape != scores.shape[:1]:
        raise AuditError(
            f"{names.where} must have shape ({scores.shape[0]},), one {keys.purpose} for each row "
            f"of {scores.where}, got {names.shape}"
        )
