"""One call that measures a set of predictions and says how sure each number is."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from softtargets.calibration.checks import check_bins
from softtargets.calibration.intervals import Interval
from softtargets.calibration.measurement import Measurement
from softtargets.calibration.reliability import wilson_interval
from softtargets.calibration.resampling import draws_and_seed
from softtargets.calibration.samples import Samples
from softtargets.calibration.selective import selected_scores
from softtargets.calibration.summary import CalibrationReport, with_intervals
from softtargets.calibration.temperature import TemperatureScaling


def evaluate(
    logits: Tensor,
    labels: Tensor,
    *,
    temperature_from: tuple[Tensor, Tensor] | None = None,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    bins: int = 15,
    scores: Tensor | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> CalibrationReport:
    """Measure accuracy, scores, calibration errors and selective risk, with 95 % intervals.

    Accuracy has Wilson's interval; NLL, Brier score and selective risk have percentile bootstrap
    intervals. Calibration errors are biased by noise, and so are their bootstrap draws: their
    interval, one for the population's binned error, inverts a test, and belongs to plain and
    debiased value alike. docs/calibration-intervals.md has the reasons, and how often the
    intervals hold the truth. They describe the sampling of the test set, not the variation between
    training runs.

    Whole entries of the first dimension are resampled: of `(N, K)` the samples, of pixels the
    images, of tokens the sequences, for what lies in one of them is not independent.

    Args:
        logits: `(N, K)`, or more dimensions, floating point; -inf masks a class. Of probabilities
            pass the logarithm; of a binary z `torch.stack([torch.zeros_like(z), z], 1)`.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        temperature_from: `(logits, labels)` of a validation split: T is fitted on it and the same
            numbers for `logits / T` are in `scaled`. T is held fixed in the bootstrap.
        bootstrap: number of resamples; 0 leaves the ends of all intervals NaN.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0, so that
            equal calls give equal reports.
        bins: number of equal-width bins.
        scores: the shape of the labels, higher is surer, for AURC, E-AURC and risk at 80 %
            coverage, such as `logit_norm_score`; None: the highest probability.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

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
    layout = {"class_dim": class_dim, "ignore_index": ignore_index}
    samples = Samples.of(logits, labels, "logits", **layout)
    chosen = None if scores is None else selected_scores(scores, samples).cpu()
    split = None if temperature_from is None else _rows(temperature_from, samples, layout)
    # The same resamples before and after scaling, so that the two columns can be compared.
    draws, seed = draws_and_seed(bootstrap, generator)

    def report(temperature: float) -> CalibrationReport:
        return _report(
            Measurement(
                samples,
                scores=chosen,
                temperature=temperature,
                bins=bins,
                draws=draws,
                seed=seed,
            )
        )

    plain = report(1.0)
    if split is None:
        return plain
    scaling = TemperatureScaling().fit(*split)
    return replace(
        plain,
        temperature=scaling.temperature,
        temperature_at_bound=scaling.at_bound,
        scaled=report(scaling.temperature),
    )


def _rows(split: object, samples: Samples, layout: dict[str, int]) -> tuple[Tensor, Tensor]:
    """The rows and labels of a validation split."""
    if not isinstance(split, tuple | list) or len(split) != 2:
        raise TypeError(
            "`temperature_from` must be a pair (logits, labels) of validation data, got "
            f"{type(split).__name__}; a temperature of your own divides the logits first"
        )
    logits, labels = split
    validation = Samples.of(logits, labels, "logits", **layout)
    if validation.num_classes != samples.num_classes:
        raise ValueError(
            f"`temperature_from` must have logits of {samples.num_classes} classes, got "
            f"{validation.num_classes}; fit on a split of the same task"
        )
    rows, row_labels = zip(*validation.row_blocks(), strict=True)
    return torch.cat(rows), torch.cat(row_labels)


def _report(measured: Measurement) -> CalibrationReport:
    ends: dict[str, Interval] = {}
    if measured.draws:
        ends = measured.noisy.intervals()
        if measured.num_units == measured.num_samples:
            share = torch.tensor(measured.means[0], dtype=torch.float64)
            wilson = wilson_interval(share, torch.tensor(measured.num_samples))
            ends["accuracy"] = float(wilson[0]), float(wilson[1])
    numbers: dict[str, Any] = with_intervals(measured.values(), ends)
    return CalibrationReport(
        num_samples=measured.num_samples, num_classes=measured.num_classes, **numbers
    )
