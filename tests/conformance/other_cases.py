"""Cases of derivatives, other losses and instance-based smoothing."""

from typing import Any

import torch
from torch import Tensor

from tests.conformance.loss_cases import LABELS, LOGITS, PLAIN, SMOOTHED, WEIGHT, K
from tests.conformance.problem import (
    K_MINUS_1,
    Case,
    Problem,
    Refused,
    cross_entropies,
    or_refused,
    shares,
)

P = torch.softmax(LOGITS.double(), -1)
DIRECTION = torch.randn(6, K, generator=torch.Generator().manual_seed(3))


def derivative_cases() -> list[Case]:
    right = (P - shares(SMOOTHED)) / 6
    k_minus_1 = (P - shares(SMOOTHED, spread="K-1")) / 6
    along = (P * DIRECTION - P * (P * DIRECTION).sum(-1, keepdim=True)) / 6
    light = "its target sums to 1 - rate / K"
    return [
        Case("gradient", "reference", "Rate 0.1: the gradient is (p - q) / N, for whichever target "
             "q the library defines (the sum of its entries' sizes is shown).",
             lambda library: library.gradient(SMOOTHED).abs().sum(), right.abs().sum(),
             {K_MINUS_1: k_minus_1.abs().sum()}, {light: _light().abs().sum()}),
        Case("second derivative", "promise 10",
             "The Hessian along a direction, by differentiating twice (its distance is shown).",
             lambda lib: _distance(lib.gradient_along(SMOOTHED, DIRECTION), along), 0.0,
             {}, {light: 0.02 * along.abs().max()}),
        Case("functional gradient", "promise 10",
             "`torch.func.grad`, or the library's own like (its distance is shown).",
             lambda library: _distance(library.functional_gradient(SMOOTHED), right), 0.0,
             {K_MINUS_1: _distance(k_minus_1, right)}, {light: _distance(_light(), right)}),
        Case("forward mode", "promise 10",
             "`torch.func.jvp`: the loss's derivative along a direction, or an error.",
             lambda lib: or_refused(lambda: lib.forward_mode(SMOOTHED, DIRECTION)),
             (right * DIRECTION).sum(),
             {K_MINUS_1: (k_minus_1 * DIRECTION).sum(), "refused": Refused},
             {light: (_light() * DIRECTION).sum()}),
        Case("gradient of each sample", "promise 10",
             "`torch.func.vmap` of the gradient (its distance is shown), or an error.",
             lambda lib: or_refused(lambda: _distance(lib.gradient_of_each(SMOOTHED), 6 * right)),
             0.0,
             {K_MINUS_1: 6 * _distance(k_minus_1, right), "refused": Refused},
             {light: 6 * _distance(_light(), right)}),
    ]  # fmt: skip


def _light() -> Tensor:
    """The gradient of a target that sums to 1 - rate / K."""
    rows = shares(SMOOTHED, spread="light")
    return (rows.sum(-1, keepdim=True) * P - rows) / 6


def _distance(found: Tensor, right: Tensor) -> Tensor:
    return (found.double() - right).abs().max()


def head_cases() -> list[Case]:
    answers = (torch.rand(6, K, generator=torch.Generator().manual_seed(5)) > 0.5).float()
    return [
        Case("yes-or-no answers, smoothed", "reference",
             "Binary cross-entropy, rate 0.1: a yes becomes 0.95, a no 0.05.",
             lambda library: library.binary(LOGITS, answers, 0.1), _binary(answers, 0.05),
             {"a yes becomes 0.9, a no 0.1": _binary(answers, 0.1)}),
        Case("Dice of a soft map", "smp, MONAI",
             "Every pixel's target is 0.5. The loss is smallest where the prediction is 0.5 too "
             "(the best prediction of 0.05, 0.10, ... 0.95 is shown).",
             _best_prediction, 0.5),
        _max_sup("MaxSup", PLAIN, "CE + 0.1 (z_max - mean z), mean."),
        _max_sup("MaxSup, unreduced", PLAIN.but(reduction="none"),
                 "The same without a reduction: one value a row, of that row alone."),
        _max_sup("MaxSup with class weights", PLAIN.but(weight=WEIGHT),
                 "The same with class weights: each class's term has its weight."),
    ]  # fmt: skip


