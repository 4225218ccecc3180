"""Two models on the same samples: which differences are real."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from softtargets.calibration.checks import check_bins, check_logits
from softtargets.calibration.intervals import Centred, widest
from softtargets.calibration.measurement import Measurement
from softtargets.calibration.numbers import unbiased_numbers
from softtargets.calibration.resampling import seed_of

Verdict = Literal["lower", "higher", "no clear difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A number of two models, their difference and its 95 % interval.

    Args:
        a: the number of the first model; of calibration errors, without what noise adds to it
            on average, and so perhaps below 0.
        b: that of the second.
        difference: a - b.
        low: lower end of the interval of the difference.
        high: upper end.
        verdict: "lower" or "higher", what a is if the interval does not hold 0, else
            "no clear difference".
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CalibrationComparison:
    """The differences of two models' numbers; `CalibrationReport` says what each number is.

    Args:
        num_samples: N.
        num_classes: K.
        accuracy: higher is better.
        negative_log_likelihood: lower is better, as is all else but the resolution.
        brier_score: summed over classes.
        brier_reliability: without bias.
        brier_resolution: without bias; higher is better.
        expected_calibration_error: top-label, without bias.
        overconfidence_error: without bias.
        underconfidence_error: without bias.
        root_mean_square_calibration_error: top-label, without bias.
        maximum_calibration_error: top-label, without bias.
        smooth_calibration_error: top-label, without bias.
        classwise_calibration_error: without bias.
        area_under_risk_coverage: AURC.
        excess_area_under_risk_coverage: E-AURC.
        risk_at_80_percent_coverage: error rate of the surest 80 %.
    """

    num_samples: int
    num_classes: int
    accuracy: Difference
    negative_log_likelihood: Difference
    brier_score: Difference
    brier_reliability: Difference
    brier_resolution: Difference
    expected_calibration_error: Difference
    overconfidence_error: Difference
    underconfidence_error: Difference
    root_mean_square_calibration_error: Difference
    maximum_calibration_error: Difference
    smooth_calibration_error: Difference
    classwise_calibration_error: Difference
    area_under_risk_coverage: Difference
    excess_area_under_risk_coverage: Difference
    risk_at_80_percent_coverage: Difference

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of plain numbers; NaN and infinity, unknown to JSON, are None."""
        plain: dict[str, object] = {}
        for name, value in asdict(self).items():
            plain[name] = value
            if isinstance(value, dict):
                plain[name] = {key: _known_to_json(part) for key, part in value.items()}
        return plain

    def __str__(self) -> str:
        size = f"{self.num_samples} samples, {self.num_classes} classes"
        lines = [f"{size}: a, b, a - b with 95 % interval"]
        names = [f.name for f in fields(self) if isinstance(getattr(self, f.name), Difference)]
        width = max(map(len, names))
        for name in names:
            d: Difference = getattr(self, name)
            numbers = f"{d.a:7.4f} {d.b:7.4f}  {d.difference:7.4f}  [{d.low:7.4f}, {d.high:7.4f}]"
            lines.append(f"  {name.replace('_', ' '):<{width}}  {numbers}  {d.verdict}")
        return "\n".join(lines)

    __repr__ = __str__


def compare_calibration(
    logits_a: Tensor,
    logits_b: Tensor,
    labels: Tensor,
    *,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    bins: int = 15,
) -> CalibrationComparison:
    """Say of every number of the report whether two models of the same samples differ in it.

    The bootstrap is paired: a draw weighs the samples alike for both models, so that what makes a
    sample hard for both cancels. With n the noise of a number, its draws less their mean, the
    interval of the difference d is `d - quantiles of (n_a - n_b)`, the basic bootstrap.

    Noise adds to calibration errors, more to those of a model whose confidences are spread
    wider, and each resample adds noise once more. So both are freed of it before they are
    subtracted: with the truth under which the observed ECE is the mean of its draws (see
    `evaluate`) each error is `observed - mean of its draws + error of that truth`.

    Each verdict errs by itself in about 5 % of cases: of fifteen, one may well be wrong.

    Args:
        logits_a: `(N, K)`, floating point; -inf masks a class. Of probabilities pass the logarithm.
        logits_b: the same of the other model.
        labels: `(N,)`, integers in 0 .. K - 1.
        bootstrap: number of resamples, at least 1.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0.
        bins: number of equal-width bins.

    Returns:
        A `CalibrationComparison`.

    Raises:
        ValueError: logits or labels break a rule above, or the shapes of the logits differ.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = 3 * torch.randn(500, 4, generator=generator)
        >>> labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
        >>> comparison = compare_calibration(2 * logits, logits, labels)
        >>> comparison.expected_calibration_error.verdict
        'higher'
        >>> comparison.accuracy.verdict
        'no clear difference'

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    bins = check_bins(bins, "width")
    check_logits(logits_a, labels)
    check_logits(logits_b, labels)
    if logits_a.shape != logits_b.shape:
        raise ValueError(
            f"`logits_b` must have the shape of `logits_a`, {tuple(logits_a.shape)}, got "
            f"{tuple(logits_b.shape)}; both models must rate the same samples and classes"
        )
    seed = seed_of(bootstrap, generator)
    if bootstrap == 0:
        raise ValueError("`bootstrap` must be at least 1, got 0; differences need their noise")
    a, b = (
        unbiased_numbers(Measurement(logits, labels, bins=bins, draws=bootstrap, seed=seed))
        for logits in (logits_a, logits_b)
    )
    differences = {name: _difference(a[name], b[name]) for name in a}
    return CalibrationComparison(
        num_samples=logits_a.shape[0], num_classes=logits_a.shape[1], **differences
    )


def _difference(a: list[Centred], b: list[Centred]) -> Difference:
    both = zip(a, b, strict=True)
    differences = [Centred(x.estimate - y.estimate, x.noise - y.noise) for x, y in both]
    difference, (low, high) = differences[0].estimate, widest(differences)
    verdict: Verdict = "no clear difference"
    if low > 0 or difference == math.inf:
        verdict = "higher"
    elif high < 0 or difference == -math.inf:
        verdict = "lower"
    return Difference(
        a=a[0].estimate, b=b[0].estimate, difference=difference, low=low, high=high, verdict=verdict
    )


def _known_to_json(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
