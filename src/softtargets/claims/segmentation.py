"""Claims on what label smoothing does to segmentation and to confidence at boundaries."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Results, Test, levels
from softtargets.claims.composer import PAPER
from softtargets.claims.intervals import Paired, sample_weights
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Stored
from softtargets.lab.segmentation.measures import (
    intersection_over_union,
    mean_over_classes,
    overlaps,
)

LOSSES = {"CE": "ce", "Dice": "dice", "CE + Dice": "ce+dice"}
# Of mean IoU: seeds alone move it by about as much.
MARGIN = 0.01


def mean_iou(runs: Sequence[Stored]) -> Paired:
    """IoU of the test pixels, mean over classes.

    Args:
        runs: by seed.
    """
    return _of_images(runs, "confusion", lambda x: _mean(overlaps(x)))


def boundary_iou(runs: Sequence[Stored]) -> Paired:
    """IoU of what is near a boundary of reference or prediction, mean over classes.

    Args:
        runs: by seed.
    """
    return _of_images(runs, "boundary", _mean)


def calibration_error(runs: Sequence[Stored]) -> Paired:
    """ECE at boundaries, debiased and signed; spread by that of the plain one.

    Args:
        runs: by seed.
    """
    plain = _of_images(runs, "boundary_bins", _error)
    name = "boundary_expected_calibration_error_debiased"
    values = [run.record.metrics[name].value for run in runs]
    return Paired(torch.tensor(values, dtype=torch.float64), plain.draws)


def _mean(counts: Tensor) -> Tensor:
    return mean_over_classes(intersection_over_union(counts))


def _error(bins: Tensor) -> Tensor:
    """From `(*, 15, 3)`: number, confidence and right pixels by bin."""
    number, confidence, right = bins.unbind(-1)
    return (confidence - right).abs().sum(-1) / number.sum(-1)


def _of_images(runs: Sequence[Stored], name: str, statistic: Callable[[Tensor], Tensor]) -> Paired:
    """A statistic of sums over images, and what it becomes as these are redrawn."""
    values, draws = [], []
    for run in runs:
        table = torch.from_numpy(run.arrays[name]).double()
        drawn = sample_weights(len(table)).double() @ table.flatten(1)
        values.append(statistic(table.sum(0)))
        draws.append(statistic(drawn.view(-1, *table.shape[1:])))
    return Paired(torch.stack(values), torch.stack(draws, 1))


def _dice(results: Results) -> Measured:
    found = {name: results.stored(name) for name in results.arms}
    overlap = {name: mean_iou(runs) for name, runs in found.items()}
    errors = {name: calibration_error(runs) for name, runs in found.items()}
    effects = {}
    for loss in LOSSES:
        effects[f"{loss}, IoU"] = overlap[f"{loss}, LS"] - overlap[loss]
        effects[f"{loss}, ECE"] = errors[f"{loss}, LS"] - errors[loss]
    rims = {name: boundary_iou(runs) for name, runs in found.items()}
    return Measured(
        effects,
        (
            levels("mean IoU, %", overlap, scale=100),
            levels("boundary IoU, %", rims, scale=100),
            levels("debiased ECE at boundaries, %", errors, scale=100),
        ),
    )


def _arms() -> tuple[Arm, ...]:
    smoothed = (Try(parameters={"rate": 0.1}),)
    return tuple(
        arm
        for loss, method in LOSSES.items()
        for arm in (
            Arm(name=loss, method=method, scene="streets"),
            Arm(name=f"{loss}, LS", method=f"{method}-ls", tries=smoothed, scene="streets"),
        )
    )


def _tests() -> tuple[Test, ...]:
    overlap = tuple(
        Test(
            name=f"{loss}, IoU",
            says=f"mean IoU, {loss} with LS − {loss}",
            rule=Rule.greater(-MARGIN),
            scale=100,
            unit="points",
        )
        for loss in LOSSES
    )
    errors = tuple(
        Test(
            name=f"{loss}, ECE",
            says=f"debiased ECE of pixels at boundaries, {loss} with LS − {loss}",
            rule=Rule.less(),
            scale=100,
            unit="points",
        )
        for loss in LOSSES
    )
    return overlap + errors


DICE = Claim(
    name="composer.dice",
    paper=PAPER,
    statement="Label smoothing applies to segmentation, also with the Dice loss: regions overlap "
    "no worse with it, and confidence at boundaries is better calibrated.",
    figures=(),
    arms=_arms(),
    tests=_tests(),
    measure=_dice,
)

CLAIMS = (DICE,)
