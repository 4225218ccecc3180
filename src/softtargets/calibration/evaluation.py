"""One call that measures a set of predictions and says how sure each number is."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from softtargets import checks
from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.bootstrap import (
    absolute_gap_interval,
    percentile_interval,
    resample,
)
from softtargets.calibration.checks import check_bins, check_logits
from softtargets.calibration.reliability import wilson_interval
from softtargets.calibration.scores import hits, log_losses, squared_errors
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
    seed = _seed(bootstrap, generator)
    logits, labels = logits.detach().cpu().double(), labels.detach().cpu().long()
    report = _measure(logits, labels, bootstrap=bootstrap, seed=seed, bins=bins)
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
    # The same resamples before and after, so that the two columns can be compared.
    scaled = _measure(scaling(logits), labels, bootstrap=bootstrap, seed=seed, bins=bins)
    return replace(
        report,
        temperature=scaling.temperature,
        temperature_at_bound=scaling.at_bound,
        scaled=scaled,
    )


def _seed(bootstrap: int, generator: torch.Generator | None) -> int:
    bootstrap = checks.check_integer(bootstrap, "bootstrap")
    if bootstrap < 0:
        raise ValueError(f"`bootstrap` must be at least 0, got {bootstrap}; 0 means no intervals")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    if generator.device.type != "cpu":
        raise ValueError(
            f"`generator` must be on the CPU, got {generator.device}; use `torch.Generator()`"
        )
    return int(torch.randint(2**62, (), generator=generator))


def _measure(
    logits: Tensor, labels: Tensor, *, bootstrap: int, seed: int, bins: int
) -> CalibrationReport:
    probs = torch.softmax(logits, -1)
    values = torch.stack(
        [hits(logits, labels), log_losses(logits, labels), squared_errors(probs, labels)], 1
    )
    draws = None
    if bootstrap:
        generator = torch.Generator().manual_seed(seed)
        draws = resample(values, probs, labels, draws=bootstrap, bins=bins, generator=generator)
    means = values.mean(0).tolist()
    means_draws = [None] * 3 if draws is None else draws.means.unbind(1)
    accuracy, loss, brier = (_mean(*pair) for pair in zip(means, means_draws, strict=True))
    if bootstrap:
        low, high = wilson_interval(values[:, 0].mean(), torch.tensor(len(labels)))
        accuracy = replace(accuracy, low=float(low), high=float(high))
    ece, ece_debiased, ece_signed = _error(
        BinStatistics.top_label(probs, labels, bins=bins),
        None if draws is None else draws.top_label_gaps,
    )
    cce, cce_debiased, cce_signed = _error(
        BinStatistics.class_wise(probs, labels, bins=bins),
        None if draws is None else draws.class_gaps,
    )
    return CalibrationReport(
        num_samples=len(labels),
        num_classes=logits.shape[1],
        accuracy=accuracy,
        negative_log_likelihood=loss,
        brier_score=brier,
        expected_calibration_error=ece,
        expected_calibration_error_debiased=ece_debiased,
        classwise_calibration_error=cce,
        classwise_calibration_error_debiased=cce_debiased,
        expected_calibration_error_signed=ece_signed,
        classwise_calibration_error_signed=cce_signed,
    )


def _mean(value: float, draws: Tensor | None) -> Estimate:
    low, high = (math.nan, math.nan) if draws is None else percentile_interval(draws)
    return Estimate(value=value, low=low, high=high)


def _error(statistics: BinStatistics, draws: Tensor | None) -> tuple[Estimate, Estimate, float]:
    """Plain and debiased error, averaged over groups, and the debiased one before its floor."""
    groups = statistics.counts.numel() // statistics.counts.shape[-1]
    low, high = math.nan, math.nan
    if draws is not None:
        ends = absolute_gap_interval(statistics.signed_gaps.flatten(), draws)
        low, high = ends[0] / groups, ends[1] / groups
    plain = float(statistics.calibration_error().mean())
    signed = float(statistics.calibration_error(debiased=True, floor=False).mean())
    debiased = Estimate(value=max(signed, 0.0), low=low, high=high)
    return Estimate(value=plain, low=low, high=high), debiased, signed
