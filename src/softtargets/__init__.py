"""Label smoothing for PyTorch: targets, losses, policies, calibration.

Importing this package loads torch and nothing else heavy; the laboratory and the command line
need the extra `softtargets[lab]`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from softtargets.engine import LossOptions
from softtargets.losses import (
    AbstractPenalty,
    ACLSPenalty,
    BCEWithLogitsLoss,
    ConfidencePenalty,
    CrossEntropyLoss,
    DiceLoss,
    DistillationLoss,
    FocalLoss,
    LinearCrossEntropyLoss,
    LossWithMetrics,
    MarginPenalty,
    SequenceCrossEntropyLoss,
    ZipfPenalty,
    binary_cross_entropy_with_logits,
    cross_entropy,
    cross_entropy_with_metrics,
    dice_loss,
    distillation_loss,
    focal_loss,
    linear_cross_entropy,
    sequence_cross_entropy,
    teacher_smoothing_rate,
    unigram_prior,
)
from softtargets.smoothing import (
    AbstractSmoothing,
    Bootstrapping,
    ClassMatrixSmoothing,
    InstanceLabelSmoothing,
    LabelAwareSmoothing,
    LabelSmoothing,
    MaxSup,
    OnlineLabelSmoothing,
    QuadraticRate,
    Schedule,
    SpatialSmoothing,
    TemporalSmoothing,
)
from softtargets.target import Target

if TYPE_CHECKING:
    from softtargets import calibration, noise
    from softtargets.distillation import TeacherCache
    from softtargets.mixing import Mixed, cutmix, mixup

# What training does not need is imported when it is first asked for.
_LATER = {
    "Mixed": "softtargets.mixing",
    "TeacherCache": "softtargets.distillation",
    "cutmix": "softtargets.mixing",
    "mixup": "softtargets.mixing",
}
_ROOMS = ("calibration", "noise")

__version__ = "0.1.0"

__all__ = [
    "ACLSPenalty",
    "AbstractPenalty",
    "AbstractSmoothing",
    "BCEWithLogitsLoss",
    "Bootstrapping",
    "ClassMatrixSmoothing",
    "ConfidencePenalty",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistillationLoss",
    "FocalLoss",
    "InstanceLabelSmoothing",
    "LabelAwareSmoothing",
    "LabelSmoothing",
    "LinearCrossEntropyLoss",
    "LossOptions",
    "LossWithMetrics",
    "MarginPenalty",
    "MaxSup",
    "Mixed",
    "OnlineLabelSmoothing",
    "QuadraticRate",
    "Schedule",
    "SequenceCrossEntropyLoss",
    "SpatialSmoothing",
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
    "linear_cross_entropy",
    "mixup",
    "noise",
    "sequence_cross_entropy",
    "teacher_smoothing_rate",
    "unigram_prior",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"softtargets.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'softtargets' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
