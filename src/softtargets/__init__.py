"""Label smoothing for PyTorch: targets, losses, policies, calibration.

Importing this package loads torch and nothing else heavy; the laboratory and the command line
need the extra `softtargets[lab]`.
"""

from softtargets import calibration, noise
from softtargets.engine import LossOptions
from softtargets.losses import (
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    cross_entropy,
    linear_cross_entropy,
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

__version__ = "0.1.0"

__all__ = [
    "AbstractSmoothing",
    "Bootstrapping",
    "ClassMatrixSmoothing",
    "CrossEntropyLoss",
    "InstanceLabelSmoothing",
    "LabelAwareSmoothing",
    "LabelSmoothing",
    "LinearCrossEntropyLoss",
    "LossOptions",
    "MaxSup",
    "OnlineLabelSmoothing",
    "QuadraticRate",
    "Schedule",
    "SpatialSmoothing",
    "Target",
    "TemporalSmoothing",
    "calibration",
    "cross_entropy",
    "linear_cross_entropy",
    "noise",
]
