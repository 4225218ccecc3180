"""One call that measures a set of predictions and says how sure each number is."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from softtargets.calibration.checks import check_bins, check_logits
from softtargets.calibration.intervals import NO_INTERVAL
from softtargets.calibration.measurement import Measurement
from softtargets.calibration.numbers import intervals, values
from softtargets.calibration.resampling import seed_of
from softtargets.calibration.summary import CalibrationReport, Estimate
from softtargets.calibration.temperature import TemperatureScaling


def evaluate(
    logits: Tensor,
    labels: Tensor,
    *,
    temperature_from: tuple[Tensor, Tensor] | None = None,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    bins: int = 15,
) -> CalibrationReport:
    """Measure accuracy, NLL, Brier score and calibration errors, each with a 95 % interval.

    Accuracy has Wilson's interval, NLL and Brier score percentile bootstrap intervals. The
    calibration errors are biased by noise, and so are their bootstrap draws: their interval, one
    for the population's binned error, inverts a test with the recentred draws, contains 0 for a
    calibrated model about as often as it should (a seeded simulation is in the tests), and
    belongs to plain and debiased value alike. It describes the sampling of the test set; it does
    not hold the variation between training runs. Class-wise intervals are too narrow below about
    100 samples per class, where events are so rare that resamples miss them; the debiased value
    may then lie just outside.

    Args:
        logits: `(N, K)`, floating point; -inf masks a class. Of probabilities pass the logarithm.
        labels: `(N,)`, integers in 0 .. K - 1.
        temperature_from: `(logits, labels)` of a validation split: T is fitted on it and the same
            numbers for `logits / T` are in `scaled`. T is held fixed in the bootstrap.
        bootstrap: number of resamples; 0 leaves the ends of all intervals NaN.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0, so that
            equal calls give equal reports.
        bins: number of equal-width bins.

    Returns:
        A `CalibrationReport`. All is computed in float64 on the CPU.

    Raises:
        ValueError: logits or labels break a rule above.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = 3 * torch.randn(500, 4, generator=generator)
        >>> labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
        >>> report = evaluate(2 * logits, labels, temperature_from=(2 * logits, labels))
        >>> 1.5 < report.temperature < 2.5
        True
        >>> report.expected_calibration_error.low > 0.05  # over-confident beyond doubt
        True
        >>> report.scaled.expected_calibration_error.low  # could be perfectly calibrated
        0.0
    """
    bins = check_bins(bins, "width")
    check_logits(logits, labels)
    # The same resamples before and after scaling, so that the two columns can be compared.
    options = {"bins": bins, "draws": int(bootstrap), "seed": seed_of(bootstrap, generator)}
    report = _report(Measurement(logits, labels, **options))
    if temperature_from is None:
        return report
    if not isinstance(temperature_from, tuple | list) or len(temperature_from) != 2:
        raise TypeError(
            "`temperature_from` must be a pair (logits, labels) of validation data, got "
            f"{type(temperature_from).__name__}; a temperature of your own divides the logits first"
        )
    check_logits(*temperature_from)
    if temperature_from[0].shape[-1] != logits.shape[-1]:
        raise ValueError(
            f"`temperature_from` must have logits of {logits.shape[-1]} classes, got "
            f"{temperature_from[0].shape[-1]}; fit on a split of the same task"
        )
    scaling = TemperatureScaling().fit(*temperature_from)
    scaled = Measurement(logits, labels, temperature=scaling.temperature, **options)
    return replace(
        report,
        temperature=scaling.temperature,
        temperature_at_bound=scaling.at_bound,
        scaled=_report(scaled),
    )


def _report(measured: Measurement) -> CalibrationReport:
    found = values(measured)
    ends = intervals(measured) if measured.draws else {}
    numbers: dict[str, Any] = {}
    for name, value in found.items():
        low, high = ends.get(name, NO_INTERVAL)
        signed = name.endswith("_signed")
        numbers[name] = value if signed else Estimate(value=value, low=low, high=high)
    return CalibrationReport(
        num_samples=measured.num_samples, num_classes=measured.num_classes, **numbers
    )
