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
from softtargets.calibration.bootstrap import absolute_gap_interval
from softtargets.calibration.selective import risks

LEVEL = 0.95
_DRAWS = 2000


def mean_estimate(values: Tensor) -> Estimate:
    """The mean of `(N,)` values with its normal interval; NaN ends where it is not finite."""
    value = float(values.mean())
    half = math.nan
    if math.isfinite(value) and len(values) > 1:
        quantile = NormalDist().inv_cdf((1 + LEVEL) / 2)
        half = quantile * float(values.std()) / math.sqrt(len(values))
    return Estimate(value=value, low=value - half, high=value + half)


def calibration_error(tally: Tally, *, seed: int) -> Estimate:
    """Debiased top-label error with the interval of `absolute_gap_interval`.

    Args:
        tally: of some predictions.
        seed: of the draws.
    """
    statistics = tally.top_label
    low, high = absolute_gap_interval(statistics.signed_gaps, _gap_draws([tally], seed)[0])
    value = float(statistics.calibration_error(debiased=True))
    return Estimate(value=value, low=low, high=high)


def calibration_error_difference(one: Tally, other: Tally, *, seed: int) -> Estimate:
    """The other's debiased top-label error minus the one's, of the same samples in the same order.

    The interval is the difference minus the quantiles of what the draws scatter around their mean.

    Args:
        one: first model.
        other: second model.
        seed: of the draws.
    """
    errors = [
        float(each.top_label.calibration_error(debiased=True, floor=False)) for each in (one, other)
    ]
    first, second = (draws.abs().sum(-1) for draws in _gap_draws([one, other], seed))
    scatter = second - first - (second - first).mean()
    ends = torch.tensor([(1 + LEVEL) / 2, (1 - LEVEL) / 2], dtype=scatter.dtype)
    value = errors[1] - errors[0]
    low, high = (value - torch.quantile(scatter, ends)).tolist()
    return Estimate(value=value, low=low, high=high)


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


def _gap_draws(tallies: list[Tally], seed: int) -> list[Tensor]:
    """`(draws, BINS)` gaps of each tally, of N samples drawn with replacement, drawn jointly.

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
    return list(draws.split(BINS, 1))
