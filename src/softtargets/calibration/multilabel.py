"""Reports and comparisons of events that may each happen or not: multi-label and binary."""

from typing import Any

import torch
from torch import Tensor

from softtargets.calibration.checks import check_bins
from softtargets.calibration.compare import (
    MultilabelComparison,
    check_same_shape,
    differences,
    draws_for_differences,
)
from softtargets.calibration.label_measurement import LabelMeasurement
from softtargets.calibration.resampling import draws_and_seed
from softtargets.calibration.summary import MultilabelReport, with_intervals


def evaluate_multilabel(
    logits: Tensor,
    labels: Tensor,
    *,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    bins: int = 15,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> MultilabelReport:
    """Measure scores and calibration errors of P(y = 1) = sigmoid(logit), with 95 % intervals.

    Each label is an event of its own, and errors are means over the labels, as in
    `multilabel_calibration_error`. A binary event is a single label, `logits.unsqueeze(1)`. The
    intervals are made as those of `evaluate`, from the same kind of resamples.

    Args:
        logits: `(N, L)`, or more dimensions, floating point without NaN.
        labels: the same shape, 0 or 1, integers or bool.
        bootstrap: number of resamples; 0 leaves the ends of all intervals NaN.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0.
        bins: number of equal-width bins.
        class_dim: where the labels' dimension is.
        ignore_index: the answer of entries to leave out, which may differ by label.

    Returns:
        A `MultilabelReport`. All is computed in float64 on the CPU.

    Raises:
        ValueError: logits or labels break a rule above.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = torch.randn(1000, 3, generator=generator)
        >>> labels = torch.bernoulli(logits.sigmoid(), generator=generator).long()
        >>> evaluate_multilabel(logits, labels).expected_calibration_error.low
        0.0
        >>> evaluate_multilabel(3 * logits, labels).expected_calibration_error.low > 0.1
        True
    """
    bins = check_bins(bins, "width")
    draws, seed = draws_and_seed(bootstrap, generator)
    measured = LabelMeasurement(
        logits,
        labels,
        class_dim=class_dim,
        ignore_index=ignore_index,
        bins=bins,
        draws=draws,
        seed=seed,
    )
    ends = measured.noisy.intervals() if draws else {}
    numbers: dict[str, Any] = with_intervals(measured.values(), ends)
    return MultilabelReport(
        num_samples=measured.num_samples, num_labels=measured.num_labels, **numbers
    )


def compare_multilabel(
    logits_a: Tensor,
    logits_b: Tensor,
    labels: Tensor,
    *,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    bins: int = 15,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> MultilabelComparison:
    """Say in which numbers of `evaluate_multilabel` two models of the same samples differ.

    See `compare_calibration`, which does the same for classes that exclude each other.

    Args:
        logits_a: `(N, L)`, or more dimensions, floating point without NaN.
        logits_b: the same of the other model.
        labels: the same shape, 0 or 1, integers or bool.
        bootstrap: number of resamples, at least 1.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0.
        bins: number of equal-width bins.
        class_dim: where the labels' dimension is.
        ignore_index: the answer of entries to leave out, which may differ by label.

    Returns:
        A `MultilabelComparison`.

    Raises:
        ValueError: logits or labels break a rule above, or the shapes of the logits differ.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = torch.randn(1000, 3, generator=generator)
        >>> labels = torch.bernoulli(logits.sigmoid(), generator=generator).long()
        >>> compare_multilabel(3 * logits, logits, labels).expected_calibration_error.verdict
        'higher'
    """
    bins = check_bins(bins, "width")
    check_same_shape(logits_a, logits_b)
    draws, seed = draws_for_differences(bootstrap, generator)
    a, b = (
        LabelMeasurement(
            logits,
            labels,
            class_dim=class_dim,
            ignore_index=ignore_index,
            bins=bins,
            draws=draws,
            seed=seed,
        )
        for logits in (logits_a, logits_b)
    )
    return MultilabelComparison(
        num_samples=a.num_samples, num_labels=a.num_labels, **differences(a.noisy, b.noisy)
    )
