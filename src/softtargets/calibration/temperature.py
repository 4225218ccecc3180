"""Temperature scaling by an exact one-dimensional search."""

import math
from collections.abc import Iterator
from typing import Self, final

import torch
from torch import Tensor

from softtargets.calibration.checks import check_logits
from softtargets.calibration.scaling import AbstractScaling, Fit, scaled
from softtargets.calibration.scores import log_losses

BRACKET = (0.05, 20.0)

_BLOCK_ELEMENTS = 2**18  # rows are read in blocks of this many numbers (2 MB in float64)
_MAX_STEPS = 200  # bisection alone needs about 45, Newton about 6
_RELATIVE_TOLERANCE = 1e-12


@final
class TemperatureScaling(AbstractScaling):
    """Divide logits by the one temperature T that minimises the NLL of a validation split.

        T = argmin NLL(logits / T, labels)      T in [0.05, 20]

    The NLL is convex in 1/T; its minimum is found by Newton's method inside a shrinking bracket,
    in float64, to rounding. T stays 1 unless another value lowers the NLL. Dividing by T changes
    no prediction, so accuracy stays as it is. T > 1 says that the model was overconfident,
    T < 1 (`underconfident`) that it was not sure enough, as models trained with label smoothing
    often are.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> scaling = TemperatureScaling().fit(logits, torch.tensor([0, 0, 1]))
        >>> scaling
        TemperatureScaling(temperature=2.885)
        >>> scaling.underconfident, scaling.at_bound, scaling.improved
        (False, False, True)
        >>> scaling(logits)[0]
        tensor([0.6931, 0.0000])

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    def fit(self, logits: Tensor, labels: Tensor) -> Self:
        """Find the temperature on validation logits, never on the ones it will be judged by.

        Args:
            logits: `(N, K)`, floating point; -inf masks a class, but not a label's.
            labels: `(N,)`, integers in 0 .. K - 1.

        Returns:
            The object itself.

        Raises:
            ValueError: NaN, +inf, a masked label, or shapes or labels that do not fit.
            TypeError: a wrong dtype.
        """
        check_logits(logits, labels)
        before = _mean_loss(logits, labels, 1.0)
        if not math.isfinite(before):
            raise ValueError(
                "`logits` must be finite at each sample's label, got -inf (NLL is inf whatever the "
                "scaling); drop the samples whose label is masked"
            )
        inverse, at_bound = _minimise(logits, labels)
        improved = _mean_loss(logits, labels, inverse) < before
        self._fit = Fit(1 / inverse, at_bound, True) if improved else Fit(1.0, False, False)
        return self

    def forward(self, logits: Tensor) -> Tensor:
        """Return `logits / temperature`: same shape and dtype, differentiable."""
        return scaled(logits, self._fitted())


def _minimise(logits: Tensor, labels: Tensor) -> tuple[float, bool]:
    """The inverse temperature of least NLL, and whether it is an end of the bracket."""
    low, high = 1 / BRACKET[1], 1 / BRACKET[0]
    inverse, (slope, curvature) = 1.0, _derivatives(logits, labels, 1.0)
    if slope == 0:
        return 1.0, False
    end = high if slope < 0 else low
    if _derivatives(logits, labels, end)[0] * slope >= 0:
        return end, True
    last_step = math.inf
    for _ in range(_MAX_STEPS):
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = -slope / curvature if curvature > 0 else math.inf
        if slope == 0 or abs(step) <= _RELATIVE_TOLERANCE * inverse:
            break
        # A step that leaves the bracket or fails to halve is replaced by a bisection.
        if not (low < inverse + step < high and abs(step) <= last_step / 2):
            step = math.sqrt(low * high) - inverse
        last_step = abs(step)
        inverse += step
        slope, curvature = _derivatives(logits, labels, inverse)
    return inverse, False


def _mean_loss(logits: Tensor, labels: Tensor, inverse: float) -> float:
    blocks = _row_blocks(logits, labels)
    return sum(float(log_losses(rows * inverse, y).sum()) for rows, y in blocks) / len(labels)


def _derivatives(logits: Tensor, labels: Tensor, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean NLL by the inverse temperature."""
    slope = curvature = 0.0
    for rows, y in _row_blocks(logits, labels):
        probs = torch.softmax(rows * inverse, -1)
        values = rows.masked_fill(rows == -torch.inf, 0)  # 0 * inf has no place in the sums
        mean = (probs * values).sum(-1)
        at_label = values.gather(-1, y.unsqueeze(-1)).squeeze(-1)
        slope += float((mean - at_label).sum())
        curvature += float((probs * (values - mean.unsqueeze(-1)).square()).sum())
    return slope / len(labels), curvature / len(labels)


def _row_blocks(logits: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of rows in float64 with their maximum moved to 0, and labels in int64."""
    size = max(1, _BLOCK_ELEMENTS // logits.shape[1])
    for start in range(0, len(labels), size):
        rows = logits.detach()[start : start + size].double()
        yield rows - rows.amax(-1, keepdim=True), labels[start : start + size].long()
