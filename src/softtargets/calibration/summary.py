"""The result of `evaluate`: frozen numbers that print as a table and go to JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# What has a debiased form of its own, with the same interval.
_BIASED = "plain calibration errors are biased upwards: read the debiased ones"
_INTERVALS = " with 95 % intervals"
DEBIASED_APART = ("expected_calibration_error", "classwise_calibration_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval.

    Args:
        value: the number measured.
        low: lower end of the interval, NaN if none was computed.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.4f}"
        return f"{self.value:.4f}  [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CalibrationReport:
    """Accuracy, proper scores, calibration errors and selective risk of one set of predictions.

    `evaluate` says how the intervals are made.

    Args:
        num_samples: N.
        num_classes: K.
        accuracy: share of right predictions.
        negative_log_likelihood: natural logarithm; where it is inf the interval is NaN.
        brier_score: summed over classes, in [0, 2].
        brier_reliability: its part that calibration would remove; see `brier_decomposition`.
        brier_resolution: its part gained by telling samples apart; more is better.
        brier_uncertainty: its part that no forecast can change.
        expected_calibration_error: top-label, l1, equal width. The value is the plain one, biased
            upwards; the interval is one for the population's binned error, and near calibration
            lies below the value.
        expected_calibration_error_debiased: the same debiased and floored at 0; same interval.
        overconfidence_error: the part of the ECE from bins surer than right; biased as it is.
        underconfidence_error: the other part.
        root_mean_square_calibration_error: top-label, l2; biased likewise.
        maximum_calibration_error: the largest gap of a bin, however few samples it holds; biased
            most of all.
        smooth_calibration_error: top-label, without bins; biased likewise.
        classwise_calibration_error: mean over classes, all samples; biased likewise.
        classwise_calibration_error_debiased: the same debiased and floored at 0; same interval.
        area_under_risk_coverage: AURC, by the highest probability.
        excess_area_under_risk_coverage: E-AURC, what a perfect order would save.
        risk_at_80_percent_coverage: error rate of the surest 80 %.
        expected_calibration_error_signed: debiased before the floor: average this one over runs.
        classwise_calibration_error_signed: likewise.
        temperature: T fitted on other data, None if none was given.
        temperature_at_bound: whether T is an end of its bracket, so that the data do not
            determine it.
        scaled: the same numbers for logits / T, None if no T was fitted.
    """

    num_samples: int
    num_classes: int
    accuracy: Estimate
    negative_log_likelihood: Estimate
    brier_score: Estimate
    brier_reliability: Estimate
    brier_resolution: Estimate
    brier_uncertainty: Estimate
    expected_calibration_error: Estimate
    expected_calibration_error_debiased: Estimate
    overconfidence_error: Estimate
    underconfidence_error: Estimate
    root_mean_square_calibration_error: Estimate
    maximum_calibration_error: Estimate
    smooth_calibration_error: Estimate
    classwise_calibration_error: Estimate
    classwise_calibration_error_debiased: Estimate
    area_under_risk_coverage: Estimate
    excess_area_under_risk_coverage: Estimate
    risk_at_80_percent_coverage: Estimate
    expected_calibration_error_signed: float
    classwise_calibration_error_signed: float
    temperature: float | None = None
    temperature_at_bound: bool = False
    scaled: "CalibrationReport | None" = None

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of plain numbers; NaN and infinity, unknown to JSON, are None."""
        return plain(self)

    def __str__(self) -> str:
        intervals = "" if math.isnan(self.accuracy.low) else _INTERVALS
        lines = [f"{self.num_samples} samples, {self.num_classes} classes{intervals}"]
        reports = [self]
        if self.scaled is not None:
            bound = " (end of the bracket: not determined)" if self.temperature_at_bound else ""
            lines[0] += f"; on the right after division by T = {self.temperature:.4g}{bound}"
            reports.append(self.scaled)
        lines += _table(reports)
        lines.append(_BIASED)
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MultilabelReport:
    """Proper scores and calibration errors of events that may each happen or not.

    Errors are means over the labels of each label's own; `evaluate_multilabel` says how the
    intervals are made, `CalibrationReport` how to read them.

    Args:
        num_samples: N, the rows; labels may have answers for fewer.
        num_labels: L.
        negative_log_likelihood: mean over all answers.
        brier_score: mean over all answers, in [0, 1].
        brier_reliability: mean squared gap of the bins; the square of the next but one.
        brier_resolution: how far the bins tell events apart; more is better.
        brier_uncertainty: what no forecast can change.
        expected_calibration_error: of P(y = 1), l1, equal width; biased upwards.
        expected_calibration_error_debiased: the same debiased and floored at 0; same interval.
        overconfidence_error: the part of bins in which P(y = 1) is too high.
        underconfidence_error: the part of bins in which it is too low.
        root_mean_square_calibration_error: l2; biased likewise.
        maximum_calibration_error: the largest gap of a bin of any label; biased most of all.
        smooth_calibration_error: without bins; biased likewise.
        expected_calibration_error_signed: debiased before the floor.
    """

    num_samples: int
    num_labels: int
    negative_log_likelihood: Estimate
    brier_score: Estimate
    brier_reliability: Estimate
    brier_resolution: Estimate
    brier_uncertainty: Estimate
    expected_calibration_error: Estimate
    expected_calibration_error_debiased: Estimate
    overconfidence_error: Estimate
    underconfidence_error: Estimate
    root_mean_square_calibration_error: Estimate
    maximum_calibration_error: Estimate
    smooth_calibration_error: Estimate
    expected_calibration_error_signed: float

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of plain numbers; NaN and infinity, unknown to JSON, are None."""
        return plain(self)

    def __str__(self) -> str:
        intervals = "" if math.isnan(self.expected_calibration_error.low) else _INTERVALS
        return "\n".join(
            [
                f"{self.num_samples} samples, {self.num_labels} labels{intervals}",
                *_table([self]),
                _BIASED,
            ]
        )

    __repr__ = __str__


def with_intervals(
    values: dict[str, float], intervals: dict[str, tuple[float, float]]
) -> dict[str, Estimate | float]:
    """Join numbers and intervals; debiased ones share theirs, signed ones have none."""
    found: dict[str, Estimate | float] = {}
    for name, value in values.items():
        low, high = intervals.get(name.removesuffix("_debiased"), (math.nan, math.nan))
        signed = name.endswith("_signed")
        found[name] = value if signed else Estimate(value=value, low=low, high=high)
    return found


def _table(reports: Sequence[CalibrationReport | MultilabelReport]) -> list[str]:
    first = reports[0]
    names = [f.name for f in fields(first) if isinstance(getattr(first, f.name), Estimate)]
    width = max(map(len, names))
    cells = {name: [_cell(name, getattr(report, name)) for report in reports] for name in names}
    wide = max(len(row[0]) for row in cells.values())
    lines = []
    for name, row in cells.items():
        texts = [f"{text:<{wide}}" for text in row]
        lines.append(f"  {name.replace('_', ' '):<{width}}  {'   '.join(texts)}".rstrip())
    return lines


def _cell(name: str, estimate: Estimate) -> str:
    # The debiased value is the one to read beside the interval, which is the same.
    return str(estimate) if name not in DEBIASED_APART else f"{estimate.value:.4f}"


def plain(record: "DataclassInstance") -> dict[str, object]:
    """Nested dictionaries of plain numbers; NaN and infinity, unknown to JSON, are None."""
    found: dict[str, object] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            value = plain(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        found[field.name] = value
    return found
