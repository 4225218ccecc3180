"""Which targets are tried: a grid for each method, and how much of it is trained."""

from collections.abc import Sequence
from itertools import product

import msgspec
import torch
from torch import Tensor

from softtargets.lab import seeds
from softtargets.smoothing import (
    AbstractSmoothing,
    InstanceLabelSmoothing,
    LabelSmoothing,
    QuadraticRate,
)
from softtargets.target import Target

RATES = (0.001, 0.005, 0.01, *(round(0.03 + 0.02 * step, 2) for step in range(9)))
CLASS_RATES = (0.001, 0.05, 0.09, 0.13, 0.19)
TEMPERATURES = (1.0, 2.0, 4.0, 6.0)
P1 = (0.75, 0.775, 0.8, 0.825, 0.85)
P2 = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

Settings = dict[str, float]

# Those of the paper, appendix A; its rates by class and its self-distillation are not in it.
GRIDS: dict[str, list[Settings]] = {
    "hard": [{}],
    "ls": [{"rate": rate} for rate in RATES],
    "class-wise": [
        {f"rate{place}": rate for place, rate in enumerate(rates)}
        for rates in product(CLASS_RATES, repeat=3)
    ],
    "self-distillation": [
        {"temperature": temperature, "hard_weight": weight}
        for weight, temperature in product((0.0, 0.1), (*TEMPERATURES, 20.0))
    ],
    "ils1": [{"p1": p1, "p2": p2} for p1, p2 in product(P1, P2)],
    "ils2": [{"rate": rate, "temperature": t} for rate, t in product(RATES, TEMPERATURES)],
    "ils": [{"p1": p1, "p2": p2, "temperature": t} for p1, p2, t in product(P1, P2, TEMPERATURES)],
}
METHODS = tuple(GRIDS)


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One network: its method's settings, and which of the initial weights of its draw.

    Attributes:
        settings: by name.
        start: number of the initial weights; 0 are the teacher's.
    """

    settings: Settings
    start: int = 0


def trials(method: str, draw: int, budget: int | None) -> list[Trial]:
    """Return what is tried for a method on a draw.

    Args:
        method: one of `METHODS`.
        draw: number of the draw.
        budget: so many networks, whatever the method: its grid in a random order, and again with
            new initial weights until they are enough. None: the grid once, as in the paper, so
            that a method with a larger grid has more trials.
    """
    grid = GRIDS[method]
    if budget is None:
        return [Trial(settings=settings) for settings in grid]
    chosen: list[Trial] = []
    while len(chosen) < budget:
        start = len(chosen) // len(grid)
        order = torch.randperm(
            len(grid), generator=seeds.generator("trials", method, draw, start)
        ).tolist()
        chosen += [Trial(settings=grid[place], start=start) for place in order]
    return chosen[:budget]


def targets(
    method: str, settings: Settings, labels: Tensor, teacher: tuple[Tensor, float] | None
) -> Tensor:
    """Return `(N, K)` target distributions.

    Args:
        method: one of `METHODS`.
        settings: of a trial of it.
        labels: `(N,)`, of three classes.
        teacher: its logits `(N, K)` of the same samples, and its temperature fitted on validation
            samples; None for methods without.
    """
    hard = Target.from_labels(labels, 3)
    if method == "hard":
        return hard.dense()
    if method == "self-distillation":
        assert teacher is not None
        said = Target.from_probs((teacher[0] / settings["temperature"]).softmax(-1))
        return hard.mix(said, settings["hard_weight"]).dense()
    logits, fitted = teacher or (None, 1.0)
    smoothed: Target = _policy(method, settings, fitted)(hard, teacher_logits=logits)
    return smoothed.dense()


def _policy(method: str, settings: Settings, fitted: float) -> AbstractSmoothing:
    """The smoothing of a trial; without a setting `max_rate` it is 1, the paper has none."""
    if method == "ls":
        return LabelSmoothing(settings["rate"])
    if method == "class-wise":
        return LabelSmoothing(torch.tensor([settings[f"rate{place}"] for place in range(3)]))
    if method == "ils2":
        rate = settings["rate"]
        return InstanceLabelSmoothing(rate, spread="teacher", temperature=settings["temperature"])
    most = settings.get("max_rate", 1.0)
    quadratic = QuadraticRate(settings["p1"], settings["p2"], max_rate=most, temperature=fitted)
    if method == "ils1":
        return InstanceLabelSmoothing(quadratic)
    return InstanceLabelSmoothing(quadratic, spread="teacher", temperature=settings["temperature"])


def stacked_targets(
    method: str,
    tried: Sequence[Trial],
    labels: Tensor,
    teacher: tuple[Tensor, float] | None,
) -> Tensor:
    """Return `(T, N, K)`: the targets of each trial of one draw."""
    return torch.stack([targets(method, each.settings, labels, teacher) for each in tried])
