"""Metrics of pixels and tokens, with intervals over resampled images or sentences, taken whole."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from softtargets import calibration
from softtargets.lab import seeds
from softtargets.lab.records import Estimate

Unit = Literal["images", "sentences"]
_NONE = -100


def over_units(
    sums: Tensor, statistic: Callable[[Tensor], Tensor], unit: Unit, *, resamples: int, seed: int
) -> Estimate:
    """Return a statistic of sums over units, with an interval over resampled units.

    Args:
        sums: `(N, ...)`, of each unit.
        statistic: from `(..., *)`, the sums of units, to `(...)`.
        unit: what is drawn.
        resamples: draws of the units; 0 for no interval, and one unit has none.
        seed: of the draws.
    """
    flat = sums.double().flatten(1)
    value = float(statistic(flat.sum(0).view(sums.shape[1:])))
    if not resamples or len(sums) < 2:
        return Estimate(value, None, None)
    generator = seeds.generator(unit, seed)
    chosen = torch.randint(len(sums), (resamples, len(sums)), generator=generator)
    weights = torch.zeros(resamples, len(sums), dtype=torch.float64)
    weights.scatter_add_(1, chosen, torch.ones_like(weights))
    draws = statistic((weights @ flat).view(resamples, *sums.shape[1:]))
    ends = torch.tensor([0.975, 0.025], dtype=torch.float64)
    high, low = draws.quantile(ends).tolist()
    # The basic bootstrap, as everywhere.
    return estimate(value, 2 * value - high, 2 * value - low)


def ratio(sums: Tensor, unit: Unit, *, resamples: int, seed: int) -> Estimate:
    """Return a mean over what the units hold, see `over_units`.

    Args:
        sums: `(N, 2)`, sum and number of each unit.
        unit: what is drawn.
        resamples: draws of the units; 0 for no interval, and one unit that holds any has none.
        seed: of the draws.

    Example:
        >>> ratio(torch.tensor([[1.0, 2.0], [2.0, 2.0]]), "images", resamples=0, seed=0)
        Estimate(value=0.75, low=None, high=None)
    """
    resamples = _several(sums[:, 1], resamples)
    return over_units(sums, lambda x: x[..., 0] / x[..., 1], unit, resamples=resamples, seed=seed)


def calibration_errors(
    confidence: Tensor, right: Tensor, *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return the calibration errors of confidences, plain and debiased, by name.

    Args:
        confidence: `(N, P)`, of each unit's pixels or tokens.
        right: `(N, P)` int64, 1 where it came true, 0 where not, -100 where there is none.
        resamples: draws of the units; 0 for no intervals, and one unit that holds any has none.
        seed: of the draws.
    """
    resamples = _several((right != _NONE).sum(1), resamples)
    events = calibration.evaluate_multilabel(
        confidence.double().logit().unsqueeze(1),
        right.unsqueeze(1),
        bootstrap=resamples,
        generator=seeds.generator("bootstrap", seed),
    )
    error = events.expected_calibration_error
    signed = events.expected_calibration_error_signed
    return {
        "expected_calibration_error": estimate(error.value, error.low, error.high),
        "expected_calibration_error_debiased": estimate(signed, error.low, error.high),
    }


def _several(numbers: Tensor, resamples: int) -> int:
    """Return the draws, none unless several units hold something."""
    return resamples if int((numbers > 0).sum()) > 1 else 0


def estimate(value: float, low: float, high: float) -> Estimate:
    """Return a value with its interval, None for both ends if one is NaN."""
    known = not (math.isnan(low) or math.isnan(high))
    return Estimate(value, low if known else None, high if known else None)
