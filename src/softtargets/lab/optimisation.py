"""Optimiser and learning rate of a run, functions of its spec, the epoch and the step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from softtargets.lab.spec import RunSpec, given

STEPS = (1.0, 0.1, 0.01)
# One cycle: the share of the run in which the rate rises, and what it starts from and ends at.
RISE, START, END = 0.3, 1 / 25, 1 / 250_000


def optimizer(spec: RunSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of a run: SGD with Nesterov momentum, or AdamW.

    Args:
        spec: of the run.
        parameters: what it changes.
    """
    if given(spec.optimizer, "sgd") == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=spec.learning_rate,
            betas=(spec.momentum, 0.999),
            weight_decay=spec.weight_decay,
        )
    return torch.optim.SGD(
        parameters,
        lr=spec.learning_rate,
        momentum=spec.momentum,
        nesterov=spec.momentum > 0,
        weight_decay=spec.weight_decay,
    )


def learning_rate(spec: RunSpec, epoch: int, step: int, steps: int) -> float:
    r"""Return the learning rate of a step.

        warm-up      s / w                        while s <= w; then, with t = epoch - w, T = n - w:
        cosine       (1 + cos(pi t / T)) / 2
        step         1, 1/10, 1/100               from t = 0, T / 2, 3 T / 4 on
        constant     1
        one-cycle    1/25 to 1 to 1/250000        along half cosines, up in 30 % of all steps

    times `spec.learning_rate`, where s counts epochs, the steps of this one included, n is how many
    there are in all and w in how many of them the rate warms up. The first three change it from
    epoch to epoch, the others at every step.

    Args:
        spec: of the run.
        epoch: number of the epoch, from 0.
        step: number of the step in it, from 0.
        steps: how many steps an epoch has.

    Example:
        >>> from softtargets.lab.spec import RunSpec
        >>> spec = RunSpec(data="", data_hash="", method="ls", parameters={}, seed=0, noise=0.0,
        ...                epochs=4, learning_rate=1.0, schedule="step", warm_up=1)
        >>> [learning_rate(spec, epoch, 0, 2) for epoch in range(4)]
        [0.5, 1.0, 1.0, 0.1]

    References:
        Loshchilov and Hutter, "SGDR", ICLR 2017 (cosine). Smith and Topin, "Super-convergence",
        2018 (one-cycle, with the settings of torch's `OneCycleLR`).
    """
    warm_up, peak = given(spec.warm_up, 0), spec.learning_rate
    if epoch < warm_up:
        return peak * (epoch + (step + 1) / steps) / warm_up
    passed, length = epoch - warm_up, spec.epochs - warm_up
    match given(spec.schedule, "cosine"):
        case "constant":
            return peak
        case "step":
            return peak * STEPS[(2 * passed >= length) + (4 * passed >= 3 * length)]
        case "one-cycle":
            return peak * _cycle(epoch * steps + step, spec.epochs * steps)
        case _:
            return peak * (1 + math.cos(math.pi * passed / length)) / 2


def _cycle(step: int, steps: int) -> float:
    """Return the share of the highest rate at a step of a run of so many."""
    top = RISE * steps - 1
    if step <= top:
        return _between(START, 1.0, step / top)
    return _between(1.0, END, (step - top) / (steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
