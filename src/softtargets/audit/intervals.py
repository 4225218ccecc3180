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
from softtargets.audit.units import Draws, Moments, unit_covariance, unit_values
from softtargets.calibration import BinStatistics, Estimate
from softtargets.calibration.binning import bin_edges, bin_index
from softtargets.calibration.gaps import GapModel, fitted_rates
from softtargets.calibration.intervals import (
    Centred,
    inverted_interval,
    scales_of,
    unbiased,
    widest,
)
from softtargets.calibration.selective import area, risks
from softtargets.calibration.smooth import residual_grid, smooth_error, split_on_grid
from softtargets.calibration.smooth_draws import CELLS, SmoothModel

LEVEL = 0.95
_QUANTILE = NormalDist().inv_cdf((1 + LEVEL) / 2)
_DRAWS = 2000
_SMOOTH_DRAWS = 500
_FEWEST_DRAWS = 200
_MOST_NUMBERS = 2**22  # drawn for the bins of all classes (32 MB)


def mean_estimate(values: Tensor, units: Tensor | None = None) -> Estimate:
    """The mean of `(N,)` values with its normal interval; NaN ends where it is not finite.

    Args:
        values: one per sample.
        units: `(N,)`: what is drawn together, 0 .. U - 1; None: each sample by itself.
    """
    value = float(values.mean())
    half = math.nan
    if math.isfinite(value) and len(values) > 1:
        if units is not None:
            values = unit_values(values, units)
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
    confidence = tally.confidence
    seen = mean_estimate(confidence - tally.right.double(), tally.units)
    expected = (confidence * (1 - confidence)).mean().sqrt() / math.sqrt(len(tally))
    half = math.nan
    if not math.isnan(seen.high):
        half = max(seen.high - seen.value, _QUANTILE * float(expected))
    return Estimate(value=seen.value, low=seen.value - half, high=seen.value + half)


def top_label_errors(tally: Tally, *, seed: int) -> dict[str, Estimate]:
    """Top-label errors by their names in `Measures`, with the intervals of `evaluate`.

    Args:
        tally: of some predictions.
        seed: of the draws.
    """
    (model,) = _gap_models([tally], seed)
    low, high = inverted_interval(model.error("l1"))
    found = {
        name: Estimate(
            value=float(tally.top_label.calibration_error(debiased=debiased)), low=low, high=high
        )
        for name, debiased in (
            ("expected_calibration_error", True),
            ("expected_calibration_error_plain", False),
        )
    }
    scales = scales_of(model.error("l1"))
    for name, error in (
        ("overconfidence_error", model.error("over")),
        ("underconfidence_error", model.error("under")),
    ):
        low, high = widest(unbiased(error, scales))
        found[name] = Estimate(value=error.observed, low=max(low, 0.0), high=max(high, 0.0))
    return found


def smooth_calibration_error(tally: Tally, *, seed: int) -> Estimate:
    """The smooth top-label error with the interval of `evaluate`.

    A sample's residual is split between two points of a grid; of many samples the sums on the grid
    are normal, with covariances between neighbours alone unless units are drawn.

    Args:
        tally: of some predictions.
        seed: of the draws.
    """
    scores = tally.confidence
    residuals = tally.right.double() - scores
    grid = residual_grid(scores, residuals, CELLS)
    drawn = _normal_draws(grid, _grid_covariance(tally, grid, residuals), seed, _SMOOTH_DRAWS)
    bins = tally.top_label
    fitted = fitted_rates(bins)[bin_index(scores, bins.edges)]
    model = SmoothModel(grid, residual_grid(scores, fitted, CELLS), drawn)
    low, high = inverted_interval(model)
    return Estimate(value=float(smooth_error(scores, tally.right)), low=low, high=high)


def _grid_covariance(tally: Tally, grid: Tensor, residuals: Tensor) -> Tensor:
    """The covariance of the residuals on a grid."""
    index, share = split_on_grid(tally.confidence, CELLS)
    moments = torch.zeros(CELLS + 1, CELLS + 1, dtype=torch.float64)
    lower, upper = residuals * (1 - share), residuals * share
    if tally.units is not None:
        return unit_covariance(tally.units, [(index, lower), (index + 1, upper)], CELLS + 1)
    for rows, columns, products in (
        (index, index, lower.square()),
        (index + 1, index + 1, upper.square()),
        (index, index + 1, lower * upper),
        (index + 1, index, lower * upper),
    ):
        place = rows * (CELLS + 1) + columns
        moments.view(-1).add_(torch.bincount(place, products, minlength=moments.numel()))
    return _covariance(moments, grid, len(tally))


