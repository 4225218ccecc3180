"""Label smoothing for PyTorch: targets, losses, policies, calibration.

Importing this package loads torch and nothing else heavy; the laboratory and the command line
need the extra `softtargets[lab]`.
"""

from typing import TYPE_CHECKING

from softtargets.engine import LossOptions
from softtargets.later import attributes
from softtargets.losses import (
    AbstractPenalty,
    ACLSPenalty,
    ConfidencePenalty,
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    LossWithMetrics,
    MarginPenalty,
    ZipfPenalty,
    cross_entropy,
    cross_entropy_with_metrics,
    linear_cross_entropy,
)
from softtargets.smoothing import (
    AbstractSmoothing,
    InstanceLabelSmoothing,
    LabelSmoothing,
    OnlineLabelSmoothing,
    QuadraticRate,
    Schedule,
)
from softtargets.target import Target

if TYPE_CHECKING:
    from softtargets import calibration, noise, representation
    from softtargets.distillation import TeacherCache
    from softtargets.losses import (
        BCEWithLogitsLoss,
        DiceLoss,
        DistillationLoss,
        FocalLoss,
        ForwardCorrection,
        GeneralizedCrossEntropyLoss,
        SequenceCrossEntropyLoss,
        SymmetricCrossEntropyLoss,
        binary_cross_entropy_with_logits,
        dice_loss,
        distillation_loss,
        focal_loss,
        generalized_cross_entropy,
        sequence_cross_entropy,
        symmetric_cross_entropy,
        teacher_smoothing_rate,
        unigram_prior,
    )
    from softtargets.mixing import Mixed, cutmix, mixup
    from softtargets.mollification import Mollified, mollify
    from softtargets.smoothing import (
        BackwardCorrection,
        Bootstrapping,
        ClassMatrixSmoothing,
        LabelAwareSmoothing,
        MaxSup,
        SpatialSmoothing,
        TemporalSmoothing,
    )

# What most training does not need is imported when it is first asked for.
_LATER = {
    "BCEWithLogitsLoss": "softtargets.losses.binary",
    "BackwardCorrection": "softtargets.smoothing.backward_correction",
    "Bootstrapping": "softtargets.smoothing.bootstrapping",
    "ClassMatrixSmoothing": "softtargets.smoothing.class_matrix",
    "DiceLoss": "softtargets.losses.dice",
    "DistillationLoss": "softtargets.losses.distillation",
    "FocalLoss": "softtargets.losses.focal",
    "ForwardCorrection": "softtargets.losses.correction",
    "GeneralizedCrossEntropyLoss": "softtargets.losses.generalized",
    "LabelAwareSmoothing": "softtargets.smoothing.label_aware",
    "MaxSup": "softtargets.smoothing.max_sup",
    "Mixed": "softtargets.mixing",
    "Mollified": "softtargets.mollification",
    "SequenceCrossEntropyLoss": "softtargets.losses.sequence",
    "SpatialSmoothing": "softtargets.smoothing.neighbours",
    "SymmetricCrossEntropyLoss": "softtargets.losses.symmetric",
    "TeacherCache": "softtargets.distillation",
    "TemporalSmoothing": "softtargets.smoothing.neighbours",
    "binary_cross_entropy_with_logits": "softtargets.losses.binary",
    "calibration": "softtargets.calibration",
    "cutmix": "softtargets.mixing",
    "dice_loss": "softtargets.losses.dice",
    "distillation_loss": "softtargets.losses.distillation",
    "focal_loss": "softtargets.losses.focal",
    "generalized_cross_entropy": "softtargets.losses.generalized",
    "mixup": "softtargets.mixing",
    "mollify": "softtargets.mollification",
    "noise": "softtargets.noise",
    "representation": "softtargets.representation",
    "sequence_cross_entropy": "softtargets.losses.sequence",
    "symmetric_cross_entropy": "softtargets.losses.symmetric",
    "teacher_smoothing_rate": "softtargets.losses.distillation",
    "unigram_prior": "softtargets.losses.sequence",
}
__getattr__ = attributes(__name__, _LATER)

__version__ = "0.1.0"

__all__ = [
    "ACLSPenalty",
    "AbstractPenalty",
    "AbstractSmoothing",
    "BCEWithLogitsLoss",
    "BackwardCorrection",
    "Bootstrapping",
    "ClassMatrixSmoothing",
    "ConfidencePenalty",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistillationLoss",
    "FocalLoss",
    "ForwardCorrection",
    "GeneralizedCrossEntropyLoss",
    "InstanceLabelSmoothing",
    "LabelAwareSmoothing",
    "LabelSmoothing",
    "LinearCrossEntropyLoss",
    "LossOptions",
    "LossWithMetrics",
    "MarginPenalty",
    "MaxSup",
    "Mixed",
    "Mollified",
    "OnlineLabelSmoothing",
    "QuadraticRate",
    "Schedule",
    "SequenceCrossEntropyLoss",
    "SpatialSmoothing",
    "SymmetricCrossEntropyLoss",
    "Target",
    "TeacherCache",
    "TemporalSmoothing",
    "ZipfPenalty",
    "binary_cross_entropy_with_logits",
    "calibration",
    "cross_entropy",
    "cross_entropy_with_metrics",
    "cutmix",
    "dice_loss",
    "distillation_loss",
    "focal_loss",
    "generalized_cross_entropy",
    "linear_cross_entropy",
    "mixup",
    "mollify",
    "noise",
    "representation",
    "sequence_cross_entropy",
    "symmetric_cross_entropy",
    "teacher_smoothing_rate",
    "unigram_prior",
]


def __dir__() -> list[str]:
    return sorted(__all__)
