"""Gaps between outcomes and scores in bins, with a model of their truth and of their noise."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from softtargets.calibration.binning import BinStatistics, folded_normal_mean

Part = Literal["l1", "l2", "max", "over", "under"]

_BLOCK_ELEMENTS = 2**18  # draws of many bins are summed in blocks: they fit a core's cache
_FEWEST_CLASSES = 5  # of fewer the classes say too little about each other
_EVENTS = 10.0  # with so many expected events the resamples' noise counts as much as the model's


class GapModel:
    """The gaps of one model's bins under truths that are the fitted gaps times a scale t.

    A gap is (sum of outcomes - sum of scores) / N, for all bins of all classes in a row, and
    what the samples say is the truth plus noise.

    *Truth*: gaps as rates, g = accuracy - mean score, are shrunk towards what they share. Top-label
    bins share one mean; with five classes and more, bins of the same scores share a mean of
    theirs. With v the variance of noise, e the distances from it and n the samples, weights,

        fitted = shared + max(0, 1 - (m - 3) / m * sum n v / sum n e^2) e

    for m bins that hold samples (the James-Stein estimator). Small gaps that are noise
    have random signs: without shrinking the family t * gaps would be one of very rough truths.

    *Noise*: the resamples', which know of correlations between bins and classes. Where few events
    are expected resamples that hold none have no noise; there it is scaled to the mean
    absolute deviation of a binomial count of rate `mean score + t * fitted` (de Moivre), for l2
    to its standard deviation, with weight 10 to the n rate (1 - rate) of the resamples' own.

    Args:
        statistics: the bins, with classes or without.
        drawn: `(bins, B)`: drawn gaps, the bins of all classes in a row.

    Attributes:
        gaps: `(m,)`: those of the bins that hold samples.
        noise: `(m, B)`: the drawn gaps less the gaps.
        fitted_gaps: `(m,)`: the truth at t = 1.

    References:
        James and Stein, Estimation with quadratic loss, 1961.
        Diaconis and Zabell, Closed form summation for classical distributions: variations on a
        theme of de Moivre, 1991.
    """

    def __init__(self, statistics: BinStatistics, drawn: Tensor) -> None:
        filled = statistics.counts.flatten() > 0
        # Labels may have answers of different samples.
        size = statistics.counts.sum(-1, keepdim=True).expand(statistics.counts.shape)
        self._size = size.flatten()[filled].double()
        self.gaps = statistics.signed_gaps.flatten()[filled]
        self.noise = drawn[filled]
        self.noise -= self.gaps.unsqueeze(-1)
        self._counts = statistics.counts.flatten()[filled].double()
        self._scores = statistics.confidence_sums.flatten()[filled] / self._counts
        self._fitted = fitted_rates(statistics).flatten()[filled]
        self.fitted_gaps = self._fitted * self._counts / self._size
        self._spread = self.noise.abs().mean(-1) * self._size

    def error(self, part: Part, groups: int = 1) -> "GapError":
        """The error that is a part or a norm of the gaps.

        Args:
            part: "l1": sum |gap|; "over", "under": its negative and positive gaps alone;
                "l2": sum w g^2 with w the shares of samples; "max": max |g|.
            groups: what sums are divided by: of classes or labels, for their mean.
        """
        return GapError(self, part, groups)

    def reduced_at(self, scale: float, part: Part) -> Tensor:
        """`(B,)` draws of an error under the truth of scale t."""
        total = self.noise.new_zeros(self.noise.shape[1])
        for rows, gaps in self._drawn_blocks(scale, part):
            reduced = self.reduced(gaps, part, rows)
            total = torch.maximum(total, reduced) if part == "max" else total + reduced
        return total

    def excess(self, scale: float, *, drawn: bool) -> Tensor:
        """What noise adds to sum |gap|, judged by the gaps alone; see `excess_of`.

        Args:
            scale: of the truth whose noise is taken.
            drawn: for `(B,)` draws of the gaps under it, else for the gaps themselves, `(1,)`.
        """
        spread = self._noise_factor(scale) * self._spread / self._size
        weights = self._size / self._counts

        def blocks() -> Iterator[tuple[slice, Tensor]]:
            return self._drawn_blocks(scale) if drawn else iter([self._all_gaps()])

        return excess_of(blocks, spread, weights)

    def _all_gaps(self) -> tuple[slice, Tensor]:
        return slice(None), self.gaps.unsqueeze(-1)

    def _drawn_blocks(self, scale: float, part: Part = "l1") -> Iterator[tuple[slice, Tensor]]:
        factor = self._noise_factor(scale, part).unsqueeze(-1)
        shift = scale * self.fitted_gaps.unsqueeze(-1)
        size = max(1, _BLOCK_ELEMENTS // max(1, self.noise.shape[1]))
        for start in range(0, len(shift), size):
            rows = slice(start, start + size)
            yield rows, torch.addcmul(shift[rows], self.noise[rows], factor[rows])

    def reduced(self, gaps: Tensor, part: Part, rows: slice = slice(None)) -> Tensor:
        """The error of each column of `(bins, n)` gaps, or what some rows give to it."""
        if part == "l1":
            return gaps.abs().sum(0)
        if part == "over":
            return (-gaps).clamp_min(0).sum(0)
        if part == "under":
            return gaps.clamp_min(0).sum(0)
        shares = (self._counts / self._size)[rows].unsqueeze(-1)
        if part == "l2":
            return (gaps.square() / shares).sum(0)
        return (gaps.abs() / shares).amax(0)

    def _noise_factor(self, scale: float, part: Part = "l1") -> Tensor:
        rate = (self._scores + scale * self._fitted).clamp(0, 1)
        variance = self._counts * rate * (1 - rate)
        if part == "l2":
            model, drawn = variance.sqrt(), self.noise.square().mean(-1).sqrt() * self._size
        else:
            model, drawn = mean_absolute_deviation(self._counts, rate), self._spread
        trust = variance / (variance + _EVENTS)
        factor = trust + (1 - trust) * model / drawn.clamp_min(1e-300)
        return torch.where(drawn > 0, factor, 0.0)


@dataclass(frozen=True, slots=True)
class GapError:
    """One error of a `GapModel`: its value, its truths and its draws."""

    model: GapModel
    part: Part
    groups: int

    @property
    def observed(self) -> float:
        """The error of the samples."""
        return self._of(self.model.gaps)

    def truth_at(self, scale: float) -> float:
        """The error of the truth of scale t."""
        return self._of(scale * self.model.fitted_gaps)

    def draws_at(self, scale: float) -> Tensor:
        """`(B,)` draws of the error under that truth."""
        return self.model.reduced_at(scale, self.part) / self.groups

    def _of(self, gaps: Tensor) -> float:
        return float(self.model.reduced(gaps.unsqueeze(-1), self.part)[0]) / self.groups

    def excess(self, scale: float, *, drawn: bool) -> Tensor:
        """What noise adds to the error, or to draws of it, as far as they tell by themselves.

        Of the two signs each has half; of l2 and max nothing is told.
        """
        if self.part in ("l2", "max"):
            return self.model.gaps.new_zeros(1)
        share = (1.0 if self.part == "l1" else 0.5) / self.groups
        return share * self.model.excess(scale, drawn=drawn)


@dataclass(frozen=True, slots=True)
class RootError:
    """The square root of an error."""

    error: GapError

    @property
    def observed(self) -> float:
        """The error of the samples."""
        return math.sqrt(self.error.observed)

    def truth_at(self, scale: float) -> float:
        """The error of the truth of scale t."""
        return math.sqrt(self.error.truth_at(scale))

    def draws_at(self, scale: float) -> Tensor:
        """`(B,)` draws of the error under that truth."""
        return self.error.draws_at(scale).sqrt()

    def excess(self, scale: float, *, drawn: bool) -> Tensor:
        """As of the error itself."""
        return self.error.excess(scale, drawn=drawn)


def excess_of(
    blocks: Callable[[], Iterable[tuple[slice, Tensor]]], deviation: Tensor, weights: Tensor
) -> Tensor:
    """What noise adds to sum |x|: sum E|N(h, s^2)| - h over x, where h guesses what is no noise.

    h = k |x| with k^2 = max(0, 1 - sum w s^2 / sum w x^2): x no larger than noise are taken for
    noise.

    Args:
        blocks: yields blocks of rows of `(m, n)` values x, every time it is called.
        deviation: `(m,)`: mean absolute noise; s is that of a normal distribution.
        weights: `(m,)`: w.

    Returns:
        `(n,)`.
    """
    spread, weights = deviation.unsqueeze(-1) * math.sqrt(math.pi / 2), weights.unsqueeze(-1)
    seen = torch.stack([(weights[rows] * x.square()).sum(0) for rows, x in blocks()]).sum(0)
    noise = (weights * spread.square()).sum(0)
    kept = (1 - noise / seen.clamp_min(1e-300)).clamp_min(0).sqrt()
    total = torch.zeros_like(kept)
    for rows, x in blocks():
        true = x.abs() * kept
        total += (folded_normal_mean(true, spread[rows]) - true).sum(0)
    return total


def mean_absolute_deviation(counts: Tensor, rates: Tensor) -> Tensor:
    """E|X - n p| of binomial counts X: 2 v C(n, v) p^v (1 - p)^(n - v + 1), v = floor(n p) + 1."""
    inside = (rates > 0) & (rates < 1)
    p = torch.where(inside, rates, 0.5)
    v = torch.minimum((counts * p).floor() + 1, counts)
    log_choices = torch.lgamma(counts + 1) - torch.lgamma(v + 1) - torch.lgamma(counts - v + 1)
    log_mass = log_choices + v * p.log() + (counts - v + 1) * torch.log1p(-p)
    return torch.where(inside, 2 * v * log_mass.exp(), 0.0)


def fitted_rates(statistics: BinStatistics) -> Tensor:
    """The bins' gaps as rates, shrunk towards what they share; the shape of the counts."""
    counts = statistics.counts.double()
    n = counts.clamp_min(1)
    scores = statistics.confidence_sums / n
    gaps = (statistics.outcome_sums - statistics.confidence_sums) / n
    # Top-label bins, and all bins of few classes, share one mean; else those of one score do.
    along = 0 if len(counts) >= _FEWEST_CLASSES and counts.ndim == 2 else tuple(range(counts.ndim))
    members = (counts > 0).double().sum(along, keepdim=True).clamp_min(1)
    total = counts.sum(along, keepdim=True).clamp_min(1)
    shared = (counts * gaps).sum(along, keepdim=True) / total
    # A rare event that did not happen shows no variance of its own.
    guess, seen_rate = (scores + shared).clamp(0, 1), statistics.outcome_sums / n
    expected = guess * (1 - guess)
    trust = counts * expected / (counts * expected + _EVENTS)
    variance = trust * seen_rate * (1 - seen_rate) + (1 - trust) * expected
    noise = (counts * variance / n).sum(along, keepdim=True)
    seen = (counts * (gaps - shared).square()).sum(along, keepdim=True)
    freedom = (members - 3).clamp_min(0) / members
    kept = (1 - freedom * noise / seen.clamp_min(1e-300)).clamp_min(0)
    fitted = torch.where(counts > 0, shared + kept * (gaps - shared), 0.0)
    if float(fitted.abs().max()) > 1e-9:
        return fitted
    # No gap at all: a truth in which every bin is off by the same share of its noise.
    return torch.where(counts > 0, (expected / n).sqrt(), 0.0)
