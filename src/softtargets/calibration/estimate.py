"""One calibration error of probabilities with its interval."""

from typing import Literal

import torch
from torch import Tensor

from softtargets.calibration.binned_draws import ClassDraws, EventDraws
from softtargets.calibration.binning import Binning, Norm, bin_edges, class_blocks
from softtargets.calibration.checks import check_bins
from softtargets.calibration.errors import mean_error
from softtargets.calibration.gaps import RootError
from softtargets.calibration.intervals import NO_INTERVAL, inverted_interval
from softtargets.calibration.resampling import (
    Weights,
    count_units,
    draws_and_seed,
    weighted_rows,
)
from softtargets.calibration.samples import Samples
from softtargets.calibration.summary import Estimate


def estimate_calibration_error(
    probs: Tensor,
    labels: Tensor,
    *,
    of: Literal["top_label", "classes"] = "top_label",
    bins: int = 15,
    binning: Binning = "width",
    norm: Norm = "l1",
    debiased: bool = False,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Estimate:
    """Measure the ECE, or the class-wise one, of any norm, with its 95 % interval.

    The value is that of `expected_calibration_error` or `classwise_calibration_error`, the
    interval is made as that of `evaluate`, which reads logits and measures more. Edges of "mass"
    bins are held fixed: the interval is one for the population's error in those bins.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        of: "top_label" or "classes".
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        norm: "l1", "l2" or "max".
        debiased: whether the value is the debiased one, which may lie just outside the interval,
            for that is the same.
        bootstrap: number of resamples, of whole entries of the first dimension as in `evaluate`; 0
            leaves both ends NaN.
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
    bins = check_bins(bins, binning)
    draws, seed = draws_and_seed(bootstrap, generator)
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    weights = Weights(draws, seed)
    count_units(samples.units(), draws)
    if of == "top_label":
        collected: EventDraws | ClassDraws = _top_label(samples, weights, bins, binning)
    elif binning == "width":
        collected = ClassDraws(samples.num_classes, bins, draws)
        for rows, row_labels, block in weighted_rows(samples, weights):
            collected.add(rows, row_labels, block)
    else:
        collected = _classes_by_mass(samples, weights, bins)
    statistics = collected.statistics()
    errors = statistics.calibration_error(norm=norm, debiased=debiased, floor=False)
    value = float(mean_error(errors, norm=norm, debiased=debiased))
    low, high = NO_INTERVAL
    if draws:
        model = collected.model()
        gap_error = model.error(norm, 1 if norm == "max" else errors.numel())
        low, high = inverted_interval(RootError(gap_error) if norm == "l2" else gap_error)
    return Estimate(value=value, low=low, high=high)


def _top_label(samples: Samples, weights: Weights, bins: int, binning: Binning) -> EventDraws:
    scores, outcomes = (values.cpu() for values in samples.top_label())
    collected = EventDraws(bin_edges(scores, bins, binning), weights.draws)
    for part, block in weights.blocks(samples.units()):
        collected.add(scores[part], outcomes[part], block)
    return collected


def _classes_by_mass(samples: Samples, weights: Weights, bins: int) -> EventDraws:
    samples.check_values()
    classes = class_blocks(samples.scores, samples.labels, ignored=samples.ignored)
    edges = torch.cat([bin_edges(scores, bins, "mass").cpu() for scores, _ in classes])
    collected = EventDraws(edges, weights.draws)
    for rows, labels, block in weighted_rows(samples, weights):
        happened = labels == torch.arange(samples.num_classes).unsqueeze(1)
        collected.add(rows.T.double().clamp_max(1), happened, block)
    return collected
