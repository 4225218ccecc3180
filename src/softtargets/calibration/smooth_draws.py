"""Smooth calibration error under the weights of a bootstrap."""

import math

import torch
from torch import Tensor

from softtargets.calibration.binning import BinStatistics, bin_index
from softtargets.calibration.gaps import excess_of, fitted_rates
from softtargets.calibration.resampling import Block, WeightedSums, averages
from softtargets.calibration.smooth import residual_grid, smooth_error_on_grid, split_on_grid

CELLS = 512
_POINTS = CELLS + 1
_IMAGES = 2  # reflections that a Gaussian no wider than 1 still reaches


class SmoothDraws:
    """Residuals on a grid of scores, of one event or of several labels.

    Args:
        draws: B, at least 0.
        labels: L.
    """

    def __init__(self, draws: int, labels: int = 1) -> None:
        self._sums = WeightedSums(labels * _POINTS, draws)

    def add(
        self, scores: Tensor, outcomes: Tensor, block: Block, answered: Tensor | None = None
    ) -> None:
        """Add samples of every label.

        Args:
            scores: `(n,)` or `(L, n)`, float64.
            outcomes: the same shape, bool.
            block: their weights.
            answered: the same shape, bool: what counts; None: all.
        """
        counted = torch.ones_like(outcomes) if answered is None else answered
        label, sample = counted.view(-1, counted.shape[-1]).nonzero(as_tuple=True)
        scores, outcomes = scores[counted], outcomes[counted]
        index, share = split_on_grid(scores, CELLS)
        index += label * _POINTS
        residuals = outcomes.double() - scores
        parts = torch.cat([residuals * (1 - share), residuals * share])
        self._sums.add_sparse(torch.cat([index, index + 1]), sample.repeat(2), parts, block)

    def model(
        self, totals: Tensor, scores: Tensor, statistics: BinStatistics, label: int = 0
    ) -> "SmoothModel":
        """The model of one label; once, after all samples.

        Args:
            totals: `(1 + B,)`: sums of the weights.
            scores: `(N,)`: all scores.
            statistics: their bins, whose fitted gaps are the shape of the truth.
            label: which label.
        """
        sums = self._sums.matrix[label * _POINTS : (label + 1) * _POINTS]
        plain = sums[:, 0] / len(scores)
        fitted = fitted_rates(statistics)[bin_index(scores, statistics.edges)]
        drawn = averages(sums, totals)
        return SmoothModel(plain, residual_grid(scores, fitted, CELLS), drawn)


class SmoothModel:
    """Smooth error under truths that are the fitted residuals times a scale t.

    The draws are of the error at one bandwidth, that of the samples: a test may be made with any
    statistic. The truth's error is that at its own bandwidth.

    Args:
        observed: `(cells + 1,)`: the residuals.
        fitted: `(cells + 1,)`: their truth at t = 1.
        drawn: `(cells + 1, B)`: drawn residuals.
    """

    def __init__(self, observed: Tensor, fitted: Tensor, drawn: Tensor) -> None:
        self._fitted = fitted
        width = max(float(smooth_error_on_grid(observed)), 1 / CELLS)
        kernel = _kernel(width)
        self._observed = kernel @ observed
        self._shape = kernel @ fitted
        self._noise = kernel @ (drawn - observed.unsqueeze(-1))

    @property
    def observed(self) -> float:
        """The error of the samples."""
        return float(self._observed.abs().mean())

    def truth_at(self, scale: float) -> float:
        """The error of the truth of scale t."""
        return float(smooth_error_on_grid((scale * self._fitted).clamp(-1, 1)))

    def draws_at(self, scale: float) -> Tensor:
        """`(B,)` draws of the error under the truth of scale t."""
        return self._drawn(scale).abs().mean(0)

    def excess(self, scale: float, *, drawn: bool) -> Tensor:
        """What noise adds to the error, or to draws of it, as far as they tell by themselves."""
        values = self._drawn(scale) if drawn else self._observed.unsqueeze(-1)
        deviation = self._noise.abs().mean(-1)
        total = excess_of(lambda: [(slice(None), values)], deviation, torch.ones_like(deviation))
        return total / len(values)

    def _drawn(self, scale: float) -> Tensor:
        return scale * self._shape.unsqueeze(-1) + self._noise


def _kernel(width: float) -> Tensor:
    """`(cells + 1, cells + 1)`: the Gaussian of this width, reflected at 0 and 1."""
    points = torch.arange(CELLS + 1).double() / CELLS
    centres = [
        sign * points + 2 * shift for sign in (-1, 1) for shift in range(-_IMAGES, _IMAGES + 1)
    ]
    kernel = torch.zeros_like(points.expand(len(points), -1))
    for centre in centres:
        kernel += torch.exp(-((points.unsqueeze(-1) - centre) / width).square() / 2)
    return kernel.div_(width * math.sqrt(2 * math.pi))
