"""Intervals whose cost does not grow with the number of draws times the number of samples.

Every quantity here is a mean over samples, or a smooth function of such means; of thousands of
samples those are all but normal, with variances that one pass gives. Drawing the samples themselves
a thousand times would take minutes for a million of them and say the same.
"""

import math
from statistics import NormalDist

import torch
from torch import Tensor

from softtargets.audit.tally import BINS, Tally
from softtargets.calibration import Estimate
from softtargets.calibration.binning import bin_edges, bin_index
from softtargets.calibration.gaps import GapModel
from softtargets.calibration.intervals import (
    Centred,
    inverted_interval,
    scales_of,
    unbiased,
    widest,
)
from softtargets.calibration.selective import risks

LEVEL = 0.95
_QUANTILE = NormalDist().inv_cdf((1 + LEVEL) / 2)
_DRAWS = 2000


def mean_estimate(values: Tensor) -> Estimate:
    """The mean of `(N,)` values with its normal interval; NaN ends where it is not finite."""
    value = float(values.mean())
    half = math.nan
    if math.isfinite(value) and len(values) > 1:
        half = _QUANTILE * float(values.std()) / math.sqrt(len(values))
    return Estimate(value=value, low=value - half, high=value + half)


def gap_estimate(tally: Tally) -> Estimate:
    """Mean confidence minus accuracy with its normal interval.

    Of few samples with hardly any errors the scatter says too little: a calibrated model that is
    99 % sure is often right 50 times of 50. So the variance is at least that of a calibrated
    model, the mean of c (1 - c) over the confidences c.

    Args:
        tally: of some predictions.
    """
    confidence, gaps = tally.confidence, tally.confidence - tally.right.double()
    value, expected = float(gaps.mean()), (confidence * (1 - confidence)).mean().sqrt()
    spread = max(float(gaps.std()), float(expected)) if len(gaps) > 1 else math.nan
    half = _QUANTILE * spread / math.sqrt(len(gaps))
    return Estimate(value=value, low=value - half, high=value + half)


def calibration_error(tally: Tally, *, seed: int) -> Estimate:
    """Debiased top-label error with the interval of `evaluate`, by test inversion.

    Args:
        tally: of some predictions.
        seed: of the draws.
    """
    (model,) = _gap_models([tally], seed)
    low, high = inverted_interval(model.error("l1"))
    value = float(tally.top_label.calibration_error(debiased=True))
    return Estimate(value=value, low=low, high=high)


def calibration_error_difference(one: Tally, other: Tally, *, seed: int) -> Estimate:
    """The other's top-label error minus the one's, of the same samples in the same order.

    Value and interval are those of `compare_calibration`: both errors are freed of what noise adds
    to them, so that the value is not quite the difference of the debiased ones.

    Args:
        one: first model.
        other: second model.
        seed: of the draws.
    """
    first, second = (
        unbiased(model.error("l1"), scales_of(model.error("l1")))
        for model in _gap_models([one, other], seed)
    )
    pairs = zip(first, second, strict=True)
    differences = [Centred(b.estimate - a.estimate, b.noise - a.noise) for a, b in pairs]
    low, high = widest(differences)
    return Estimate(value=differences[0].estimate, low=low, high=high)


def area_values(tally: Tally) -> Tensor:
    """`(N,)` values whose mean is the AURC, up to 1/N, and whose scatter is that of the AURC.

        AURC + influence of the sample,   influence = R(c) - AURC + sum_{n >= rank} (e - R_n) / n

    with e = 1 for an error, R_n the share of errors among the n surest, and R(c) that share at the
    sample's own rank: a sample counts with its own error at all later ranks, and changes which
    ranks there are.

    Args:
        tally: of some predictions.

    References:
        Hampel, The influence curve and its role in robust estimation, 1974.
    """
    order = tally.confidence.argsort(descending=True, stable=True)
    errors = (~tally.right[order]).double()
    risk = risks(tally.confidence, ~tally.right)
    inverse = 1 / torch.arange(1, len(errors) + 1, dtype=torch.float64)
    later, later_risk = (_sums_from(values) for values in (inverse, risk * inverse))
    values = torch.empty_like(risk)
    values[order] = risk + errors * later - later_risk
    return values


def _sums_from(values: Tensor) -> Tensor:
    """Sums of each value and all after it."""
    return values.flip(0).cumsum(0).flip(0)


def _gap_models(tallies: list[Tally], seed: int) -> list[GapModel]:
    """The gaps of each tally with their noise, drawn jointly.

    Of many samples the gaps are normal with the covariance of the residuals in the bins.
    """
    count = len(tallies[0])
    residuals = [each.right.double() - each.confidence for each in tallies]
    bins = [
        bin_index(each.confidence, bin_edges(each.confidence, BINS, "width")) for each in tallies
    ]
    gaps = torch.cat([each.top_label.signed_gaps for each in tallies])
    moments = torch.cat(
        [
            torch.cat(
                [
                    torch.bincount(BINS * i + j, r * s, minlength=BINS**2).view(BINS, BINS)
                    for j, s in zip(bins, residuals, strict=True)
                ],
                1,
            )
            for i, r in zip(bins, residuals, strict=True)
        ]
    )
    values, vectors = torch.linalg.eigh((moments / count - gaps.outer(gaps)) / count)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(_DRAWS, len(gaps), generator=generator, dtype=torch.float64)
    draws = gaps + normal @ (vectors * values.clamp_min(0).sqrt()).T
    parts = zip(tallies, draws.T.split(BINS), strict=True)
    return [GapModel(each.top_label, part) for each, part in parts]
