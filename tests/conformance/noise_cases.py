"""Cases of label noise: losses corrected by a transition matrix."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.conformance.loss_cases import INF, LABELS, LOGITS, NAN, PLAIN, K
from tests.conformance.problem import (
    IGNORED,
    Case,
    Problem,
    Refused,
    cross_entropies,
    expected,
    or_refused,
)

# Class i is taken for the next one in three of ten cases, for the one after it in one of ten.
TRANSITION = 0.6 * torch.eye(K) + 0.3 * torch.eye(K).roll(1, 1) + 0.1 * torch.eye(K).roll(2, 1)
FLIPS = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
SURE = Problem(torch.tensor([[60.0, -60.0]]), torch.tensor([1]))
SURER = Problem(torch.tensor([[200.0, -200.0]]), torch.tensor([0]))
FAR = Problem(torch.tensor([[200.0, -200.0]]), torch.tensor([1]))
HALF = PLAIN.but(target=torch.tensor([0, IGNORED, 2, IGNORED, 3, IGNORED]))

_drawn = torch.Generator().manual_seed(6)
ANSWERS = torch.softmax(2 * torch.randn(101, 3, generator=_drawn, dtype=torch.float64), -1)
ANSWERED = torch.multinomial(ANSWERS, 1, generator=_drawn)[:, 0]

NO_MEAN = "a sum: it has no mean"
CLIPPED = "probabilities are clipped at 1e-11"
BELOW = "the logarithm of a probability that is rounded to 0"


def noise_cases() -> list[Case]:
    forward, backward = _forward(PLAIN), _backward(PLAIN)
    sure = {CLIPPED: -torch.tensor(1e-11).log(), BELOW: INF}
    still = {CLIPPED: [0.0, 0.0], BELOW: [NAN, NAN]}
    kept = HALF.but(logits=LOGITS[[0, 2, 4]], target=LABELS[[0, 2, 3]])
    return [
        Case("forward correction", "reference",
             "Labels are mistaken for the next class, or the one after it, with 0.3 and 0.1: the "
             "cross-entropy of the label and the prediction times that matrix.",
             lambda lib: lib.forward_corrected(PLAIN, TRANSITION), forward,
             {NO_MEAN: 6 * forward}),
        Case("backward correction", "reference",
             "The cross-entropies of all classes, weighted with the label's row of the inverse.",
             lambda lib: lib.backward_corrected(PLAIN, TRANSITION), backward,
             {NO_MEAN: 6 * backward}),
        Case("backward correction as documented", "DeepNoise",
             "The same with the matrix in the form that the signature names, lists or a tensor.",
             lambda lib: lib.backward_corrected(PLAIN, lib.as_documented(TRANSITION)), backward,
             {NO_MEAN: 6 * backward}),
        Case("forward correction of a sure mistake", "noisypy",
             "No noise (T = I), logits (60, -60), label 1: the cross-entropy, 120.",
             lambda lib: lib.forward_corrected(SURE, torch.eye(2)), expected(SURE),
             {}, sure),
        Case("forward correction of a sure mistake, gradient", "noisypy",
             "The same: the gradient is (1, -1).",
             lambda lib: _gradient(lib.forward_corrected), [1.0, -1.0], {}, still),
        Case("backward correction of a sure mistake", "noisypy",
             "No noise (T = I), logits (60, -60), label 1: the cross-entropy, 120.",
             lambda lib: lib.backward_corrected(SURE, torch.eye(2)), expected(SURE),
             {}, sure),
        Case("backward correction of a sure mistake, gradient", "noisypy",
             "The same: the gradient is (1, -1).",
             lambda lib: _gradient(lib.backward_corrected), [1.0, -1.0],
             {}, still),
        Case("forward correction, logits of 200", "DeepNoise",
             "No noise (T = I), logits (200, -200), label 1: 400.",
             lambda lib: lib.forward_corrected(FAR, torch.eye(2)), expected(FAR),
             {}, sure),
        Case("backward correction, logits of 200", "DeepNoise",
             "Labels flip with 0.2, logits (200, -200), label 0: 4/3 of its cross-entropy, which "
             "is 0, less 1/3 of the other's, 400.",
             lambda lib: lib.backward_corrected(SURER, FLIPS), _backward(SURER, FLIPS),
             {}, {BELOW: -INF, CLIPPED: torch.tensor(1e-11).log() / 3}),
        Case("corrections of ignored labels", "promise 4, noisypy",
             "Half of the labels ignored: the two means over the others.",
             lambda lib: or_refused(lambda: [correct(HALF, TRANSITION) for correct in
                                             (lib.forward_corrected, lib.backward_corrected)]),
             [_forward(kept), _backward(kept)], {"refused": Refused}),
        Case("anchor points", "reference",
             "Row i of the transition matrix is the answer for the sample with the largest P(i), "
             "of 101 answers about three classes.",
             lambda lib: lib.anchor_transition(ANSWERS, None), ANSWERS[ANSWERS.argmax(0)]),
        Case("anchor points, outliers left out", "noisypy",
             "The same with the sample at the quantile 0.97 of P(i), the 98th of the 101.",
             lambda lib: lib.anchor_transition(ANSWERS, 0.97), ANSWERS[ANSWERS.argsort(0)[97]]),
        Case("confident learning", "reference",
             "The noisy labels of the samples that are confidently of a class, calibrated to how "
             "often each label occurs.",
             lambda lib: lib.confident_transition(ANSWERS, ANSWERED), _confident(),
             {"counts are rounded to whole samples": _confident(rounded=True)}),
    ]  # fmt: skip


def _confident(rounded: bool = False) -> Tensor:
    own = [ANSWERS[k == ANSWERED, k].mean() for k in range(3)]
    joint = torch.zeros(3, 3, dtype=torch.float64)
    for row, label in zip(ANSWERS, ANSWERED, strict=True):
        sure = [k for k in range(3) if row[k] >= own[k]]
        if sure:
            joint[label, max(sure, key=lambda k: row[k])] += 1
    joint = joint / joint.sum(-1, keepdim=True) * ANSWERED.bincount().unsqueeze(-1)
    joint = joint.round() if rounded else joint
    return (joint / joint.sum(0)).T


def _forward(problem: Problem) -> Tensor:
    noisy = torch.softmax(problem.logits.double(), -1) @ TRANSITION.double()
    return -(problem.one_hot() * noisy.log()).sum(-1).mean()


def _backward(problem: Problem, transition: Tensor = TRANSITION) -> Tensor:
    rows = problem.one_hot().double() @ torch.linalg.inv(transition.double())
    return cross_entropies(problem, rows).mean()


def _gradient(corrected: Callable[[Problem, Any], Tensor]) -> Tensor:
    leaf = SURE.logits.clone().requires_grad_()
    return torch.autograd.grad(corrected(SURE.but(logits=leaf), torch.eye(2)), leaf)[0]
