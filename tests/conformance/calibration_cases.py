"""Cases of calibration errors."""

from typing import Any

import torch
from torch import Tensor

from tests.conformance.problem import Case

# 40 answers of two classes: a confidence of exactly 1, right half the time, and one of 0.75,
# right three times in four.
CERTAIN = torch.tensor([[1.0, 0.0]] * 20 + [[0.75, 0.25]] * 20)
CERTAIN_LABELS = torch.tensor([0, 1] * 10 + [0, 0, 0, 1] * 5)
SIZES = (100, 500, 2000)


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
             _binned_error(last.max(-1)[0], last_labels == 0, 10),
             {}, {"a bin of its own for a confidence of 1": 0.05}),
        Case("ECE of logits between 0 and 1", "torchmetrics",
             "Logits that happen to lie in [0, 1] are logits: the softmax is taken, 15 bins.",
             lambda library: library.calibration_error_of_logits(logits, labels, 15),
             _binned_error(sure, said == labels, 15),
             {"taken for probabilities, as documented":
              _binned_error(logits.amax(-1), said == labels, 15)}),
        Case("class-wise ECE", "reference",
             "The mean over classes of the binned |P(k) - frequency of k|, over all samples.",
             lambda library: library.classwise_error(CERTAIN, CERTAIN_LABELS, 10), classwise),
        Case("ECE of a calibrated model", "reference",
             "500 answers of a perfectly calibrated model, mean of 30 draws: below 0.015 once "
             "debiased (the plain one is shown in the case below).",
             lambda library: _calibrated(library.debiased_error, 500), 0.0, tolerance=0.015),
        Case("plain ECE of a calibrated model", "reference",
             "The same, plain, for 100, 500 and 2,000 answers: by its definition well above 0. "
             "Differences smaller than these cannot be read from it.",
             lambda library: [_calibrated(library.calibration_error, n) for n in SIZES],
             [_calibrated(_plain, n) for n in SIZES], tolerance=1e-4),
    ]  # fmt: skip


def _draws(size: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    draws = []
    for _ in range(30):
        probs = torch.softmax(1.5 * torch.randn(size, 4, generator=generator), -1)
        draws.append((probs, torch.multinomial(probs, 1, generator=generator)[:, 0]))
    return draws


def _calibrated(error: Any, size: int) -> float:
    values = [float(error(probs, labels, 15)) for probs, labels in _draws(size)]
    return sum(values) / len(values)


def _plain(probs: Tensor, labels: Tensor, bins: int) -> float:
    top, guess = probs.max(-1)
    return _binned_error(top, guess == labels, bins)
