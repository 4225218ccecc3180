"""From a tally to numbers with intervals."""

from dataclasses import replace
from statistics import NormalDist

import torch
from torch import Tensor

from softtargets.audit.intervals import (
    LEVEL,
    classwise_error,
    gap_estimate,
    mean_estimate,
    selective_risk,
    smooth_calibration_error,
    top_label_errors,
)
from softtargets.audit.result import ClassMeasures, Measures
from softtargets.audit.tally import BINS, Tally, tally
from softtargets.audit.units import effective_counts
from softtargets.calibration import Estimate, ReliabilityCurve, RiskCoverageCurve, selective
from softtargets.calibration.binning import bin_index
from softtargets.calibration.reliability import wilson_interval
from softtargets.calibration.samples import Samples

_MOST_POINTS = 400  # of a risk-coverage curve


def measure(tally: Tally, *, seed: int = 0) -> Measures:
    """Return the numbers of a tally.

    Args:
        tally: of at least one sample.
        seed: of the draws behind the intervals of calibration errors.
    """
    right = tally.right.double()
    whole = torch.zeros(len(tally), dtype=torch.int64)
    low, high = wilson_interval(right.mean(), _told_by(tally, whole, right, 1)[0])
    return Measures(
        num_samples=len(tally),
        accuracy=Estimate(value=float(right.mean()), low=float(low), high=float(high)),
        confidence=mean_estimate(tally.confidence, tally.units),
        gap=gap_estimate(tally),
        smooth_calibration_error=smooth_calibration_error(tally, seed=seed),
        classwise_calibration_error=classwise_error(tally, seed=seed),
        negative_log_likelihood=mean_estimate(tally.negative_log_likelihood, tally.units),
        brier_score=mean_estimate(tally.brier_score, tally.units),
        **top_label_errors(tally, seed=seed),
        **selective_risk(tally),
    )


def class_measures(
    probs: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
) -> list[ClassMeasures]:
    """Confidence and precision of every class where it is the prediction, the worst first.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        One `ClassMeasures` per class; intervals hold for all classes at once.

    Raises:
        ValueError: `probs` are not distributions, or labels do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> worst, _ = class_measures(probs, torch.tensor([0, 1, 1]))
        >>> worst.index, worst.predictions, round(worst.confidence - worst.precision, 2)
        (1, 1, -0.4)
    """
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    return by_class(tally(samples.row_blocks(), "probs"))


def by_class(tally: Tally) -> list[ClassMeasures]:
    """Return every class where it is the prediction, the largest certain gap first.

    The precision has Wilson's interval at a level that holds for all predicted classes at once
    (Bonferroni); the mean confidence counts as known.
    """
    num_classes = tally.num_classes
    predicted = tally.predicted.long()
    counts = torch.bincount(predicted, minlength=num_classes)
    confidence = torch.bincount(predicted, tally.confidence, minlength=num_classes) / counts
    hits = torch.bincount(predicted, tally.right.double(), minlength=num_classes)
    precision = hits / counts
    tail = (1 - LEVEL) / 2 / max(1, int((counts > 0).sum()))
    gaps = tally.right.double() - tally.confidence
    told = _told_by(tally, predicted, gaps, num_classes)
    low, high = wilson_interval(precision, told, quantile=NormalDist().inv_cdf(1 - tail))
    labels = torch.bincount(tally.labels.long(), minlength=num_classes)
    rows = [
        ClassMeasures(
            index=index,
            labels=int(labels[index]),
            predictions=int(counts[index]),
            confidence=float(confidence[index]),
            precision=float(precision[index]),
            gap=Estimate(
                value=float(confidence[index] - precision[index]),
                low=float(confidence[index] - high[index]),
                high=float(confidence[index] - low[index]),
            ),
        )
        for index in range(num_classes)
    ]
    return sorted(rows, key=_worst_first)


def reliability(tally: Tally) -> ReliabilityCurve:
    """Return accuracy by confidence, with intervals for whole units drawn if there are any."""
    bins = tally.top_label
    curve = ReliabilityCurve.from_statistics(bins)
    if tally.units is None:
        return curve
    cells, right = bin_index(tally.confidence, bins.edges), tally.right.double()
    told = _told_by(tally, cells, right, BINS)[curve.bin]
    low, high = wilson_interval(curve.accuracy, told)
    return replace(curve, accuracy_low=low, accuracy_high=high)


def _told_by(tally: Tally, cells: Tensor, values: Tensor, width: int) -> Tensor:
    """`(width,)`: the predictions in each cell, or as many independent ones as tell the same."""
    if tally.units is None:
        return torch.bincount(cells, minlength=width)
    return effective_counts(tally.units, cells, values, tally.right.double(), width)


def risk_coverage(tally: Tally) -> RiskCoverageCurve:
    """Return the errors among the surest predictions, at up to some hundred shares of them."""
    risk = selective.risks(tally.confidence, ~tally.right)
    count = len(risk)
    step = max(1, count // _MOST_POINTS)
    ranks = count - step * torch.arange((count - 1) // step, -1, -1)
    return RiskCoverageCurve(
        coverage=ranks.double() / count,
        risk=risk[ranks - 1],
        threshold=tally.confidence.sort(descending=True).values[ranks - 1],
    )


def _worst_first(row: ClassMeasures) -> tuple[float, float, int]:
    """Order by the part of the gap that is certain, then by the gap; never predicted ones last."""
    if not row.predictions:
        return 2.0, 0.0, row.index
    certain = max(row.gap.low, -row.gap.high, 0.0)
    return -certain, -abs(row.gap.value), row.index
