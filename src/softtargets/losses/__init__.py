"""Losses: a function and a thin module in one file each, with one shared reduction."""

from softtargets.losses.binary import BCEWithLogitsLoss, binary_cross_entropy_with_logits
from softtargets.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from softtargets.losses.dice import DiceLoss, dice_loss
from softtargets.losses.distillation import (
    DistillationLoss,
    distillation_loss,
    teacher_smoothing_rate,
)
from softtargets.losses.linear_cross_entropy import LinearCrossEntropyLoss, linear_cross_entropy
from softtargets.losses.penalties import (
    AbstractPenalty,
    ACLSPenalty,
    ConfidencePenalty,
    MarginPenalty,
    ZipfPenalty,
)

__all__ = [
    "ACLSPenalty",
    "AbstractPenalty",
    "BCEWithLogitsLoss",
    "ConfidencePenalty",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistillationLoss",
    "LinearCrossEntropyLoss",
    "MarginPenalty",
    "ZipfPenalty",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dice_loss",
    "distillation_loss",
    "linear_cross_entropy",
    "teacher_smoothing_rate",
]
