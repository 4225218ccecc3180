"""Probabilities of events that may each happen or not: binary and multi-label predictions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from softtargets.batching import blocks
from softtargets.calibration.checks import check_floating, check_integers, check_not_empty
from softtargets.calibration.samples import without_ignored

_BLOCK_ELEMENTS = 2**18  # scores are read in blocks of this many


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """Checked predictions of one event; `of` makes them.

    Args:
        scores: the user's tensor, any shape.
        labels: the same shape, int64.
        kind: whether the scores are "probs", in [0, 1], or "logits".
        ignored: the same shape, bool: positions to leave out; None if there are none.
        num_samples: positions that count, at least 1.
    """

    scores: Tensor
    labels: Tensor
    kind: Literal["probs", "logits"]
    ignored: Tensor | None
    num_samples: int

    @classmethod
    def of(
        cls,
        scores: Tensor,
        labels: Tensor,
        kind: Literal["probs", "logits"],
        *,
        ignore_index: int = -100,
    ) -> "Events":
        """Check shapes, dtypes and labels; the values of the scores are checked as they are read.

        Raises:
            ValueError: shapes or labels do not fit, or no sample is left.
            TypeError: a wrong dtype.
        """
        check_events(scores, labels, kind)
        labels, ignored = without_ignored(labels, ignore_index)
        wrong = (labels != 0) & (labels != 1)
        if ignored is not None:
            wrong &= ~ignored
        if bool(wrong.any()):
            place = tuple(int(i) for i in wrong.nonzero()[0])
            raise ValueError(
                f"`labels` must be 0 or 1, got {int(labels[place])} at {_named(place)}; mark what "
                f"has no label with `ignore_index`, {ignore_index}"
            )
        count = labels.numel() if ignored is None else int((~ignored).sum())
        return cls(
            scores=scores.detach(), labels=labels, kind=kind, ignored=ignored, num_samples=count
        )

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks `(n,)` of float64 scores, their values checked, and bool outcomes, in order.

        Raises:
            ValueError: a score is NaN or, as a probability, outside [0, 1].
        """
        # A last dimension of one lets `blocks` cut all of the user's.
        for index in blocks(torch.Size((*self.scores.shape, 1)), _BLOCK_ELEMENTS):
            scores, outcomes = self.scores[index].flatten().double(), self.labels[index] == 1
            outcomes = outcomes.flatten()
            kept = None if self.ignored is None else ~self.ignored[index].flatten()
            if kept is not None:
                scores, outcomes = scores[kept], outcomes[kept]
            self._check(scores)
            yield scores, outcomes

    def check_values(self) -> None:
        """Read all scores once, so that bad values raise."""
        for _ in self.blocks():
            pass

    def read(self) -> tuple[Tensor, Tensor]:
        """All scores `(N,)`, float64, and outcomes `(N,)`, bool, in order.

        Raises:
            ValueError: a score is NaN or, as a probability, outside [0, 1].
        """
        scores, outcomes = zip(*self.blocks(), strict=True)
        return torch.cat(scores), torch.cat(outcomes)

    def _check(self, scores: Tensor) -> None:
        right = ~scores.isnan() if self.kind == "logits" else (scores >= 0) & (scores <= 1)
        if bool(right.all()):
            return
        value = float(scores[~right][0])
        wrong = self.scores.isnan() if value != value else self.scores == value
        if self.ignored is not None:
            wrong &= ~self.ignored
        place = _named(tuple(int(i) for i in wrong.nonzero()[0]))
        if self.kind == "logits":
            raise ValueError(
                f"`logits` must hold no NaN, got one at {place}; find out where the model made it"
            )
        raise ValueError(
            f"`probs` must be in [0, 1], got {value:g} at {place}; if these are logits, apply "
            "sigmoid to them first"
        )


def label_events(
    probs: Tensor, labels: Tensor, *, class_dim: int, ignore_index: int
) -> Iterator[Events]:
    """The events of multi-label predictions, one for each label that some sample has.

    Raises:
        ValueError: shapes or labels do not fit, or no sample is left.
        TypeError: a wrong dtype.
    """
    check_events(probs, labels, "probs")
    if not -probs.ndim <= class_dim < probs.ndim:
        raise ValueError(
            f"`class_dim` must be a dimension of `probs`, which has {probs.ndim}, got {class_dim}"
        )
    _, ignored = without_ignored(labels, ignore_index)
    if ignored is not None:
        seen = (~ignored).movedim(class_dim, -1).flatten(0, -2).any(0)
    for k in range(probs.shape[class_dim]):
        if ignored is None or bool(seen[k]):
            yield Events.of(
                probs.select(class_dim, k),
                labels.select(class_dim, k),
                "probs",
                ignore_index=ignore_index,
            )


def check_events(scores: Tensor, labels: Tensor, kind: str) -> None:
    """Raise unless shapes and dtypes are those of events."""
    check_floating(scores, kind)
    check_not_empty(scores, kind)
    if not (isinstance(labels, Tensor) and labels.dtype == torch.bool):
        check_integers(labels)
    if labels.shape != scores.shape:
        raise ValueError(
            f"`labels` must have the shape of `{kind}`, {tuple(scores.shape)}, one 0 or 1 for each "
            f"probability of an event, got {tuple(labels.shape)}; classes that exclude each other "
            "have functions without `binary` or `multilabel`"
        )


def _named(place: tuple[int, ...]) -> str:
    return str(place[0]) if len(place) == 1 else str(place)
