"""The result of `evaluate`: frozen numbers that print as a table and go to JSON."""

import math
from dataclasses import dataclass, fields


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
    """Accuracy, proper scores and calibration errors of one set of predictions.

    Args:
        num_samples: N.
        num_classes: K.
        accuracy: share of right predictions, Wilson's interval.
        negative_log_likelihood: natural logarithm, percentile bootstrap interval; where it is inf
            the interval is NaN.
        brier_score: summed over classes, in [0, 2], percentile bootstrap interval.
        expected_calibration_error: top-label, l1, equal width. The value is the plain one, biased
            upwards; the interval is one for the population's binned error, and near calibration
            lies below the value.
        expected_calibration_error_debiased: the same debiased and floored at 0; same interval.
        classwise_calibration_error: mean over classes, all samples; interval as above.
        classwise_calibration_error_debiased: the same debiased and floored at 0; same interval.
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
    expected_calibration_error: Estimate
    expected_calibration_error_debiased: Estimate
    classwise_calibration_error: Estimate
    classwise_calibration_error_debiased: Estimate
    expected_calibration_error_signed: float
    classwise_calibration_error_signed: float
    temperature: float | None = None
    temperature_at_bound: bool = False
    scaled: "CalibrationReport | None" = None

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of plain numbers; NaN and infinity, unknown to JSON, are None."""
        return _plain(self)

    def __str__(self) -> str:
        lines = [f"{self.num_samples} samples, {self.num_classes} classes with 95 % intervals"]
        lines += _table(self)
        if self.scaled is not None:
            bound = " (end of the bracket: not determined)" if self.temperature_at_bound else ""
            lines += [f"after division by T = {self.temperature:.4g}{bound}", *_table(self.scaled)]
        lines.append("plain calibration errors are biased upwards: read the debiased ones")
        return "\n".join(lines)

    __repr__ = __str__


def _table(report: CalibrationReport) -> list[str]:
    names = [f.name for f in fields(report) if isinstance(getattr(report, f.name), Estimate)]
    width = max(map(len, names))
    lines = []
    for name in names:
        # The interval is one for the population's error, which the plain value lies above.
        biased = name.endswith("_error")
        shown = f"{getattr(report, name).value:.4f}" if biased else str(getattr(report, name))
        lines.append(f"  {name.replace('_', ' '):<{width}}  {shown}")
    return lines


def _plain(record: CalibrationReport | Estimate) -> dict[str, object]:
    plain: dict[str, object] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, CalibrationReport | Estimate):
            value = _plain(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        plain[field.name] = value
    return plain