def _binary(answers: Tensor, moved: float) -> Tensor:
    q = answers.double() * (1 - 2 * moved) + moved
    z = LOGITS.double()
    return ((1 + z.neg().exp()).log() * q + (1 + z.exp()).log() * (1 - q)).mean()


def _best_prediction(library: Any) -> float:
    grid = [i / 20 for i in range(1, 20)]
    target = torch.full((1, 1, 4, 4), 0.5)
    losses = []
    for p in grid:
        logits = torch.logit(torch.full((1, 1, 4, 4), p))
        losses.append(float(library.dice(logits, target)))
    return grid[losses.index(min(losses))]


def _max_sup(name: str, problem: Problem, says: str) -> Case:
    top = torch.nn.functional.one_hot(LOGITS.argmax(-1), K)
    rows = problem.one_hot().double() - 0.1 * top + 0.1 / K
    losses = cross_entropies(problem, rows)
    push = 0.1 * (LOGITS.double().amax(-1) - LOGITS.double().mean(-1))
    hard = cross_entropies(PLAIN, PLAIN.one_hot().double()).mean()
    right, others, mistakes = losses.mean(), {}, {}
    if problem.reduction == "none":
        right, mistakes = losses, {"the batch's mean cross-entropy in every row": hard + push}
    if problem.weight is not None:
        terms = cross_entropies(problem, problem.one_hot().double())
        mass = WEIGHT[LABELS].sum().double()
        right = losses.sum() / mass
        others = {
            "weight per sample": (terms + WEIGHT[LABELS] * push).sum() / mass,
            "the penalty is not weighted": terms.sum() / mass + push.mean(),
        }
        every = (hard + push).unsqueeze(-1) * WEIGHT
        mistakes = {"every row times every class's weight": every.mean()}
    return Case(name, "torch-uncertainty", says, lambda library: library.max_sup(problem, 0.1),
                right, others, mistakes)  # fmt: skip


# The teacher is sure of the first samples, and wrong about the last two.
TEACHER = 2 * torch.randn(6, K, generator=torch.Generator().manual_seed(9))
TEACHER += 3 * torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 3, 0, 4]), K)
CURVE = (0.9, 0.2)


def instance_cases() -> list[Case]:
    rates = CURVE[1] * (_of_label() - CURVE[0]) ** 2
    return [
        Case("ILS1", "mmaher22",
             "The rate of a sample is 0.2 (p - 0.9)^2, p being the teacher's probability of the "
             "label, and spread evenly over the other classes.",
             lambda lib: lib.instance_based(SMOOTHED, TEACHER, "uniform", CURVE),
             _instance(rates, False)),
        Case("ILS2", "mmaher22",
             "The rate is 0.1, spread over the other classes as the teacher's softmax says.",
             lambda lib: lib.instance_based(SMOOTHED, TEACHER, "teacher", None),
             _instance(torch.full((6,), 0.1), True)),
        Case("ILS", "mmaher22", "The rate of the first and the spread of the second.",
             lambda lib: lib.instance_based(SMOOTHED, TEACHER, "teacher", CURVE),
             _instance(rates, True), {}, {"its target sums to more than 1": _too_much()}),
    ]  # fmt: skip


def _of_label() -> Tensor:
    return torch.softmax(TEACHER.double(), -1)[torch.arange(6), LABELS]


def _too_much() -> Tensor:
    """1 - 0.1 p for the label, and the whole of 0.1 for the others."""
    rows = PLAIN.one_hot().double()
    spread = torch.softmax(TEACHER.double(), -1) * (1 - rows)
    rows = rows * (1 - 0.1 * _of_label()).unsqueeze(-1) + 0.1 * spread / spread.sum(-1, True)
    return cross_entropies(PLAIN, rows).mean()


def _instance(rates: Tensor, as_teacher: bool) -> Tensor:
    rows = PLAIN.one_hot().double()
    spread = (torch.softmax(TEACHER.double(), -1) if as_teacher else torch.ones(6, K)) * (1 - rows)
    rates = rates.double().unsqueeze(-1)
    rows = (1 - rates) * rows + rates * spread / spread.sum(-1, keepdim=True)
    return cross_entropies(PLAIN, rows).mean()