def classwise_error(tally: Tally, *, seed: int) -> Estimate:
    """The debiased class-wise error with an interval by test inversion.

    The residuals of a bin are taken to be those of one score, its mean, and bins to be independent
    of each other, so that nothing but the bins is needed. Where units are drawn their sums in the
    bins tell, and how bins depend on each other; of too many classes there is no interval then.

    Args:
        tally: of some predictions.
        seed: of the draws.
    """
    statistics = tally.by_class
    gaps, num_classes = statistics.signed_gaps.flatten(), tally.num_classes
    value = max(0.0, float(statistics.calibration_error(debiased=True, floor=False).mean()))
    draws = min(_DRAWS, max(_FEWEST_DRAWS, _MOST_NUMBERS // len(gaps)))
    scatter = tally.class_scatter
    if isinstance(scatter, Moments):
        drawn = _normal_draws(gaps, scatter.covariance(), seed, draws)
    elif isinstance(scatter, Draws):
        drawn = scatter.deviations().add_(gaps.unsqueeze(-1))
    elif tally.units is not None:
        return Estimate(value=value, low=math.nan, high=math.nan)
    else:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(gaps), draws, generator=generator, dtype=torch.float64)
        drawn.mul_(_class_variance(statistics).sqrt().unsqueeze(-1)).add_(gaps.unsqueeze(-1))
    error = GapModel(statistics, drawn).error("l1")
    low, high = inverted_interval(error, largest=float(num_classes))
    return Estimate(value=value, low=low / num_classes, high=high / num_classes)


def _class_variance(statistics: BinStatistics) -> Tensor:
    """That of each bin's gap."""
    counts = statistics.counts.double().clamp_min(1)
    rate, score = statistics.outcome_sums / counts, statistics.confidence_sums / counts
    squares = statistics.counts * (rate * (1 - score).square() + (1 - rate) * score.square())
    size, gaps = statistics.num_samples, statistics.signed_gaps.flatten()
    return (squares.flatten() / size - gaps.square()).clamp_min(0) / size


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


def selective_risk(tally: Tally) -> dict[str, Estimate]:
    """The area under the risk-coverage curve, and its excess over that of an ideal order.

    The ideal area is e + (1 - e) log(1 - e) in the error rate e, but for 1/N: an error adds
    -log(1 - e) to it. Both intervals are normal.

    Args:
        tally: of some predictions.
    """
    errors = (~tally.right).double()
    values = area_values(tally)
    found = float(area(tally.confidence, ~tally.right))
    best = float(area(tally.right.double(), ~tally.right))
    slope = -math.log1p(-min(float(errors.mean()), 1 - 1 / len(tally)))
    return {
        "area_under_risk_coverage": _not_negative(found, mean_estimate(values, tally.units)),
        "excess_area": _not_negative(
            found - best, mean_estimate(values - slope * errors, tally.units)
        ),
    }


def _not_negative(value: float, scatter: Estimate) -> Estimate:
    """A value of at least 0, with the interval of another number around it."""
    shift = value - scatter.value
    return Estimate(
        value=max(0.0, value), low=max(0.0, scatter.low + shift), high=scatter.high + shift
    )


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
    residuals = [each.right.double() - each.confidence for each in tallies]
    bins = [
        bin_index(each.confidence, bin_edges(each.confidence, BINS, "width")) for each in tallies
    ]
    gaps = torch.cat([each.top_label.signed_gaps for each in tallies])
    units = tallies[0].units
    if units is not None:
        cells = [BINS * place + each for place, each in enumerate(bins)]
        pairs = list(zip(cells, residuals, strict=True))
        covariance = unit_covariance(units, pairs, len(gaps))
    else:
        covariance = _covariance(_products(bins, residuals), gaps, len(tallies[0]))
    draws = _normal_draws(gaps, covariance, seed)
    parts = zip(tallies, torch.split(draws, BINS), strict=True)
    return [GapModel(each.top_label, part) for each, part in parts]


def _products(bins: list[Tensor], residuals: list[Tensor]) -> Tensor:
    """Sums over samples of products of each model's residual in its bin with another's."""
    return torch.cat(
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


def _covariance(products: Tensor, means: Tensor, count: int) -> Tensor:
    """That of the `(m,)` means of samples with these sums of products."""
    return (products / count - means.outer(means)) / count


def _normal_draws(means: Tensor, covariance: Tensor, seed: int, draws: int = _DRAWS) -> Tensor:
    """`(m, draws)`: normal draws with these means."""
    values, vectors = torch.linalg.eigh(covariance)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(draws, len(means), generator=generator, dtype=torch.float64)
    drawn: Tensor = means + normal @ (vectors * values.clamp_min(0).sqrt()).T
    return drawn.T
