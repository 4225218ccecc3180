"""Losses: a function and a thin module in one file each, with one shared reduction.

`smoothed_target` and `reduce` are what a head of one's own is made of.
"""

from softtargets.losses.binary import BCEWithLogitsLoss, binary_cross_entropy_with_logits
from softtargets.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from softtargets.losses.dice import DiceLoss, dice_loss
from softtargets.losses.distillation import (
    DistillationLoss,
    distillation_loss,
    teacher_smoothing_rate,
)
from softtargets.losses.focal import FocalLoss, focal_loss
from softtargets.losses.linear_cross_entropy import LinearCrossEntropyLoss, linear_cross_entropy
from softtargets.losses.metrics import LossWithMetrics, cross_entropy_with_metrics
from softtargets.losses.penalties import (
    AbstractPenalty,
    ACLSPenalty,
    ConfidencePenalty,
    MarginPenalty,
    ZipfPenalty,
)
from softtargets.losses.reduction import reduce
from softtargets.losses.sequence import (
    SequenceCrossEntropyLoss,
    sequence_cross_entropy,
    unigram_prior,
)
from softtargets.losses.smoothed import smoothed_target

__all__ = [
    "ACLSPenalty",
    "AbstractPenalty",
    "BCEWithLogitsLoss",
    "ConfidencePenalty",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistillationLoss",
    "FocalLoss",
    "LinearCrossEntropyLoss",
    "LossWithMetrics",
    "MarginPenalty",
    "SequenceCrossEntropyLoss",
    "ZipfPenalty",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "cross_entropy_with_metrics",
    "dice_loss",
    "distillation_loss",
    "focal_loss",
    "linear_cross_entropy",
    "reduce",
    "sequence_cross_entropy",
    "smoothed_target",
    "teacher_smoothing_rate",
    "unigram_prior",
]
