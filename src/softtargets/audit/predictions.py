"""Predictions with their labels, to be read in blocks of rows."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from softtargets.audit.errors import AuditError
from softtargets.audit.groups import Grouping
from softtargets.audit.naming import Kind
from softtargets.audit.positions import Positions
from softtargets.audit.units import Units

BLOCK_ELEMENTS = 2**19  # numbers per block: 4 MB in float64

Block = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a file holds, as declared; nothing of it is checked before it is read.

    Args:
        path: of the file.
        key: name of the array.
        kind: logits or probs.
        num_classes: K.
        num_rows: N, None where only reading tells.
        note: what is special about reading it, or "".
        labels: file and array of the labels, for messages.
        read: called, gives blocks of scores `(b, K)` and labels `(b,)` as they are stored.
        grouping: which rows are to be averaged, None if each stands alone.
        units: which rows are drawn together in intervals, None if each by itself.
        positions: which positions of sequences or images, or which rows with a label, the rows are;
            None: all rows of a table.

    Raises:
        AuditError: there is one class only.
    """

    path: Path
    key: str
    kind: Kind
    num_classes: int
    num_rows: int | None
    note: str
    labels: str
    read: Callable[[], Generator[Block]]
    grouping: Grouping | None = None
    units: Units | None = None
    positions: Positions | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise AuditError(
                f"{self.where} must have at least 2 classes, got {self.num_classes}; two classes "
                "need both columns"
            )

    @property
    def where(self) -> str:
        """File and array, for messages: `runs/one.npz: test_logits`."""
        return place(self.path, self.key)

    def place_of(self, row: int) -> str:
        """Return where a row is, for messages."""
        return f"row {row}" if self.positions is None else self.positions.place(row)


def place(path: Path, key: str) -> str:
    """Return the name of an array in a file; an .npy file's own array has no other name."""
    return str(path) if key == path.stem else f"{path}: {key}"


def block_rows(num_classes: int) -> int:
    """Return how many rows a block has."""
    return max(1, BLOCK_ELEMENTS // max(1, num_classes))
