"""Bootstrap intervals, with all draws at once as matrix products of bounded size."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.calibration.binning import bin_edges, bin_index, class_blocks, top_label_scores

_LEVEL = 0.95
_BLOCK_ELEMENTS = 2**22  # draws are made in blocks of this many numbers (32 MB in float64)
_HALVINGS = 40


class Draws(NamedTuple):
    """What each of B resamples of the samples gives.

    Args:
        means: `(B, V)`, float64: mean of each per-sample value.
        top_label_gaps: `(B, bins)`, float64: the signed gaps of `BinStatistics.top_label`.
        class_gaps: `(B, K * bins)`, float64: those of `BinStatistics.class_wise`, flattened.
    """

    means: Tensor
    top_label_gaps: Tensor
    class_gaps: Tensor


def resample(
    values: Tensor,
    probs: Tensor,
    labels: Tensor,
    *,
    draws: int,
    bins: int,
    generator: torch.Generator,
) -> Draws:
    """Draw N samples with replacement, `draws` times, and recompute means and gaps.

    A draw is a row of multinomial counts, so every mean and every bin's gap is a product of the
    counts with a fixed matrix: no draw is looped over.

    Args:
        values: `(N, V)`, float64: per-sample values to average.
        probs: `(N, K)`, float64: checked probabilities.
        labels: `(N,)`, int64.
        draws: B, at least 1.
        bins: number of equal-width bins.
        generator: source of the draws, on the CPU.

    Returns:
        The `Draws`.
    """
    num_samples = len(values)
    scores, outcomes = top_label_scores(probs, labels)
    top_label = _residuals_by_bin(scores.unsqueeze(0), outcomes.unsqueeze(0), bins)
    parts = []
    for counts in _count_blocks(num_samples, draws, generator):
        by_class = [
            counts @ _residuals_by_bin(scores, outcomes, bins)
            for scores, outcomes in class_blocks(probs, labels, width=bins)
        ]
        parts.append((counts @ values, counts @ top_label, torch.cat(by_class, 1)))
    return Draws(*(torch.cat(blocks) / num_samples for blocks in zip(*parts, strict=True)))


def percentile_interval(draws: Tensor) -> tuple[float, float]:
    """The central 95 % of `(B,)` draws; NaN where a draw is not finite."""
    ends = torch.tensor([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], dtype=draws.dtype)
    low, high = torch.quantile(draws, ends).tolist()
    return low, high


def absolute_gap_interval(gaps: Tensor, draws: Tensor) -> tuple[float, float]:
    """95 % interval for the population value of sum |gap|, by test inversion.

    A sum of absolute values is biased upwards by noise, and each resample adds the noise once
    more: near calibration percentile intervals exclude the truth always, and `2 value - quantile`
    about every second time. Instead the noise of the draws, `draws - gaps`, is added to the gaps
    scaled by t,

        Q_t = sum |t gaps + noise|

    and the interval holds the values t * sum |gaps| for which the observed sum is unsurprising:
    below the 97.5 % quantile of Q_t, and above the quantile of level 2.5 % * P(Q_0 <= observed)
    (the factor, 1 away from calibration, keeps the interval from shrinking to a point when
    the observed sum is smaller than noise alone makes it).

    Args:
        gaps: `(G,)`, float64: observed signed gaps.
        draws: `(B, G)`, float64: those of each resample.

    Returns:
        Lower and upper end, 0 <= lower <= upper.

    References:
        Garthwaite and Buckland, Generating Monte Carlo confidence intervals, 1992 (inversion).
        Read, Presentation of search results: the CLs technique, 2002 (the factor).
        Broecker and Smith, Increasing the reliability of reliability diagrams, 2007 (t = 0).
    """
    observed = float(gaps.abs().sum())
    if observed == 0:
        return 0.0, 0.0
    moving = (gaps != 0) | (draws != 0).any(0)  # most bins of many classes are empty
    gaps, draws = gaps[moving], draws[:, moving]
    noise = draws - gaps
    tail = (1 - _LEVEL) / 2
    compatible = _share_at_most(observed, noise)
    furthest = 1 + float(noise.abs().sum(-1).max()) / observed

    def largest_scale(share: float) -> float:
        low, high = 0.0, furthest
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = _share_at_most(observed, torch.add(noise, gaps, alpha=middle)) >= share
            low, high = (middle, high) if inside else (low, middle)
        return low

    lower = largest_scale(1 - tail) if compatible >= 1 - tail else 0.0
    return lower * observed, largest_scale(tail * compatible) * observed


def _share_at_most(observed: float, gaps: Tensor) -> float:
    return float((gaps.abs().sum(-1) <= observed).double().mean())


def _count_blocks(num_samples: int, draws: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Blocks of `(b, N)` float64 counts: how often each sample occurs in each draw."""
    size = max(1, _BLOCK_ELEMENTS // num_samples)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        picked = torch.randint(num_samples, (rows, num_samples), generator=generator)
        picked += num_samples * torch.arange(rows).unsqueeze(-1)
        counts = torch.bincount(picked.flatten(), minlength=rows * num_samples)
        yield counts.view(rows, num_samples).double()


def _residuals_by_bin(scores: Tensor, outcomes: Tensor, bins: int) -> Tensor:
    """`(N, groups * bins)`: outcome - score of each sample, in the column of its bin."""
    groups, num_samples = scores.shape
    columns = bin_index(scores, bin_edges(scores, bins, "width"))
    columns += bins * torch.arange(groups).unsqueeze(-1)
    by_bin = scores.new_zeros(num_samples, groups * bins)
    return by_bin.scatter_(1, columns.T, (outcomes.double() - scores).T)
