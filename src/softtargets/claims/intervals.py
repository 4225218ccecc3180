"""Effects by seed and by draw of the test samples, and their bootstrap over both together."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.lab import seeds

LEVEL = 0.95
DRAWS = 1000


class Interval(NamedTuple):
    """A value with its 95 % interval; NaN limits where nothing is known of its spread."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A quantity of the same seeds throughout, and what it becomes as test samples are redrawn.

    Args:
        values: `(S,)` float64, by seed.
        draws: `(B, S)` float64: row b is of the b-th draw of the test samples, with repetition;
            the same draws for every quantity measured on the same test samples.

    Example:
        >>> import torch
        >>> gain = Paired.fixed([0.92, 0.95, 0.93]) - Paired.fixed([0.91, 0.93, 0.91])
        >>> [round(value, 2) for value in gain.values.tolist()]
        [0.01, 0.02, 0.02]
    """

    values: Tensor
    draws: Tensor

    @classmethod
    def fixed(cls, values: list[float]) -> "Paired":
        """Return a quantity that does not depend on test samples."""
        row = torch.tensor(values, dtype=torch.float64)
        return cls(row, row.expand(DRAWS, -1))

    def __add__(self, other: "Paired") -> "Paired":
        return Paired(self.values + other.values, self.draws + other.draws)

    def __sub__(self, other: "Paired") -> "Paired":
        return Paired(self.values - other.values, self.draws - other.draws)

    def __mul__(self, factor: float) -> "Paired":
        return Paired(self.values * factor, self.draws * factor)

    def interval(self) -> Interval:
        """Return the mean over seeds with its interval, see `bootstrap_interval`."""
        return bootstrap_interval(self.values, self.draws)


def mean(parts: list[Paired]) -> Paired:
    """Return the mean of several quantities of the same seeds."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total * (1 / len(parts))


def bootstrap_interval(values: Tensor, draws: Tensor) -> Interval:
    """Return the mean over seeds with a 95 % interval over seeds and test samples together.

    Each draw of the test samples meets a draw of S - 1 of the S seeds, with repetition: with S the
    variance of the mean would come out too small by (S - 1) / S. What the bootstrap means deviate
    from their own mean is mirrored at the value (the basic bootstrap, so that a measure which
    redrawing biases, as a calibration error, is not shifted), and widened by Student's t with S - 1
    degrees of freedom over the normal quantile, as few seeds say little about their own spread.

    Args:
        values: `(S,)`, by seed.
        draws: `(B, S)`, by draw of the test samples.

    Example:
        >>> import torch
        >>> values = torch.tensor([0.2, 0.3, 0.1, 0.2, 0.2], dtype=torch.float64)
        >>> value, low, high = bootstrap_interval(values, values.expand(1000, -1))
        >>> 0.08 < low < 0.16 < value < 0.24 < high < 0.32
        True
    """
    value, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(value, math.nan, math.nan)
    chosen = torch.randint(
        count, (len(draws), count - 1), generator=seeds.generator("claims", "seeds")
    )
    deviations = draws.gather(1, chosen).mean(1)
    deviations = (deviations - deviations.mean()) * _widening(count)
    ends = torch.tensor([(1 + LEVEL) / 2, (1 - LEVEL) / 2], dtype=torch.float64)
    low, high = (value - torch.quantile(deviations, ends)).tolist()
    return Interval(value, low, high)


@lru_cache
def _widening(count: int) -> float:
    from scipy import stats

    tail = (1 + LEVEL) / 2
    return float(stats.t.ppf(tail, count - 1) / stats.norm.ppf(tail))


@lru_cache(maxsize=4)
def sample_weights(samples: int) -> Tensor:
    """Return `(DRAWS, N)` float32: how often each test sample is in each draw of N of them."""
    generator = seeds.generator("claims", "samples", samples)
    weights = torch.empty(DRAWS, samples)
    for row in weights:
        drawn = torch.randint(samples, (samples,), generator=generator)
        row.copy_(torch.bincount(drawn, minlength=samples))
    return weights
