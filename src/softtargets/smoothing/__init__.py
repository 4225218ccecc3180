"""Smoothing policies: `(target, logits, context) -> Target`, one method family per file."""

from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.bootstrapping import Bootstrapping
from softtargets.smoothing.class_matrix import ClassMatrixSmoothing
from softtargets.smoothing.instance import InstanceLabelSmoothing, QuadraticRate
from softtargets.smoothing.label_aware import LabelAwareSmoothing
from softtargets.smoothing.max_sup import MaxSup
from softtargets.smoothing.neighbours import SpatialSmoothing, TemporalSmoothing
from softtargets.smoothing.online import OnlineLabelSmoothing
from softtargets.smoothing.schedule import Schedule
from softtargets.smoothing.uniform import LabelSmoothing

__all__ = [
    "AbstractSmoothing",
    "Bootstrapping",
    "ClassMatrixSmoothing",
    "InstanceLabelSmoothing",
    "LabelAwareSmoothing",
    "LabelSmoothing",
    "MaxSup",
    "OnlineLabelSmoothing",
    "QuadraticRate",
    "Schedule",
    "SpatialSmoothing",
    "TemporalSmoothing",
]
