"""Losses: a function and a thin module in one file each, with one shared reduction.

`smoothed_target` and `reduce` are what a head of one's own is made of.
"""

from typing import TYPE_CHECKING

from softtargets.later import attributes
from softtargets.losses.cross_entropy import CrossEntropyLoss, cross_entropy
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
from softtargets.losses.smoothed import smoothed_target

if TYPE_CHECKING:
    from softtargets.losses.binary import BCEWithLogitsLoss, binary_cross_entropy_with_logits
    from softtargets.losses.correction import ForwardCorrection
    from softtargets.losses.dice import DiceLoss, dice_loss
    from softtargets.losses.distillation import (
        DistillationLoss,
        distillation_loss,
        teacher_smoothing_rate,
    )
    from softtargets.losses.focal import FocalLoss, focal_loss
    from softtargets.losses.generalized import (
        GeneralizedCrossEntropyLoss,
        generalized_cross_entropy,
    )
    from softtargets.losses.sequence import (
        SequenceCrossEntropyLoss,
        sequence_cross_entropy,
        unigram_prior,
    )
    from softtargets.losses.symmetric import SymmetricCrossEntropyLoss, symmetric_cross_entropy

# What most training does not need is imported when it is first asked for.
_LATER = {
    "BCEWithLogitsLoss": "softtargets.losses.binary",
    "DiceLoss": "softtargets.losses.dice",
    "DistillationLoss": "softtargets.losses.distillation",
    "FocalLoss": "softtargets.losses.focal",
    "ForwardCorrection": "softtargets.losses.correction",
    "GeneralizedCrossEntropyLoss": "softtargets.losses.generalized",
    "SequenceCrossEntropyLoss": "softtargets.losses.sequence",
    "SymmetricCrossEntropyLoss": "softtargets.losses.symmetric",
    "binary_cross_entropy_with_logits": "softtargets.losses.binary",
    "dice_loss": "softtargets.losses.dice",
    "distillation_loss": "softtargets.losses.distillation",
    "focal_loss": "softtargets.losses.focal",
    "generalized_cross_entropy": "softtargets.losses.generalized",
    "sequence_cross_entropy": "softtargets.losses.sequence",
    "symmetric_cross_entropy": "softtargets.losses.symmetric",
    "teacher_smoothing_rate": "softtargets.losses.distillation",
    "unigram_prior": "softtargets.losses.sequence",
}
__getattr__ = attributes(__name__, _LATER)

__all__ = [
    "ACLSPenalty",
    "AbstractPenalty",
    "BCEWithLogitsLoss",
    "ConfidencePenalty",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistillationLoss",
    "FocalLoss",
    "ForwardCorrection",
    "GeneralizedCrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "LossWithMetrics",
    "MarginPenalty",
    "SequenceCrossEntropyLoss",
    "SymmetricCrossEntropyLoss",
    "ZipfPenalty",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "cross_entropy_with_metrics",
    "dice_loss",
    "distillation_loss",
    "focal_loss",
    "generalized_cross_entropy",
    "linear_cross_entropy",
    "reduce",
    "sequence_cross_entropy",
    "smoothed_target",
    "symmetric_cross_entropy",
    "teacher_smoothing_rate",
    "unigram_prior",
]
