"""The estimators themselves, for many resamples at once; see `estimate_transition`.

A resample is a row of sample numbers, `picked` `(B, N)`; the samples as they are have the row
0 .. N - 1. So the estimate and its bootstrap are one computation.
"""

import warnings
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from softtargets.noise.transition_checks import Evidence, anchor_place

NEAR = 0.9  # a near anchor of class i has at least this share of the anchor's p(noisy = i | x)
# Equal probabilities must not fall below their own mean by rounding; cleanlab's slack.
_THRESHOLD_SLACK = 1e-6


class AbstractRows(ABC):
    """The rows of a transition matrix, for any resample of the samples that it was made with."""

    @abstractmethod
    def of(self, picked: Tensor) -> Tensor:
        """Return `(B, K, K)` float64, rows summing to 1, for resamples `(B, N)` int64."""

    @abstractmethod
    def support(self) -> Tensor:
        """Return `(K,)` int64: how many of all samples stand behind each row."""


def estimator(evidence: Evidence) -> AbstractRows:
    """Return the rows of the method, or raise where a row has nothing to be made of."""
    if evidence.labels is None or evidence.method == "anchor":
        return Anchors(evidence.probs, evidence.quantile)
    if evidence.method == "confident":
        return ConfidentJoint(evidence.probs, evidence.labels)
    anchors = Anchors(evidence.probs, evidence.quantile)
    return Dual(anchors, PredictedCounts(evidence.probs, evidence.labels))


def everyone(probs: Tensor) -> Tensor:
    """Return the resample that is the samples themselves, `(1, N)`."""
    return torch.arange(len(probs), device=probs.device).unsqueeze(0)


@final
class Anchors(AbstractRows):
    """Row i is the answer for the sample at the quantile of p(noisy = i | x)."""

    def __init__(self, probs: Tensor, quantile: float) -> None:
        self.probs = probs
        self._order = probs.argsort(stable=True, dim=0)
        self._rank = self._order.argsort(0)
        self._last = len(probs) - 1
        self._place = anchor_place(quantile, len(probs))
        self._check()

    def of(self, picked: Tensor) -> Tensor:
        rows: Tensor = self.probs[self._numbers(picked)]
        return rows

    def support(self) -> Tensor:
        """Return how many samples are like the anchor, 0 where it is not of its own class."""
        anchor = self._numbers(everyone(self.probs))[0]
        own = torch.arange(len(anchor), device=anchor.device)
        predicted = self.probs.argmax(-1)
        near = self.probs >= NEAR * self.probs[anchor, own]
        near &= predicted.unsqueeze(-1) == own
        return torch.where(predicted[anchor] == own, near.sum(0), 0)

    def _check(self) -> None:
        """Raise, naming the first one, where no probability of a class is above 0 at its anchor."""
        anchor = self._numbers(everyone(self.probs))
        nowhere = (self.probs.gather(0, anchor)[0] == 0).nonzero()
        if len(nowhere):
            raise ValueError(
                f"`probs` must hold an anchor of every class, that of class {int(nowhere[0])} has "
                "the probability 0; take a larger `quantile` or a better model, or leave the class "
                "out"
            )

    def _numbers(self, picked: Tensor) -> Tensor:
        """`(B, K)`: which samples are the anchors, an order statistic of each resample."""
        ranks = self._rank[picked]  # (B, N, K)
        if self._place == self._last:
            chosen = ranks.amax(1)
        else:
            chosen = ranks.kthvalue(self._place + 1, 1).values
        return self._order.gather(0, chosen)


@final
class PredictedCounts:
    """Row l is the noisy labels of the samples whose most probable label is l."""

    def __init__(self, probs: Tensor, labels: Tensor) -> None:
        self._num_classes = probs.shape[1]
        self._pairs = probs.argmax(-1) * self._num_classes + labels
        self._whole = normalised(self._count(everyone(probs)), None, "predicted as")

    def of(self, picked: Tensor) -> Tensor:
        """Return `(B, K, K)` float64, rows summing to 1, for resamples `(B, N)` int64."""
        return normalised(self._count(picked), self._whole)

    def _count(self, picked: Tensor) -> Tensor:
        return tally(self._pairs[picked], self._num_classes)


