"""Which rows of a file belong to one group, known before their predictions are read."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.audit.errors import AuditError
from softtargets.audit.open_sums import ends_of, most_open

LARGEST_OPEN = 2**28  # bytes of the sums of groups whose last row is still to come


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grouping:
    """The groups of the rows.

    Args:
        where: file and column, for messages.
        column: its name.
        names: of the G groups, in order of first appearance.
        index: `(N,)`, int64: the group of each row.
        first: `(G,)`, int64: the first row of each group.
        last: `(G,)`, int64: the last one.
        counts: `(G,)`, int64: its rows.
    """

    where: str
    column: str
    names: list[Hashable]
    index: Tensor
    first: Tensor
    last: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.names)

    @property
    def most_open(self) -> int:
        """The most groups of which some rows have passed and others are to come."""
        return most_open(self.first, self.last, len(self.index))

    @property
    def completed(self) -> Tensor:
        """`(G,)`: the groups in the order of their last rows."""
        return self.last.argsort()


def group_rows(
    where: str, column: str, names: Iterable[Sequence[Hashable]], num_classes: int
) -> Grouping:
    """Return the groups of a column.

    Args:
        where: file and column, for messages.
        column: its name.
        names: its blocks.
        num_classes: K.

    Raises:
        AuditError: a row names no group, or the sums of unfinished groups would not fit in memory.
    """
    known: dict[Hashable, int] = {}
    numbers = []
    rows = 0
    for block in names:
        blank = next((row for row, name in enumerate(block) if name in ("", b"")), None)
        if blank is not None:
            raise AuditError(
                f"{where} names no group in row {rows + blank}; give a row that belongs to none a "
                "name of its own"
            )
        numbers.append(
            torch.tensor([known.setdefault(name, len(known)) for name in block], dtype=torch.int64)
        )
        rows += len(block)
    if not rows:
        raise AuditError(f"{where} holds no rows")
    index = torch.cat(numbers)
    first, last = ends_of(index, len(known))
    grouping = Grouping(
        where=where,
        column=column,
        names=list(known),
        index=index,
        first=first,
        last=last,
        counts=torch.bincount(index),
    )
    _check_memory(grouping, num_classes)
    return grouping


def _check_memory(grouping: Grouping, num_classes: int) -> None:
    size = 8 * grouping.most_open * num_classes
    if size > LARGEST_OPEN:
        raise AuditError(
            f"{grouping.where} has up to {grouping.most_open:,} groups unfinished at a time, whose "
            f"sums of {num_classes:,} classes need {size / 2**30:.1f} GiB of memory; sort the rows "
            f"by {grouping.column}, so that those of a group follow each other"
        )
