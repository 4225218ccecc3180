"""What averaging the logits of groups brings, beside their predictions one by one."""

import math

import torch
from torch import Tensor

from softtargets.audit.groups import Grouping
from softtargets.audit.intervals import mean_estimate
from softtargets.audit.result import Aggregation, SingleMeasures
from softtargets.audit.tally import Tally
from softtargets.calibration import Estimate


def aggregation(grouping: Grouping, single: Tally, averaged: Tally) -> Aggregation:
    """Compare single predictions with those of their groups.

    Means over predictions have intervals for whole groups drawn, since what is in one group is not
    independent: those of ratios of sums per group, to first order.

    Args:
        grouping: of the rows.
        single: one row per prediction, in the file's order.
        averaged: one row per group, in the order of their last rows.
    """
    before, after = _quantities(single), _quantities(averaged)
    own: dict[str, Estimate] = {}
    change: dict[str, Estimate] = {}
    for name, values in before.items():
        mean, gain = float(values.mean()), float(after[name].mean() - values.mean())
        if not math.isfinite(gain):
            own[name], change[name] = _value(mean), _value(gain)
            continue
        deviations = _deviations(grouping, values - mean)
        own[name] = mean_estimate(mean + deviations)
        change[name] = mean_estimate(after[name] - mean - deviations)
    errors = [float(each.top_label.calibration_error(debiased=True)) for each in (single, averaged)]
    return Aggregation(
        column=grouping.column,
        num_predictions=len(single),
        smallest=int(grouping.counts.min()),
        largest=int(grouping.counts.max()),
        single=SingleMeasures(**own, expected_calibration_error=_value(errors[0])),
        difference=SingleMeasures(
            **change, expected_calibration_error=_value(errors[1] - errors[0])
        ),
    )


def _quantities(tally: Tally) -> dict[str, Tensor]:
    right = tally.right.double()
    return {
        "accuracy": right,
        "confidence": tally.confidence,
        "gap": tally.confidence - right,
        "negative_log_likelihood": tally.negative_log_likelihood,
        "brier_score": tally.brier_score,
    }


def _deviations(grouping: Grouping, residuals: Tensor) -> Tensor:
    """`(G,)`, in the order of last rows: the sum of each group's residuals over its mean size.

    Their mean is 0, and their variance over G is that of the mean over rows if groups are drawn.
    """
    sums = torch.zeros(len(grouping), dtype=torch.float64).index_add_(0, grouping.index, residuals)
    return sums[grouping.completed] * (len(grouping) / len(residuals))


def _value(value: float) -> Estimate:
    return Estimate(value=value, low=math.nan, high=math.nan)
