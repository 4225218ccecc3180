"""The Brier score taken apart: reliability, resolution, uncertainty, and what bins hide."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softtargets.calibration.binning import Binning, BinStatistics
from softtargets.calibration.checks import check_bins
from softtargets.calibration.events import Events
from softtargets.calibration.samples import Samples
from softtargets.calibration.scores import squared_errors


class BrierDecomposition(NamedTuple):
    """The terms of a Brier score, all 0-dim float64; `brier_decomposition` says how they add up.

    Args:
        brier: mean squared error, computed without bins.
        reliability: sum_b w_b (f_b - o_b)^2 with f_b the mean forecast in bin b and o_b the
            frequency of the event there: 0 is calibrated. The squared l2 calibration error.
        resolution: sum_b w_b (o_b - o)^2: how far the bins tell events apart; more is better.
        uncertainty: o (1 - o): what no forecast can change.
        within_bin_variance: mean (f - f_b)^2: 0 if all forecasts of a bin are equal.
        within_bin_covariance: 2 mean (f - f_b) (event - o_b): resolution the bins do not see.
    """

    brier: Tensor
    reliability: Tensor
    resolution: Tensor
    uncertainty: Tensor
    within_bin_variance: Tensor
    within_bin_covariance: Tensor


def brier_decomposition(
    probs: Tensor,
    labels: Tensor,
    *,
    of: Literal["classes", "top_label"] = "classes",
    bins: int = 15,
    binning: Binning = "width",
    class_dim: int = 1,
    ignore_index: int = -100,
) -> BrierDecomposition:
    """Split the Brier score into calibration, discrimination and the difficulty of the data.

        brier = reliability - resolution + uncertainty + within_bin_variance - within_bin_covariance

    The identity is exact for any bins. `of="classes"` splits `brier_score`: the forecasts of all
    samples for class k are binned by themselves, and the terms of all classes are added up.
    `of="top_label"` splits the squared error of the confidence in the predicted class against
    "the prediction is right"; its uncertainty is accuracy (1 - accuracy).

    On small samples noise makes reliability and resolution too large, each by about
    1/N sum_b o_b (1 - o_b) over the filled bins; their difference hardly changes.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        of: "classes" or "top_label".
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        A `BrierDecomposition`.

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.0, 1.0]])
        >>> terms = brier_decomposition(probs, torch.tensor([0, 0, 1, 1]), bins=4)
        >>> [round(float(term), 4) for term in terms[:4]]
        [0.3438, 0.0104, 0.1667, 0.5]

    References:
        Murphy, A new vector partition of the probability score, 1973.
        Stephenson, Coelho and Jolliffe, Two extra components in the Brier score decomposition,
        2008.
    """
    if of not in ("classes", "top_label"):
        raise ValueError(f'`of` must be "classes" or "top_label", got {of!r}')
    bins = check_bins(bins, binning)
    layout = {"class_dim": class_dim, "ignore_index": ignore_index}
    samples = Samples.of(probs, labels, "probs", **layout)
    if of == "top_label":
        return decomposed(*samples.top_label(), bins=bins, binning=binning)
    statistics = BinStatistics.class_wise(probs, labels, bins=bins, binning=binning, **layout)
    zero = torch.zeros((), dtype=torch.float64, device=probs.device)
    brier, squares, products = zero.clone(), zero.clone(), zero.clone()
    for rows, row_labels in samples.row_blocks():
        wide = rows.double().clamp_max(1)
        brier += squared_errors(wide, row_labels).sum()
        squares += wide.square().sum()
        products += wide.gather(1, row_labels.unsqueeze(1)).sum()
    return _terms(statistics, brier, squares, products)


def binary_brier_decomposition(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    ignore_index: int = -100,
) -> BrierDecomposition:
    """Split the binary Brier score, mean (P(y = 1) - y)^2; see `brier_decomposition`.

    Args:
        probs: any shape, floating point in [0, 1]: P(y = 1).
        labels: the same shape, 0 or 1, integers or bool.
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        ignore_index: the label of positions to leave out.

    Returns:
        A `BrierDecomposition`.

    Raises:
        ValueError: `probs` outside [0, 1], labels that do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> terms = binary_brier_decomposition(torch.tensor([0.75, 0.75]), torch.tensor([1, 0]))
        >>> terms.brier, terms.reliability, terms.uncertainty  # doctest: +NORMALIZE_WHITESPACE
        (tensor(0.3125, dtype=torch.float64), tensor(0.0625, dtype=torch.float64),
         tensor(0.2500, dtype=torch.float64))

    References:
        Murphy, A new vector partition of the probability score, 1973.
    """
    bins = check_bins(bins, binning)
    events = Events.of(probs, labels, "probs", ignore_index=ignore_index)
    return decomposed(*events.read(), bins=bins, binning=binning)


def decomposed(
    scores: Tensor, outcomes: Tensor, *, bins: int, binning: Binning
) -> BrierDecomposition:
    """The terms for `(N,)` float64 forecasts of one event."""
    statistics = BinStatistics.from_scores(scores, outcomes, bins=bins, binning=binning)
    happened = outcomes.double()
    errors, products = (scores - happened).square().sum(), (scores * happened).sum()
    return _terms(statistics, errors, scores.square().sum(), products)


def _terms(
    statistics: BinStatistics, errors: Tensor, squares: Tensor, products: Tensor
) -> BrierDecomposition:
    """The terms, from sums over all samples of (f - y)^2, f^2 and f y."""
    size, counts = statistics.num_samples, statistics.counts.clamp_min(1)
    forecasts, outcomes = statistics.confidence_sums, statistics.outcome_sums
    rate = outcomes.sum(-1, keepdim=True) / size
    share = statistics.counts.double() / size
    return BrierDecomposition(
        brier=errors / size,
        reliability=(share * ((forecasts - outcomes) / counts).square()).sum(),
        resolution=(share * (outcomes / counts - rate).square()).sum(),
        uncertainty=(rate * (1 - rate)).sum(),
        within_bin_variance=(squares - (forecasts.square() / counts).sum()) / size,
        within_bin_covariance=2 * (products - (forecasts * outcomes / counts).sum()) / size,
    )
