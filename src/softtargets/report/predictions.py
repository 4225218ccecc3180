"""Test predictions of all seeds, binned, and what they say about over- or under-confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch

from softtargets.calibration import BinStatistics
from softtargets.lab.compare import Comparison
from softtargets.lab.summary import Mean, mean_over_seeds

NOTABLE_GAP = 0.01

Lean = Literal["over-confident", "under-confident", "no clear lean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """What a model says against how often it is right, on the test data, means over seeds.

    Attributes:
        says: mean probability of the predicted class.
        right: accuracy.
        gap: the first minus the second.
    """

    says: Mean
    right: Mean
    gap: Mean

    @property
    def close(self) -> bool:
        """Whether the mean gap is less than a point."""
        return abs(self.gap.value) < NOTABLE_GAP

    @property
    def lean(self) -> Lean:
        """The direction: a gap of a point or more, on the same side for all of the interval."""
        one_sided = not self.gap.low <= 0 <= self.gap.high
        if self.close or not one_sided:
            return "no clear lean"
        return "over-confident" if self.gap.value > 0 else "under-confident"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The test predictions of one method, as trained or after temperature scaling.

    Attributes:
        pooled: bins of the predictions of all seeds together.
        confidence: means over seeds.
    """

    pooled: BinStatistics
    confidence: Confidence


def predictions(comparison: Comparison, method: str, *, scaled: bool) -> Predictions:
    """Return the binned test predictions of a method."""
    runs = zip(comparison.arrays(method), comparison.records(method), strict=True)
    return pooled(
        [_binned(arrays, record.temperature if scaled else 1.0) for arrays, record in runs]
    )


def pooled(by_seed: Sequence[BinStatistics]) -> Predictions:
    """Return the predictions of a method from the bins of each seed."""
    says = [float(each.confidence_sums.sum() / each.counts.sum()) for each in by_seed]
    right = [float(each.outcome_sums.sum() / each.counts.sum()) for each in by_seed]
    gaps = [said - was for said, was in zip(says, right, strict=True)]
    return Predictions(
        pooled=reduce(BinStatistics.merge, by_seed),
        confidence=Confidence(
            says=mean_over_seeds(says), right=mean_over_seeds(right), gap=mean_over_seeds(gaps)
        ),
    )


def _binned(arrays: dict[str, Any], temperature: float) -> BinStatistics:
    logits = torch.from_numpy(arrays["test_logits"]).double() / temperature
    return BinStatistics.top_label(logits.softmax(-1), torch.from_numpy(arrays["test_labels"]))