@final
class ConfidentJoint(AbstractRows):
    """Row i is the noisy labels of the samples that are confidently of class i, calibrated."""

    def __init__(self, probs: Tensor, labels: Tensor) -> None:
        self._probs, self._labels = probs, labels
        self._joint = self._count(everyone(probs))
        self._whole = normalised(self._calibrated(self._joint, labels), None, "confidently of")

    def of(self, picked: Tensor) -> Tensor:
        joint = self._count(picked)
        return normalised(self._calibrated(joint, self._labels[picked]), self._whole)

    def support(self) -> Tensor:
        return self._joint[0].sum(0).round().long()

    def _count(self, picked: Tensor) -> Tensor:
        """`(B, K, K)`: the confident joint, counts of (noisy label, confident class)."""
        labels, probs = self._labels[picked], self._probs[picked]
        num_classes = probs.shape[-1]
        own = probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        sums = own.new_zeros(len(picked), num_classes).scatter_add_(1, labels, own)
        # A class that a resample lacks has the threshold 0 / 0, which no probability reaches.
        thresholds = sums / label_counts(labels, num_classes) - _THRESHOLD_SLACK
        reaching = probs >= thresholds.unsqueeze(1)
        number = reaching.sum(-1)
        # Where several classes are reached cleanlab takes the most probable one of all.
        guess = torch.where(number > 1, probs.argmax(-1), reaching.long().argmax(-1))
        return tally(labels * num_classes + guess, num_classes, number > 0)

    @staticmethod
    def _calibrated(joint: Tensor, labels: Tensor) -> Tensor:
        """The joint with each label as often as it is in the samples, rows = clean class."""
        counts = label_counts(labels.reshape(len(joint), -1), joint.shape[-1])
        return (joint / joint.sum(-1, keepdim=True).clamp(min=1) * counts.unsqueeze(-1)).mT


@final
class Dual(AbstractRows):
    """From the clean class to the model's class by anchors, from there to the label by counts."""

    def __init__(self, anchors: Anchors, predicted: PredictedCounts) -> None:
        self._anchors, self._predicted = anchors, predicted

    def of(self, picked: Tensor) -> Tensor:
        return self._anchors.of(picked) @ self._predicted.of(picked)

    def support(self) -> Tensor:
        """Return how many samples are like the anchor; all of them are predicted as its class."""
        return self._anchors.support()


def label_counts(labels: Tensor, num_classes: int) -> Tensor:
    """Return `(B, K)` float64: how often each label occurs in each resample `(B, N)`."""
    ones = torch.ones_like(labels, dtype=torch.float64)
    return ones.new_zeros(len(labels), num_classes).scatter_add_(1, labels, ones)


def tally(pairs: Tensor, num_classes: int, counted: Tensor | None = None) -> Tensor:
    """Return `(B, K, K)` float64: how often each pair of classes occurs in each resample."""
    ones = torch.ones_like(pairs, dtype=torch.float64) if counted is None else counted.double()
    table = ones.new_zeros(len(pairs), num_classes**2).scatter_add_(1, pairs, ones)
    return table.reshape(-1, num_classes, num_classes)


def normalised(table: Tensor, whole: Tensor | None, how: str = "") -> Tensor:
    """Return rows divided by their sums; an empty row is that of `whole`, without it an error."""
    totals = table.sum(-1, keepdim=True)
    rows = table / torch.where(totals > 0, totals, 1.0)
    if whole is not None:
        return torch.where(totals > 0, rows, whole)
    empty = (totals[0, :, 0] == 0).nonzero()
    if len(empty):
        raise ValueError(
            f"`probs` must support every row: no sample is {how} class {int(empty[0])}, so that "
            'its row is unknown; use method="anchor", a better model, or leave the class out'
        )
    return rows


def warn_of_few(support: Tensor, fewest: int) -> None:
    """Warn once, naming them, of the rows that fewer samples support; for public functions."""
    classes = (support < fewest).nonzero().flatten().tolist()
    if not classes:
        return
    shown = ", ".join(f"{i} ({int(support[i])})" for i in classes[:20])
    more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    warnings.warn(
        f"fewer than {fewest} samples support the rows of classes {shown}{more}, too few to rely "
        "on these rows; predict more samples, take another `quantile` or `method`, or shrink the "
        "estimate",
        stacklevel=3,
    )
