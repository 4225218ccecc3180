"""Predictions at the positions of sequences and label maps, read as rows of classes."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from softtargets.audit.arrays import LARGEST_WHOLE, StoredArray
from softtargets.audit.errors import AuditError
from softtargets.audit.positions import Positions, place_of
from softtargets.audit.predictions import Block, block_rows
from softtargets.audit.units import Units

MOST_POSITIONS = 2_000_000  # measured unless more are asked for: 100 to 250 bytes each
_DEFAULT_IGNORED = -100
_SEED = 0  # of the positions drawn: those of the same shape are the same, for any model

ClassDim = Literal[-1, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a user says of arrays: where the classes are, which labels count.

    Args:
        class_dim: where the classes are, last or second; None: the shape of the labels says.
        ignore_index: the label of positions to leave out; None: -100.
        positions: how many of each sequence or image are measured; None: all, or `MOST_POSITIONS`
            in all.
    """

    class_dim: ClassDim | None = None
    ignore_index: int | None = None
    positions: int | None = None

    def __post_init__(self) -> None:
        if self.positions is not None and self.positions < 1:
            raise AuditError(f"--positions must be at least 1, got {self.positions}")
        if self.ignore_index is not None and not -(2**63) <= self.ignore_index < 2**63:
            raise AuditError(
                f"--ignore-index must be a number of 64 bits, got {self.ignore_index}; give the "
                "label of what has none"
            )

    @property
    def said(self) -> bool:
        """Whether labels may be missing, or positions are to be drawn."""
        return self.ignore_index is not None or self.positions is not None

    def refuse(self, where: str) -> None:
        """Raise if anything is said, of a file that holds rows."""
        for option, value in (
            ("--class-dim", self.class_dim),
            ("--ignore-index", self.ignore_index),
            ("--positions", self.positions),
        ):
            if value is not None:
                raise AuditError(
                    f"{where} is a table, which {option} is not for; leave it out, and drop rows "
                    "without a label"
                )


