"""95 % intervals from bootstrap draws."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from softtargets.calibration.inversion import scale_interval, unbiased_scale

_LEVEL = 0.95

Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


class Centred(NamedTuple):
    """A number without the mean of its noise, and `(B,)` draws of the noise, of mean 0."""

    estimate: float
    noise: Tensor


class NoisyError(Protocol):
    """An error of some samples, that of truths of scale t, and draws of it under them."""

    @property
    def observed(self) -> float: ...

    def truth_at(self, scale: float) -> float: ...

    def draws_at(self, scale: float) -> Tensor: ...

    def excess(self, scale: float, *, drawn: bool) -> Tensor: ...


class MeanError(NamedTuple):
    """The mean of errors of the same samples, as of several labels."""

    errors: tuple[NoisyError, ...]

    @property
    def observed(self) -> float:
        """The error of the samples."""
        return math.fsum(error.observed for error in self.errors) / len(self.errors)

    def truth_at(self, scale: float) -> float:
        """The error of the truths of scale t."""
        return math.fsum(error.truth_at(scale) for error in self.errors) / len(self.errors)

    def draws_at(self, scale: float) -> Tensor:
        """`(B,)` draws of the error under those truths."""
        return torch.stack([error.draws_at(scale) for error in self.errors]).mean(0)

    def excess(self, scale: float, *, drawn: bool) -> Tensor:
        """What noise adds to the error, or to draws of it, as far as they tell by themselves."""
        return torch.stack([error.excess(scale, drawn=drawn) for error in self.errors]).mean(0)


def percentile_interval(draws: Tensor) -> Interval:
    """The central 95 % of `(B,)` draws; NaN where a draw is not finite."""
    low, high = torch.quantile(draws, _ends(draws)).tolist()
    return low, high


def reflected_interval(value: float, noise: Tensor) -> Interval:
    """The values from which noise, `(B,)` draws about 0, leads to this one: the basic bootstrap."""
    low, high = torch.quantile(noise, _ends(noise)).tolist()
    return value - high, value - low


def inverted_interval(error: NoisyError, *, largest: float = 1.0) -> Interval:
    """The errors of the truths that an error's test does not reject; see `scale_interval`."""
    low, high = scale_interval(error.observed, error.draws_at)
    return min(error.truth_at(low), largest), min(error.truth_at(high), largest)


def unbiased(error: NoisyError, scales: Iterable[float]) -> list[Centred]:
    """An error without what noise adds to it, and its noise, under several truths.

    The estimate is the error less its `excess`, and less the bias that this still has in the draws
    of the truth.
    """
    found = []
    for scale in scales:
        plain = error.observed - float(error.excess(scale, drawn=False))
        noise = error.draws_at(scale) - error.excess(scale, drawn=True) - error.truth_at(scale)
        bias = noise.mean()
        found.append(Centred(plain - float(bias), noise - bias))
    return found


def scales_of(error: NoisyError) -> tuple[float, float, float]:
    """The truths that an unbiased estimate is made under, by their scale; the first is the best.

    The one whose draws have the observed error as their mean, the fitted one, and calibration.
    """
    return unbiased_scale(error.observed, error.draws_at), 1.0, 0.0


def widest(estimates: Iterable[Centred]) -> Interval:
    """From the lowest to the highest end of the intervals of several truths."""
    ends = [reflected_interval(*estimate) for estimate in estimates]
    low, high = zip(*ends, strict=True)
    return min(low), max(high)


def _ends(draws: Tensor) -> Tensor:
    return torch.tensor([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], dtype=draws.dtype)
