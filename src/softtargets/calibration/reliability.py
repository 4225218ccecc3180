"""Reliability curves: how often predictions of a given confidence come true."""

from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.calibration.binning import Binning, BinStatistics
from softtargets.calibration.checks import check_bins
from softtargets.calibration.samples import Samples

_NORMAL_QUANTILE = 1.959963984540054  # of 0.975: intervals hold 95 %


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReliabilityCurve:
    """One point per bin that holds samples, M of them; all tensors float64 but `bin`, `count`.

    Args:
        edges: `(bins + 1,)`: all edges; point i stands for `(edges[bin[i]], edges[bin[i] + 1]]`.
        bin: `(M,)`, int64: index of the bin.
        count: `(M,)`, int64: samples in it.
        confidence: `(M,)`: their mean score.
        accuracy: `(M,)`: share of them for which the event happened.
        accuracy_low: `(M,)`: lower end of the pointwise 95 % Wilson interval of `accuracy`.
        accuracy_high: `(M,)`: its upper end.
    """

    edges: Tensor
    bin: Tensor
    count: Tensor
    confidence: Tensor
    accuracy: Tensor
    accuracy_low: Tensor
    accuracy_high: Tensor

    @classmethod
    def from_statistics(cls, statistics: BinStatistics) -> "ReliabilityCurve":
        """The curve of bins collected batch by batch.

        Raises:
            ValueError: the statistics hold several groups.
        """
        if statistics.counts.ndim != 1:
            raise ValueError(
                "`statistics` must hold one set of bins, got shape "
                f"{tuple(statistics.counts.shape)}; bin one class with `BinStatistics.from_scores`"
            )
        filled = statistics.counts.nonzero().squeeze(-1)
        count = statistics.counts[filled]
        accuracy = statistics.outcome_sums[filled] / count
        low, high = wilson_interval(accuracy, count.double())
        return cls(
            edges=statistics.edges,
            bin=filled,
            count=count,
            confidence=statistics.confidence_sums[filled] / count,
            accuracy=accuracy,
            accuracy_low=low,
            accuracy_high=high,
        )


def reliability_curve(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    class_index: int | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> ReliabilityCurve:
    """Accuracy by confidence, per bin, with an interval; empty bins are left out.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        class_index: None: confidence is the probability of the predicted class and accuracy its
            share of hits. k: confidence is P(k) in all samples and accuracy the frequency of k.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        A `ReliabilityCurve`.

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> curve = reliability_curve(probs, torch.tensor([0, 1, 1]), bins=4)
        >>> curve.count, curve.accuracy
        (tensor([1, 2]), tensor([1.0000, 0.5000], dtype=torch.float64))

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    bins = check_bins(bins, binning)
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    if class_index is None:
        scores, outcomes = samples.top_label()
    else:
        if not 0 <= class_index < samples.num_classes:
            raise ValueError(
                f"`class_index` must be in 0 .. {samples.num_classes - 1}, got {class_index}; None "
                "is the predicted class"
            )
        samples.check_values()
        scores = samples.select(samples.scores[..., class_index]).clamp_max(1)
        outcomes = samples.select(samples.labels) == class_index
    statistics = BinStatistics.from_scores(scores, outcomes, bins=bins, binning=binning)
    return ReliabilityCurve.from_statistics(statistics)


def wilson_interval(
    share: Tensor, count: Tensor, *, quantile: float = _NORMAL_QUANTILE
) -> tuple[Tensor, Tensor]:
    """Return the interval of a share observed in `count` trials, 95 % unless told otherwise."""
    z2 = quantile**2
    centre = (share * count + z2 / 2) / (count + z2)
    half = (share * (1 - share) * count + z2 / 4).sqrt() * quantile / (count + z2)
    # A share of 0 or 1 is an end of its interval, but for rounding.
    low, high = torch.minimum(centre - half, share), torch.maximum(centre + half, share)
    return low.clamp_min(0), high.clamp_max(1)
