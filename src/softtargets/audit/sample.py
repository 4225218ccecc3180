"""A seeded random sample of rows, taken while a file of unknown length is read once."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from softtargets.audit.predictions import Block

SAMPLE_ROWS = 50_000
_SAMPLE_ELEMENTS = 2**26  # of very many classes fewer rows are kept


class Sample:
    """Up to `size` rows, all equally likely to be among them (a reservoir).

    The rows kept depend on the seed and on the number of rows, not on their values or blocks: two
    models' predictions of the same samples are sampled at the same rows.

    Args:
        num_classes: K.
        size: most rows to keep.
        seed: of the draws.
        unit: what a row is, for messages.

    References:
        Vitter, Random sampling with a reservoir, 1985 (algorithm R).
    """

    def __init__(
        self, num_classes: int, *, size: int = SAMPLE_ROWS, seed: int = 0, unit: str = "row"
    ) -> None:
        self.unit = unit
        self._size = min(size, max(1000, _SAMPLE_ELEMENTS // num_classes))
        self._draws = np.random.default_rng(seed)
        self._scores: Tensor | None = None
        self._labels = torch.empty(self._size, dtype=torch.int64)
        self._rows = torch.empty(self._size, dtype=torch.int64)
        self._seen = 0

    def __len__(self) -> int:
        return min(self._seen, self._size)

    @property
    def complete(self) -> bool:
        """Whether it holds all rows that passed."""
        return self._seen <= self._size

    @property
    def scores(self) -> Tensor:
        """`(n, K)`, as they were stored."""
        assert self._scores is not None, "nothing was read yet"
        return self._scores[: len(self)]

    @property
    def labels(self) -> Tensor:
        """`(n,)`, int64."""
        return self._labels[: len(self)]

    @property
    def rows(self) -> Tensor:
        """`(n,)`, int64: the number of each row kept."""
        return self._rows[: len(self)]

    def watched(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield the blocks as they are, keeping rows of them."""
        for scores, labels in blocks:
            self._take(scores, labels)
            yield scores, labels

    def turn_into_logits(self) -> None:
        """Take the logarithm of the scores, which must be probabilities, in their own memory."""
        assert self._scores is not None, "nothing was read yet"
        if self._scores.dtype.itemsize < 4:
            self._scores = self._scores.float()
        self._scores.log_()

    def _take(self, scores: Tensor, labels: Tensor) -> None:
        if self._scores is None:  # memory is taken when it is first written
            self._scores = torch.empty(self._size, scores.shape[1], dtype=scores.dtype)
        numbers = np.arange(self._seen, self._seen + len(scores))
        draws = (self._draws.random(len(scores)) * (numbers + 1)).astype(np.int64)
        places = np.where(numbers < self._size, numbers, draws)
        kept = np.flatnonzero(places < self._size)
        # Of several rows that fall on one place the last stays.
        kept = kept[len(kept) - 1 - np.unique(places[kept][::-1], return_index=True)[1]]
        place, row = torch.from_numpy(places[kept]), torch.from_numpy(kept)
        self._scores[place] = scores[row]
        self._labels[place] = labels[row]
        self._rows[place] = row + self._seen
        self._seen += len(scores)
