"""Cases of derivatives, other heads, online smoothing and calibration."""

import warnings
from typing import Any

import torch
from torch import Tensor

from tests.conformance.loss_cases import LABELS, LOGITS, PLAIN, SMOOTHED, WEIGHT, K
from tests.conformance.problem import IGNORED, Case, Problem, cross_entropies, shares

P = torch.softmax(LOGITS.double(), -1)
DIRECTION = torch.randn(6, K, generator=torch.Generator().manual_seed(3))

# 40 answers of two classes: a confidence of exactly 1, right half the time, and one of 0.75,
# right three times in four.
CERTAIN = torch.tensor([[1.0, 0.0]] * 20 + [[0.75, 0.25]] * 20)
CERTAIN_LABELS = torch.tensor([0, 1] * 10 + [0, 0, 0, 1] * 5)


def derivative_cases() -> list[Case]:
    right = (P - shares(SMOOTHED)) / 6
    along = (P * DIRECTION - P * (P * DIRECTION).sum(-1, keepdim=True)) / 6
    return [
        Case("gradient", "reference", "Rate 0.1: the gradient is (p - q) / N, for whichever target "
             "q the library defines (the sum of its entries' sizes is shown).",
             lambda library: library.gradient(SMOOTHED).abs().sum(), right.abs().sum(),
             {"K-1": ((P - shares(SMOOTHED, spread="K-1")) / 6).abs().sum()}),
        Case("second derivative", "promise 10",
             "The Hessian along a direction, by differentiating twice (its distance is shown).",
             lambda lib: _distance(lib.gradient_along(SMOOTHED, DIRECTION), along), 0.0),
        Case("functional gradient", "promise 10",
             "`torch.func.grad`, or the library's own like (its distance is shown).",
             lambda library: _distance(library.functional_gradient(SMOOTHED), right), 0.0,
             {"K-1": _distance(shares(SMOOTHED) / 6, shares(SMOOTHED, spread="K-1") / 6)}),
    ]  # fmt: skip


def _distance(found: Tensor, right: Tensor) -> Tensor:
    return (found.double() - right).abs().max()


