"""One pass over predictions: five numbers per sample, and bins per class."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from softtargets.audit.class_scatter import ClassScatter, most_classes
from softtargets.audit.naming import Kind
from softtargets.audit.predictions import Block
from softtargets.audit.units import Draws, Moments
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
        units: `(N,)`: the unit of each, 0 .. U - 1, if units are drawn and not samples.
        class_scatter: of the sums that units have in those bins; None: of too many classes.
    """

    confidence: Tensor
    right: Tensor
    predicted: Tensor
    labels: Tensor
    negative_log_likelihood: Tensor
    brier_score: Tensor
    by_class: BinStatistics
    units: Tensor | None = None
    class_scatter: Moments | Draws | None = None

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
    units: Tensor | None = None,
) -> Tally:
    """Go once through checked blocks of scores `(b, K)` and labels `(b,)`; at least one block.

    Args:
        blocks: see above.
        kind: what the scores are.
        temperature: by which logits, or the logarithms of probabilities, are divided.
        units: `(N,)`: the unit of each row to come, 0 .. U - 1; None: each is drawn by itself.
    """
    kept = Counting(kind, temperature=temperature, units=units)
    for _ in kept.watched(blocks):
        pass
    return kept.result()


class Counting:
    """A tally of blocks that something else reads.

    Args:
        kind: what the scores are.
        temperature: see `tally`.
        units: see `tally`.
    """

    def __init__(
        self, kind: Kind, *, temperature: float = 1.0, units: Tensor | None = None
    ) -> None:
        self._kind: Kind = kind
        self._units = units
        self._scatter: ClassScatter | None = None
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
            units=self._units,
            class_scatter=None if self._scatter is None else self._scatter.result(),
        )

    def _add(self, scores: Tensor, labels: Tensor) -> None:
        probs, losses = _probs_and_losses(scores, labels, self._kind, self._temperature)
        confidence, predicted = probs.max(-1)
        at_label = probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        brier = torch.linalg.vecdot(probs, probs) - 2 * at_label + 1
        if self._by_class is None:
            self._by_class = ClassCounts(probs.shape[1], BINS, probs.device)
            if self._units is not None and probs.shape[1] <= most_classes(BINS):
                self._scatter = ClassScatter(self._units, probs.shape[1], BINS)
        self._by_class.add(probs, labels)
        if self._scatter is not None:
            self._scatter.add(probs, labels)
        self._columns.append(
            confidence=confidence,
            right=predicted == labels,
            predicted=predicted.int(),
            labels=labels.int(),
            negative_log_likelihood=losses,
            brier_score=brier.clamp_min(0),
        )


def joined(one: Tally, other: Tally) -> Tally:
    """Return the tally of both sets of samples, in this order; units are those of one only."""
    apart = ("by_class", "units", "class_scatter")
    columns = {
        field.name: torch.cat([getattr(one, field.name), getattr(other, field.name)])
        for field in fields(Tally)
        if field.name not in apart
    }
    units = None
    scatter: Moments | Draws | None = None
    if one.units is not None and other.units is not None:
        units = torch.cat([one.units, other.units + (one.units.max() + 1)])
    if isinstance(one.class_scatter, Moments) and isinstance(other.class_scatter, Moments):
        scatter = one.class_scatter + other.class_scatter
    if isinstance(one.class_scatter, Draws) and isinstance(other.class_scatter, Draws):
        scatter = one.class_scatter.joined(other.class_scatter)
    return Tally(
        **columns, by_class=one.by_class + other.by_class, units=units, class_scatter=scatter
    )


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
