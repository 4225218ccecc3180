"""Smooth calibration error: a kernel instead of bins, its bandwidth set by the data."""

import math

import torch
from torch import Tensor

from softtargets.calibration.samples import Samples

_TOLERANCE = 1e-6
_FEWEST_CELLS, _MOST_CELLS = 2**10, 2**19
_SMALLEST = 1e-12  # bandwidths below are 0
_MAX_STEPS = 60  # false position needs about 8
_NORMAL_DENSITY_AT_ONE = math.exp(-0.5) / math.sqrt(2 * math.pi)


def smooth_calibration_error(
    probs: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
) -> Tensor:
    """Top-label smooth calibration error smECE: no bins, and no bandwidth to choose.

        r_s(t) = 1/N sum_i K_s(t, c_i) (hit_i - c_i)      smECE_s = integral_0^1 |r_s(t)| dt

    with c the confidence in the predicted class and K_s the Gaussian of standard deviation s,
    reflected at 0 and 1. The value is smECE_s at the one bandwidth s where smECE_s = s.
    It is a consistent measure of calibration: it vanishes with the distance to the nearest
    calibrated predictor, and does not jump when confidences move a little, as binned errors do.

    The residuals are split linearly between the points of a grid, so fine that the value is
    within 1e-6 of this definition; its 2^19 cells at most suffice for values down to 0.001.
    Smoothing is a product in the cosine transform, where reflection is exact: O(N) and a few
    Fourier transforms of the grid.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` are not distributions, or labels do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        >>> smooth_calibration_error(probs, torch.tensor([0, 1]))
        tensor(0.1500, dtype=torch.float64)

    References:
        Blasiok and Nakkiran, Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing,
        ICLR 2024.
    """
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    return smooth_error(*samples.top_label())


def smooth_error(scores: Tensor, outcomes: Tensor) -> Tensor:
    """SmECE of `(N,)` float64 scores in [0, 1] and their outcomes; 0-dim, float64."""
    residuals = outcomes.double() - scores
    # Splitting the residuals and integrating over cells of width h are each wrong by at most
    # h^2 / 8 times the mean |residual| times the integral of |K''|, which is 4 phi(1) / s^2.
    scale = math.sqrt(_NORMAL_DENSITY_AT_ONE * float(residuals.abs().mean()) / _TOLERANCE)
    cells = _FEWEST_CELLS
    while True:
        error = smooth_error_on_grid(residual_grid(scores, residuals, cells))
        wanted = scale / max(float(error), _SMALLEST)
        if wanted <= cells or cells == _MOST_CELLS or float(error) == 0:
            return error
        cells = min(2 ** math.ceil(math.log2(wanted)), _MOST_CELLS)


def residual_grid(scores: Tensor, residuals: Tensor, cells: int) -> Tensor:
    """`(cells + 1,)`: residuals / N, each split linearly between the grid points beside it."""
    index, share = split_on_grid(scores, cells)
    grid = scores.new_zeros(cells + 1)
    grid.index_add_(0, index, residuals * (1 - share))
    grid.index_add_(0, index + 1, residuals * share)
    return grid / len(scores)


def split_on_grid(scores: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The grid point below each score in [0, 1], and the share that belongs to the next one."""
    place = scores * cells
    below = place.floor().clamp_max(cells - 1)
    return below.long(), place - below


def smooth_error_on_grid(grid: Tensor) -> Tensor:
    """The bandwidth s at which smECE_s = s, by false position on log smECE_s - log s.

    smECE_s does not rise with s, lies above |mean residual| and below the sum of the |grid|.
    """
    low = float(grid.sum().abs().clamp_min(_SMALLEST).log())
    high = float(grid.abs().sum().clamp_min(_SMALLEST).log())
    if high - low < _SMALLEST:
        return grid.abs().sum()
    cosines = cosine_transform(grid)

    def excess(log_width: float) -> float:
        return math.log(max(float(error_at(cosines, math.exp(log_width))), 1e-300)) - log_width

    at_low, at_high = excess(low), excess(high)
    if at_low <= 0:  # to rounding: smoothed so, all residuals have one sign
        return grid.new_tensor(math.exp(low))
    root, kept = high, 0
    for _ in range(_MAX_STEPS):
        if at_high >= 0 or high - low < _SMALLEST:
            break
        root = (low * at_high - high * at_low) / (at_high - at_low)
        at_root = excess(root)
        if abs(at_root) < _SMALLEST:
            break
        # The Illinois rule: an end kept twice is halved, so that both move.
        if at_root > 0:
            low, at_low, at_high = root, at_root, at_high / 2 if kept > 0 else at_high
        else:
            high, at_high, at_low = root, at_root, at_low / 2 if kept < 0 else at_low
        kept = 1 if at_root > 0 else -1
    return grid.new_tensor(math.exp(root))


def cosine_transform(grid: Tensor) -> Tensor:
    """`(cells + 1,)`: 2 sum_j grid_j cos(pi k j / cells)."""
    # The mirror image continues the grid; a mass at an end is its own image.
    ends = torch.cat([2 * grid[:1], grid[1:-1], 2 * grid[-1:]])
    transform: Tensor = torch.fft.rfft(torch.cat([ends, grid[1:-1].flip(0)]))
    return transform.real


def error_at(cosines: Tensor, width: float) -> Tensor:
    """SmECE at a fixed bandwidth, of the residuals with these cosine coefficients; 0-dim."""
    cells = len(cosines) - 1
    frequencies = torch.arange(cells + 1, dtype=cosines.dtype, device=cosines.device)
    damping = torch.exp(-(math.pi * width * frequencies).square() / 2)
    smoothed = cells * torch.fft.irfft(cosines * damping, n=2 * cells)[: cells + 1]
    return _integral_of_absolute(smoothed)


def _integral_of_absolute(values: Tensor) -> Tensor:
    """Integral over [0, 1] of the |piecewise linear function| with these values on a grid."""
    left, right = values[:-1], values[1:]
    total = left.abs() + right.abs()
    # Between values of opposite sign the line crosses 0: two triangles.
    crossing = (left.square() + right.square()) / total.clamp_min(1e-300)
    return torch.where(left * right < 0, crossing, total).mean() / 2
