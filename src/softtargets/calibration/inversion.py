"""Intervals for errors that noise makes larger, by asking which truths would look like the data.

A calibration error is a norm of noisy gaps. Noise adds to it, and each resample adds noise once
more, so near calibration percentile intervals never hold the truth and the basic bootstrap holds
it every second time. Here a family of truths, the fitted gaps times t, is put to the test: t is in
the interval if the error that was observed is not surprising under it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_TAIL = 0.025
_UNLUCKY = 0.16
_TOLERANCE = 1e-5
_MAX_STEPS = 60  # the Illinois rule needs about 8
_LARGEST_SCALE = 2.0**40
_BELOW_ONE = 1 - 2.0**-12


def scale_interval(observed: float, draws_at: Callable[[float], Tensor]) -> tuple[float, float]:
    """95 % interval of the scale t of a family of truths, by test inversion.

    It holds the t under which the observed error is below the 97.5 % quantile of its draws, and
    above the quantile of level 2.5 % * P(draws at t = 0 <= observed). The factor, 1 away from
    calibration, keeps the interval from shrinking to a point where the observed error is smaller
    than noise alone makes it; for the upper end such an error counts as no smaller than the 16 %
    quantile of noise alone.

    Args:
        observed: the error of the samples.
        draws_at: for t >= 0 returns `(B,)` draws of the error under the truth of scale t.

    Returns:
        Lower and upper end, 0 <= lower <= upper; 0, 0 if there is neither error nor noise.

    References:
        Garthwaite and Buckland, Generating Monte Carlo confidence intervals, 1992 (inversion).
        Read, Presentation of search results: the CLs technique, 2002 (the factor).
        Cowan, Cranmer, Gross and Vitells, Power-constrained limits, 2011 (the 16 %).
        Broecker and Smith, Increasing the reliability of reliability diagrams, 2007 (t = 0).
    """
    noise = draws_at(0.0)
    if observed == 0 and not bool(noise.any()):
        return 0.0, 0.0

    def above(t: float) -> float:
        return _quantile(draws_at(t), 1 - _TAIL) - observed

    low = _scale(above)
    if low > _BELOW_ONE:
        # If all predictions were right, the truth of scale 1 has no noise, but those below it do.
        low = _scale(above, _BELOW_ONE)
    counted = max(observed, _quantile(noise, _UNLUCKY))
    level = _TAIL * float((noise <= counted).double().mean())
    high = _scale(lambda t: _quantile(draws_at(t), level) - counted)
    return low, max(low, high)


def unbiased_scale(observed: float, draws_at: Callable[[float], Tensor]) -> float:
    """The scale whose draws have the observed error as their mean; 0 if noise alone has more."""
    return _scale(lambda t: float(draws_at(t).mean()) - observed)


def _scale(excess: Callable[[float], float], start: float = 1.0) -> float:
    """Where a function of t that ends up rising becomes positive; 0 if it is so at 0 already.

    The search goes from 0 to `start` first, then beyond.
    """
    low, at_low = 0.0, excess(0.0)
    if at_low > 0:
        return 0.0
    high, at_high = start, excess(start)
    while at_high <= 0:
        if high >= _LARGEST_SCALE:
            return _LARGEST_SCALE
        low, at_low = high, at_high
        high *= 2
        at_high = excess(high)
    kept = 0
    for _ in range(_MAX_STEPS):
        if high - low <= _TOLERANCE * high:
            break
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at_middle = excess(middle)
        # The Illinois rule: an end kept twice is halved, so that both move.
        if at_middle > 0:
            high, at_high, at_low = middle, at_middle, at_low / 2 if kept > 0 else at_low
            kept = 1
        else:
            low, at_low, at_high = middle, at_middle, at_high / 2 if kept < 0 else at_high
            kept = -1
    return low


def _quantile(draws: Tensor, level: float) -> float:
    return float(torch.quantile(draws, level))
