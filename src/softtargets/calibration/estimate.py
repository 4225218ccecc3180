"""One calibration error of probabilities with its interval."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from softtargets.calibration.binned_draws import ClassDraws, TopLabelDraws
from softtargets.calibration.checks import check_bins
from softtargets.calibration.intervals import NO_INTERVAL, inverted_interval
from softtargets.calibration.resampling import Weights, seed_of
from softtargets.calibration.samples import Samples
from softtargets.calibration.summary import Estimate


def estimate_calibration_error(
    probs: Tensor,
    labels: Tensor,
    *,
    of: Literal["top_label", "classes"] = "top_label",
    bins: int = 15,
    debiased: bool = False,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Estimate:
    """Measure the ECE, or the class-wise one, with its 95 % interval and nothing else.

    The value is that of `expected_calibration_error` or `classwise_calibration_error`, the
    interval that of `evaluate`, which reads logits and measures more. Samples are taken to be
    independent of each other: of pixels and tokens the interval is too narrow.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        of: "top_label" or "classes".
        bins: number of equal-width bins, at least 1.
        debiased: whether the value is the debiased one; the interval is the same.
        bootstrap: number of resamples; 0 leaves both ends NaN.
        generator: source of the resamples, on the CPU. None: a fresh one seeded with 0.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        An `Estimate`.

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> probs = torch.randn(400, 4, generator=generator).softmax(-1)
        >>> labels = torch.multinomial(probs, 1, generator=generator).squeeze(1)
        >>> print(estimate_calibration_error(probs, labels))  # could be calibrated
        0.0524  [0.0000, 0.0661]
    """
    if of not in ("top_label", "classes"):
        raise ValueError(f'`of` must be "top_label" or "classes", got {of!r}')
    bins = check_bins(bins, "width")
    weights = Weights(bootstrap, seed_of(bootstrap, generator))
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    collected = _collected(samples, weights, of == "classes", bins)
    errors = collected.statistics().calibration_error(debiased=debiased, floor=False)
    value = float(errors.mean().clamp_min(0))
    groups = errors.numel()
    if not bootstrap:
        return Estimate(value=value, low=NO_INTERVAL[0], high=NO_INTERVAL[1])
    low, high = inverted_interval(collected.model(weights).error("l1"), largest=float(groups))
    return Estimate(value=value, low=low / groups, high=high / groups)


def _collected(
    samples: Samples, weights: Weights, classes: bool, bins: int
) -> TopLabelDraws | ClassDraws:
    if not classes:
        top_label = TopLabelDraws(bins, weights.draws)
        for scores, outcomes in _split(*samples.top_label(), weights.rows):
            top_label.add(scores, outcomes, weights.block(len(scores)))
        return top_label
    by_class = ClassDraws(samples.num_classes, bins, weights.draws)
    for block in samples.row_blocks():
        for probs, labels in _split(*block, weights.rows):
            by_class.add(probs, labels, weights.block(len(labels)))
    return by_class


def _split(scores: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        yield scores[rows].cpu(), labels[rows].cpu()