def head_cases() -> list[Case]:
    answers = (torch.rand(6, K, generator=torch.Generator().manual_seed(5)) > 0.5).float()
    return [
        Case("yes-or-no answers, smoothed", "heads",
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
    hard = cross_entropies(problem, problem.one_hot().double())
    others = {}
    if problem.weight is not None:
        mass = WEIGHT[LABELS].sum().double()
        others = {
            "weight per sample": (hard + WEIGHT[LABELS] * push).sum() / mass,
            "the penalty is not weighted": hard.sum() / mass + push.mean(),
        }
        right = losses.sum() / mass
    else:
        right = losses if problem.reduction == "none" else losses.mean()
    return Case(
        name,
        "torch-uncertainty",
        says,
        lambda library: library.max_sup(problem, 0.1),
        right,
        others,
    )


def online_cases() -> list[Case]:
    return [
        Case("online: a class never seen", "promise 8, ankandrew",
             "After an epoch without a sample of class 4 its row is still even: 1/5 each.",
             lambda library: _learned(library).smoothing.matrix[4], [0.2] * K),
        Case("online: a class seen", "promise 8",
             "Row 1 is the mean softmax of the correctly classified samples of class 1.",
             lambda library: _learned(library).smoothing.matrix[1], _row(1)),
        Case("online: bfloat16, images, ignored labels", "promise 8, ankandrew",
             "A step on bfloat16 logits (N, K, H, W) with ignored labels gives a finite loss.",
             _awkward, "finite"),
        Case("online: in mid-epoch", "promise 8",
             "State saved in mid-epoch and loaded elsewhere: the epoch ends with the same matrix.",
             _restored, "the same"),
        Case("online: evaluation", "promise 8",
             "A pass without gradients teaches it nothing: every row is still even.",
             _after_evaluation, [0.2] * K),
    ]  # fmt: skip


ONLINE_LABELS = torch.tensor([0, 1, 2, 3, 1, 1])
ONLINE_LOGITS = LOGITS + 4 * torch.nn.functional.one_hot(ONLINE_LABELS, K)


def _learned(library: Any) -> Any:
    criterion = library.online(K)
    criterion(ONLINE_LOGITS.clone().requires_grad_(), ONLINE_LABELS).backward()
    criterion.smoothing.end_epoch()
    return criterion


def _row(label: int) -> Tensor:
    right = ONLINE_LABELS.eq(label) & ONLINE_LOGITS.argmax(-1).eq(ONLINE_LABELS)
    return torch.softmax(ONLINE_LOGITS.double(), -1)[right].mean(0)


def _awkward(library: Any) -> str:
    logits = torch.randn(2, K, 2, 2, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([[[0, 1], [IGNORED, 2]], [[3, IGNORED], [1, 0]]])
    leaf = logits.bfloat16().requires_grad_()
    loss = library.online(K)(leaf, labels)
    loss.backward()
    finite = bool(loss.isfinite()) and bool(leaf.grad.isfinite().all())
    return "finite" if finite else "not finite"


def _restored(library: Any) -> str:
    first, second = library.online(K), library.online(K)
    first(ONLINE_LOGITS.clone().requires_grad_(), ONLINE_LABELS)
    second.load_state_dict(first.state_dict())
    for criterion in (first, second):
        criterion.smoothing.end_epoch()
    matrices = (first.smoothing.matrix, second.smoothing.matrix)
    return "the same" if torch.equal(*matrices) else "another"


def _after_evaluation(library: Any) -> Tensor:
    criterion = library.online(K)
    with torch.no_grad():
        criterion(ONLINE_LOGITS, ONLINE_LABELS)
    with warnings.catch_warnings():
        # It may say that it has learned nothing.
        warnings.simplefilter("ignore")
        criterion.smoothing.end_epoch()
    return criterion.smoothing.matrix[1]


def _binned_error(confidence: Tensor, right: Tensor, bins: int) -> float:
    """sum_b w_b |accuracy - confidence|, bins (b / bins, (b + 1) / bins]."""
    bins_of = (confidence.double() * bins).ceil().clamp(min=1)
    gaps = [
        abs(float((right.double() - confidence.double())[bins_of == b].sum()))
        for b in range(1, bins + 1)
    ]
    return sum(gaps) / len(right)


def calibration_cases() -> list[Case]:
    top, guess = CERTAIN.max(-1)
    # In the last of 10 bins: 20 samples of confidence 1 and 20 of 0.95, with opposite gaps.
    last = torch.cat([torch.tensor([[1.0, 0.0]] * 20), torch.tensor([[0.95, 0.05]] * 20)])
    last_labels = torch.tensor([0] * 19 + [1] + [0] * 20)
    # Logits that all lie in [0, 1].
    logits = torch.rand(200, 3, generator=torch.Generator().manual_seed(1))
    labels = logits.argmax(-1)
    sure, said = torch.softmax(logits.double(), -1).max(-1)
    classwise = sum(_binned_error(CERTAIN[:, k], CERTAIN_LABELS.eq(k), 10) for k in range(2)) / 2
    return [
        Case("ECE", "reference", "Confidences 1 and 0.75, accuracies 0.5 and 0.75; 10 bins.",
             lambda library: library.calibration_error(CERTAIN, CERTAIN_LABELS, 10),
             _binned_error(top, guess == CERTAIN_LABELS, 10)),
        Case("ECE: a confidence of 1", "torchmetrics",
             "Confidences 1 and 0.95 share the last of 10 bins, (0.9, 1]; their gaps cancel.",
             lambda library: library.calibration_error(last, last_labels, 10),
             _binned_error(last.max(-1)[0], last_labels == 0, 10)),
        Case("ECE of logits between 0 and 1", "torchmetrics",
             "Logits that happen to lie in [0, 1] are logits: the softmax is taken, 15 bins.",
             lambda library: library.calibration_error_of_logits(logits, labels, 15),
             _binned_error(sure, said == labels, 15),
             {"taken for probabilities, as documented":
              _binned_error(logits.amax(-1), said == labels, 15)}),
        Case("class-wise ECE", "calibration",
             "The mean over classes of the binned |P(k) - frequency of k|, over all samples.",
             lambda library: library.classwise_error(CERTAIN, CERTAIN_LABELS, 10), classwise),
        Case("ECE of a calibrated model", "plain 15-bin ECE",
             "500 answers of a perfectly calibrated model, mean of 30 draws: below 0.015 once "
             "debiased (the plain one is shown in the case below).",
             lambda library: _calibrated(library.debiased_error), 0.0, tolerance=0.015),
        Case("plain ECE of a calibrated model", "plain 15-bin ECE",
             "The same draws, plain: by its definition well above 0, about 0.05. Differences "
             "smaller than that cannot be read from it.",
             lambda library: _calibrated(library.calibration_error), _plain(), tolerance=1e-4),
    ]  # fmt: skip


def _draws() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    draws = []
    for _ in range(30):
        probs = torch.softmax(1.5 * torch.randn(500, 4, generator=generator), -1)
        draws.append((probs, torch.multinomial(probs, 1, generator=generator)[:, 0]))
    return draws


def _calibrated(error: Any) -> float:
    values = [float(error(probs, labels, 15)) for probs, labels in _draws()]
    return sum(values) / len(values)


def _plain() -> float:
    values = []
    for probs, labels in _draws():
        top, guess = probs.max(-1)
        values.append(_binned_error(top, guess == labels, 15))
    return sum(values) / len(values)


OTHER_CASES = [*derivative_cases(), *head_cases(), *online_cases(), *calibration_cases()]