def positions_of(
    scores: StoredArray, labels: StoredArray, layout: Layout, class_dim: ClassDim
) -> Positions:
    """Read the labels and return which positions are measured.

    Args:
        scores: two dimensions or more.
        labels: the shape of `scores` without the classes.
        layout: what the user says.
        class_dim: where the classes are.

    Raises:
        AuditError: a label is no class, none is left, or rows were to be drawn.
    """
    entries, *shape = labels.shape
    size = prod(shape)
    if not shape and layout.positions is not None:
        raise AuditError(f"{scores.where} has rows, and all are measured; leave --positions out")
    if entries * size == 0:
        raise AuditError(f"{scores.where} holds no rows")
    wanted = layout.positions or max(1, MOST_POSITIONS // entries)
    drawn = wanted if shape and wanted < size and _too_many(entries * size, layout) else None
    ignored = _DEFAULT_IGNORED if layout.ignore_index is None else layout.ignore_index
    num_classes = scores.shape[class_dim]
    flats, kept, looked_at = [], [], 0
    for start, values in _label_blocks(labels, size):
        flat, values = _drawn(start, values, drawn)
        looked_at += len(values)
        there = values != ignored
        wrong = there & ~((values >= 0) & (values < num_classes))
        if values.is_floating_point():
            wrong |= there & (values != values.floor())
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise _wrong_label(labels, values[row].item(), int(flat[row]), num_classes)
        flats.append(flat[there])
        kept.append(values[there].int())
    found = Positions(
        entries=entries,
        shape=tuple(shape),
        drawn=drawn,
        ignored=looked_at - sum(map(len, kept)),
        flat=torch.cat(flats),
        labels=torch.cat(kept),
    )
    if not len(found.flat):
        raise AuditError(
            f"{labels.where} has no label: all {looked_at:,} are {ignored}, which is ignored"
        )
    return found


def units_of(positions: Positions, class_dim: ClassDim, where: str) -> Units | None:
    """Return which positions are drawn together; None where an entry is one row.

    Raises:
        AuditError: all are in one entry.
    """
    if not positions.shape:
        return None
    name = "image" if len(positions.shape) > 1 or class_dim == 1 else "sequence"
    entry = positions.flat // positions.per_entry
    index = torch.unique_consecutive(entry, return_inverse=True)[1].int()
    if int(index[-1]) == 0:
        raise AuditError(
            f"{where} has labels in one {name} alone; intervals are for drawing whole {name}s, so "
            "save several, along the first dimension"
        )
    return Units(name=name, index=index, where=where)


def class_dim_of(scores: StoredArray, labels: StoredArray, layout: Layout) -> ClassDim:
    """Return where the classes are.

    Raises:
        AuditError: the labels fit neither way, or both and nothing is said.
    """
    shape, said = scores.shape, layout.class_dim
    shapes: dict[ClassDim, tuple[int, ...]] = {-1: shape[:-1], 1: shape[:1] + shape[2:]}
    if len(shape) == 2:
        del shapes[-1]  # it is the same
    fitting = [place for place in shapes if shapes[place] == labels.shape]
    if said is not None and len(shape) > 2:
        fitting = [place for place in fitting if place == said]
        shapes = {said: shapes[said]}
    if not fitting:
        expected = " or ".join(
            f"{wanted}{_where(place) if len(shape) > 2 else ''}" for place, wanted in shapes.items()
        )
        for_each = "row" if len(shape) == 2 else "position"
        raise AuditError(
            f"{labels.where} must have shape {expected}, one label for each {for_each} of "
            f"{scores.where} {shape}, got {labels.shape}"
        )
    if len(fitting) > 1:
        raise AuditError(
            f"{scores.where} has shape {shape}, labels {labels.shape}: the classes may be last or "
            "second; say --class-dim -1 or --class-dim 1"
        )
    return fitting[0]


def blocks_of(scores: StoredArray, positions: Positions, class_dim: ClassDim) -> Generator[Block]:
    """Yield blocks `(b, K)` of scores and `(b,)` labels, in order.

    Args:
        scores: two dimensions or more.
        positions: which are wanted.
        class_dim: where the classes are.

    Raises:
        AuditError: an image is too large to be read at once.
    """
    source = _last(scores) if class_dim == -1 or len(scores.shape) == 2 else _second(scores)
    start = 0
    with closing(source):
        for grid in source:  # (e, K, p) of e entries, or of one p of its positions in a row
            entries, num_classes, size = grid.shape
            ends = torch.tensor([start, start + entries * size])
            first, end = torch.searchsorted(positions.flat, ends).tolist()
            step = block_rows(num_classes)
            for row in range(first, end, step):
                part = slice(row, min(row + step, end))
                flat = positions.flat[part] - start
                yield _rows(grid, flat), positions.labels[part]
            start += entries * size


def _rows(grid: Tensor, flat: Tensor) -> Tensor:
    """`(n, K)`: the scores at some positions of `(e, K, p)` ones."""
    entries, _, size = grid.shape
    if entries == 1:
        whole = len(flat) == int(flat[-1]) - int(flat[0]) + 1
        columns = grid[0, :, int(flat[0]) : int(flat[-1]) + 1] if whole else grid[0][:, flat]
        return columns.T.contiguous()
    return grid[flat // size, :, flat % size]


def _last(scores: StoredArray) -> Generator[Tensor]:
    """Blocks `(1, K, n)`, views, of scores whose classes are last."""
    num_classes = scores.shape[-1]
    rows = block_rows(num_classes)
    if scores.by_columns:
        for block in scores.blocks(1):
            whole = block.reshape(-1, num_classes)
            for start in range(0, len(whole), rows):
                yield whole[start : start + rows].T.unsqueeze(0)
        return
    flat = replace(scores, shape=(prod(scores.shape[:-1]), num_classes))
    for block in flat.blocks(rows):
        yield block.T.unsqueeze(0)


def _second(scores: StoredArray) -> Generator[Tensor]:
    """Blocks `(e, K, p)` of whole entries whose classes are second."""
    _, num_classes, *shape = scores.shape
    size = num_classes * prod(shape) * scores.itemsize
    if size > LARGEST_WHOLE:
        raise AuditError(
            f"{scores.where} needs {size / 2**30:.1f} GiB of memory for one image of shape "
            f"{scores.shape[1:]}; save the classes last, numpy.moveaxis(scores, 1, -1), or fewer "
            "positions"
        )
    for block in scores.blocks(max(1, block_rows(num_classes * prod(shape)))):
        yield block.flatten(2)


def _label_blocks(labels: StoredArray, size: int) -> Generator[tuple[int, Tensor]]:
    """Blocks `(e, positions)` of labels with the number of their first entry."""
    start = 0
    with closing(labels.blocks(block_rows(size))) as blocks:
        for block in blocks:
            yield start, block.flatten(1) if block.ndim > 1 else block.unsqueeze(1)
            start += len(block)


def _drawn(start: int, values: Tensor, drawn: int | None) -> tuple[Tensor, Tensor]:
    """Numbers `(n,)` of positions, counted through all entries, and their labels."""
    entries, size = values.shape
    first = (start + torch.arange(entries)).unsqueeze(1) * size
    if drawn is None:
        flat = first + torch.arange(size)
    else:
        picks = [
            np.sort(np.random.default_rng([_SEED, start + entry]).permutation(size)[:drawn])
            for entry in range(entries)
        ]
        chosen = torch.from_numpy(np.stack(picks))
        flat, values = first + chosen, values.gather(1, chosen)
    values = values.flatten()
    return flat.flatten(), values if values.is_floating_point() else values.long()


def _too_many(total: int, layout: Layout) -> bool:
    return layout.positions is not None or total > MOST_POSITIONS


def _where(class_dim: int) -> str:
    return " (classes last)" if class_dim == -1 else " (classes second)"


def _wrong_label(labels: StoredArray, value: float, flat: int, num_classes: int) -> AuditError:
    marks = "; save the number of a class, or -100 where there is no label"
    if float(value).is_integer():
        marks = f"; if {value:.6g} marks what has no label, say --ignore-index {value:.6g}"
    return AuditError(
        f"{labels.where} must hold whole numbers in 0 .. {num_classes - 1}, got {value:.6g} in "
        f"{place_of(flat, labels.shape[1:])}{marks}"
    )
