"""From a tally to numbers with intervals."""

import math
from statistics import NormalDist

import torch
from torch import Tensor

from softtargets.audit.result import ClassMeasures, Measures, RiskCoverage
from softtargets.audit.tally import BINS, Tally
from softtargets.calibration import Estimate, selective
from softtargets.calibration.binning import bin_edges, bin_index
from softtargets.calibration.bootstrap import absolute_gap_interval
from softtargets.calibration.reliability import wilson_interval
from softtargets.calibration.smooth import smooth_error

_LEVEL = 0.95
_DRAWS = 2000
_MOST_POINTS = 400  # of a risk-coverage curve


def measure(tally: Tally, *, seed: int = 0) -> Measures:
    """Return the numbers of a tally.

    Args:
        tally: of at least one sample.
        seed: of the draws behind the interval of the calibration error.
    """
    right = tally.right.double()
    low, high = wilson_interval(right.mean(), torch.tensor(len(tally)))
    error, plain = _calibration_error(tally, seed)
    gaps = tally.top_label.signed_gaps
    classwise = tally.by_class.calibration_error(debiased=True, floor=False).mean()
    area = float(selective.area(tally.confidence, ~tally.right))
    best = float(selective.area(right, ~tally.right))
    return Measures(
        num_samples=len(tally),
        accuracy=Estimate(value=float(right.mean()), low=float(low), high=float(high)),
        confidence=_mean(tally.confidence),
        gap=_mean(tally.confidence - right),
        expected_calibration_error=error,
        expected_calibration_error_plain=plain,
        overconfidence_error=float((-gaps).clamp_min(0).sum()),
        underconfidence_error=float(gaps.clamp_min(0).sum()),
        smooth_calibration_error=float(smooth_error(tally.confidence, right)),
        classwise_calibration_error=Estimate(
            value=max(0.0, float(classwise)), low=math.nan, high=math.nan
        ),
        negative_log_likelihood=_mean(tally.negative_log_likelihood),
        brier_score=_mean(tally.brier_score),
        area_under_risk_coverage=Estimate(value=area, low=math.nan, high=math.nan),
        excess_area=max(0.0, area - best),
    )


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
    tail = (1 - _LEVEL) / 2 / max(1, int((counts > 0).sum()))
    low, high = wilson_interval(precision, counts, quantile=NormalDist().inv_cdf(1 - tail))
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


def risk_coverage(tally: Tally) -> RiskCoverage:
    """Return the errors among the surest predictions, at up to some hundred shares of them."""
    risk = selective.risks(tally.confidence, ~tally.right)
    count = len(risk)
    step = max(1, count // _MOST_POINTS)
    ranks = count - step * torch.arange((count - 1) // step, -1, -1)
    return RiskCoverage(coverage=ranks.double() / count, risk=risk[ranks - 1])


def _worst_first(row: ClassMeasures) -> tuple[float, float, int]:
    """Order by the part of the gap that is certain, then by the gap; never predicted ones last."""
    if not row.predictions:
        return 2.0, 0.0, row.index
    certain = max(row.gap.low, -row.gap.high, 0.0)
    return -certain, -abs(row.gap.value), row.index


def _mean(values: Tensor) -> Estimate:
    """The mean with its normal interval; none where it is infinite."""
    value = float(values.mean())
    half = math.nan
    if math.isfinite(value) and len(values) > 1:
        quantile = NormalDist().inv_cdf((1 + _LEVEL) / 2)
        half = quantile * float(values.std()) / math.sqrt(len(values))
    return Estimate(value=value, low=value - half, high=value + half)


def _calibration_error(tally: Tally, seed: int) -> tuple[Estimate, float]:
    """Debiased top-label error with its interval, and the plain one."""
    statistics = tally.top_label
    residuals = tally.right.double() - tally.confidence
    index = bin_index(tally.confidence, bin_edges(tally.confidence, BINS, "width"))
    gaps = statistics.signed_gaps
    squares = torch.bincount(index, residuals.square(), minlength=BINS) / len(tally)
    # Of N rows drawn with replacement the gaps have this covariance, and are all but normal.
    covariance = (squares.diag() - gaps.outer(gaps)) / len(tally)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(_DRAWS, BINS, generator=generator, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    draws = gaps + normal @ (vectors * values.clamp_min(0).sqrt()).T
    low, high = absolute_gap_interval(gaps, draws)
    value = float(statistics.calibration_error(debiased=True))
    return Estimate(value=value, low=low, high=high), float(statistics.calibration_error())
