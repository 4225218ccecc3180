"""Two models on the same samples: which differences are real."""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from softtargets.calibration.checks import check_bins
from softtargets.calibration.intervals import Centred, widest
from softtargets.calibration.measurement import Measurement
from softtargets.calibration.numbers import Noisy
from softtargets.calibration.resampling import draws_and_seed
from softtargets.calibration.samples import Samples
from softtargets.calibration.selective import selected_scores
from softtargets.calibration.summary import plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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
        return plain(self)

    def __str__(self) -> str:
        return _table(self, f"{self.num_samples} samples, {self.num_classes} classes")

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MultilabelComparison:
    """The differences of two models' numbers; `MultilabelReport` says what each number is.

    Args:
        num_samples: N.
        num_labels: L.
        negative_log_likelihood: lower is better, as is all else but the resolution.
        brier_score: mean over all answers.
        brier_reliability: without bias.
        brier_resolution: without bias; higher is better.
        expected_calibration_error: of P(y = 1), without bias.
        overconfidence_error: without bias.
        underconfidence_error: without bias.
        root_mean_square_calibration_error: without bias.
        maximum_calibration_error: without bias.
        smooth_calibration_error: without bias.
    """

    num_samples: int
    num_labels: int
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

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of plain numbers; NaN and infinity, unknown to JSON, are None."""
        return plain(self)

    def __str__(self) -> str:
        return _table(self, f"{self.num_samples} samples, {self.num_labels} labels")

    __repr__ = __str__


def compare_calibration(
    logits_a: Tensor,
    logits_b: Tensor,
    labels: Tensor,
    *,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    bins: int = 15,
    scores_a: Tensor | None = None,
    scores_b: Tensor | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> CalibrationComparison:
    """Say of every number of the report whether two models of the same samples differ in it.

    The bootstrap is paired: a draw weighs the samples alike for both models, so that what makes a
    sample hard for both cancels. With n the noise of a number, its draws less their mean, the
    interval of the difference d is `d - quantiles of (n_a - n_b)`, the basic bootstrap.

    Noise adds to calibration errors, more to those of a model whose confidences are spread
    wider, and each resample adds noise once more. So both are freed of it before they are
    subtracted, with the mean error of draws under a truth: that under which the observed error is
    the mean. The interval reaches from the lowest to the highest end under this truth, the gaps
    observed, and calibration.

    Each verdict errs by itself in about 5 % of cases: of fifteen, one may well be wrong.

    Args:
        logits_a: `(N, K)`, or more dimensions, floating point; -inf masks a class. Of probabilities
            pass the logarithm. Entries of the first dimension are resampled, see `evaluate`.
        logits_b: the same of the other model.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        bootstrap: number of resamples, at least 1.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0.
        bins: number of equal-width bins.
        scores_a: how sure the first model is, for selective risk; see `evaluate`.
        scores_b: the same of the second: two scores of one model can be compared too.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

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
    check_same_shape(logits_a, logits_b)
    draws, seed = draws_for_differences(bootstrap, generator)

    def numbers(logits: Tensor, scores: Tensor | None) -> Measurement:
        samples = Samples.of(
            logits, labels, "logits", class_dim=class_dim, ignore_index=ignore_index
        )
        chosen = None if scores is None else selected_scores(scores, samples).cpu()
        return Measurement(samples, scores=chosen, bins=bins, draws=draws, seed=seed)

    a, b = numbers(logits_a, scores_a), numbers(logits_b, scores_b)
    return CalibrationComparison(
        num_samples=a.num_samples, num_classes=a.num_classes, **differences(a.noisy, b.noisy)
    )


def check_same_shape(logits_a: Tensor, logits_b: Tensor) -> None:
    """Raise unless two models have predictions of the same samples."""
    if logits_a.shape != logits_b.shape:
        raise ValueError(
            f"`logits_b` must have the shape of `logits_a`, {tuple(logits_a.shape)}, got "
            f"{tuple(logits_b.shape)}; both models must rate the same samples and classes"
        )


def draws_for_differences(bootstrap: int, generator: torch.Generator | None) -> tuple[int, int]:
    """As `draws_and_seed`, but at least one draw."""
    draws, seed = draws_and_seed(bootstrap, generator)
    if draws == 0:
        raise ValueError("`bootstrap` must be at least 1, got 0; differences need their noise")
    return draws, seed


def differences(a: Noisy, b: Noisy) -> dict[str, Difference]:
    """Every number of one model less that of another, drawn with equal seeds."""
    first, second = a.unbiased(), b.unbiased()
    return {name: _difference(first[name], second[name]) for name in first}


def _difference(a: list[Centred], b: list[Centred]) -> Difference:
    both = zip(a, b, strict=True)
    found = [Centred(x.estimate - y.estimate, x.noise - y.noise) for x, y in both]
    difference, (low, high) = found[0].estimate, widest(found)
    verdict: Verdict = "no clear difference"
    if low > 0 or difference == math.inf:
        verdict = "higher"
    elif high < 0 or difference == -math.inf:
        verdict = "lower"
    return Difference(
        a=a[0].estimate, b=b[0].estimate, difference=difference, low=low, high=high, verdict=verdict
    )


def _table(comparison: "DataclassInstance", size: str) -> str:
    lines = [f"{size}: a, b, a - b with 95 % interval"]
    found = {f.name: getattr(comparison, f.name) for f in fields(comparison)}
    rows = {name: d for name, d in found.items() if isinstance(d, Difference)}
    width = max(map(len, rows))
    for name, d in rows.items():
        numbers = f"{d.a:7.4f} {d.b:7.4f}  {d.difference:7.4f}  [{d.low:7.4f}, {d.high:7.4f}]"
        lines.append(f"  {name.replace('_', ' '):<{width}}  {numbers}  {d.verdict}")
    return "\n".join(lines)
