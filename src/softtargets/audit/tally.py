"""One pass over predictions: five numbers per sample, and bins per class."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from softtargets.audit.naming import Kind
from softtargets.audit.predictions import Block
from softtargets.calibration import BinStatistics
from softtargets.calibration.class_counts import ClassCounts

BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """What is kept of predictions; nothing of it has N x K numbers.

    Args:
        confidence: `(N,)`, float64: probability of the predicted class.
        right: `(N,)`, bool: whether that class is the label.
        predicted: `(N,)`, int32.
        labels: `(N,)`, int32.
        negative_log_likelihood: `(N,)`, float64.
        brier_score: `(N,)`, float64.
        by_class: bins of each class's probability in all samples, `(K, bins)`.
    """

    confidence: Tensor
    right: Tensor
    predicted: Tensor
    labels: Tensor
    negative_log_likelihood: Tensor
    brier_score: Tensor
    by_class: BinStatistics

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.by_class.counts)

    @property
    def top_label(self) -> BinStatistics:
        """Bins of the confidence; the outcome is "the prediction is right"."""
        return BinStatistics.from_scores(self.confidence, self.right, bins=BINS)


def tally(
    blocks: Iterable[Block],
    kind: Kind,
    *,
    temperature: float = 1.0,
) -> Tally:
    """Go once through checked blocks of scores `(b, K)` and labels `(b,)`; at least one block.

    Args:
        blocks: see above.
        kind: what the scores are.
        temperature: by which logits, or the logarithms of probabilities, are divided.
    """
    kept = Counting(kind, temperature=temperature)
    for _ in kept.watched(blocks):
        pass
    return kept.result()


class Counting:
    """A tally of blocks that something else reads.

    Args:
        kind: what the scores are.
        temperature: see `tally`.
    """

    def __init__(self, kind: Kind, *, temperature: float = 1.0) -> None:
        self._kind: Kind = kind
        self._temperature = temperature
        self._columns = _Columns()
        self._by_class: ClassCounts | None = None

    def watched(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield the blocks as they are, counting them."""
        for scores, labels in blocks:
            self._add(scores, labels)
            yield scores, labels

    def result(self) -> Tally:
        """Return the tally, after at least one block."""
        assert self._by_class is not None, "at least one block is read"
        counts, confidence_sums, outcome_sums = self._by_class.result()
        return Tally(
            **self._columns.columns(),
            by_class=BinStatistics(
                edges=torch.arange(BINS + 1).double() / BINS,
                counts=counts.long(),
                confidence_sums=confidence_sums,
                outcome_sums=outcome_sums,
            ),
        )

    def _add(self, scores: Tensor, labels: Tensor) -> None:
        probs, losses = _probs_and_losses(scores, labels, self._kind, self._temperature)
        confidence, predicted = probs.max(-1)
        at_label = probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        brier = torch.linalg.vecdot(probs, probs) - 2 * at_label + 1
        if self._by_class is None:
            self._by_class = ClassCounts(probs.shape[1], BINS, probs.device)
        self._by_class.add(probs, labels)
        self._columns.append(
            confidence=confidence,
            right=predicted == labels,
            predicted=predicted.int(),
            labels=labels.int(),
            negative_log_likelihood=losses,
            brier_score=brier.clamp_min(0),
        )


def joined(one: Tally, other: Tally) -> Tally:
    """Return the tally of both sets of samples, in this order."""
    columns = {
        field.name: torch.cat([getattr(one, field.name), getattr(other, field.name)])
        for field in fields(Tally)
        if field.name != "by_class"
    }
    return Tally(**columns, by_class=one.by_class + other.by_class)


def _probs_and_losses(
    scores: Tensor, labels: Tensor, kind: Kind, temperature: float
) -> tuple[Tensor, Tensor]:
    """Probabilities `(b, K)` and minus the logarithm of the label's, float64."""
    label = labels.unsqueeze(-1)
    values = scores.to(torch.float64, copy=True)
    if kind == "probs":
        if temperature == 1:
            probs = values.clamp_max_(1)  # a row may exceed 1 by the rounding of its type
            return probs, -probs.gather(-1, label).squeeze(-1).log()
        values.log_()
    values.sub_(values.amax(-1, keepdim=True))
    if temperature != 1:
        values.div_(temperature)
    at_label = values.gather(-1, label).squeeze(-1)
    total = values.exp_().sum(-1, keepdim=True)
    return values.div_(total), total.squeeze(-1).log() - at_label


class _Columns:
    """Columns that grow in few large pieces.

    Small ones that stay would lie between the blocks that are freed, and keep the allocator from
    using their place again: of a file of 4 GB, that made 11 GB.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Tensor] = {}
        self._used = 0

    def append(self, **parts: Tensor) -> None:
        count = len(next(iter(parts.values())))
        for name, part in parts.items():
            column = self._columns.get(name, part.new_empty(0))
            if self._used + count > len(column):
                room = max(2**16, 2 * len(column), self._used + count)
                column = torch.cat([column, column.new_empty(room - len(column))])
                self._columns[name] = column
            column[self._used : self._used + count] = part
        self._used += count

    def columns(self) -> dict[str, Tensor]:
        return {name: column[: self._used] for name, column in self._columns.items()}
