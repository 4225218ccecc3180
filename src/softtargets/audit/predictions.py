"""Predictions with their labels, to be read in blocks of rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from softtargets.audit.naming import Kind

BLOCK_ELEMENTS = 2**19  # numbers per block: 4 MB in float64

Block = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a file holds, as declared; nothing of it is checked before it is read.

    Args:
        where: file and array, for messages: `run.npz: test_logits`.
        key: name of the array.
        kind: logits or probs.
        num_classes: K.
        num_rows: N, None where only reading tells.
        note: what is special about reading it, or "".
        read: called, gives blocks of scores `(b, K)` and labels `(b,)` as they are stored.
    """

    where: str
    key: str
    kind: Kind
    num_classes: int
    num_rows: int | None
    note: str
    read: Callable[[], Iterator[Block]]


def block_rows(num_classes: int) -> int:
    """Return how many rows a block has."""
    return max(1, BLOCK_ELEMENTS // max(1, num_classes))
