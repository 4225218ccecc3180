"""Smoothing policies: `(target, logits, context) -> Target`, one method family per file."""

from typing import TYPE_CHECKING

from softtargets.later import attributes
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.instance import InstanceLabelSmoothing, QuadraticRate
from softtargets.smoothing.online import OnlineLabelSmoothing
from softtargets.smoothing.schedule import Schedule, check_scheduled, current
from softtargets.smoothing.uniform import LabelSmoothing

if TYPE_CHECKING:
    from softtargets.smoothing.backward_correction import BackwardCorrection
    from softtargets.smoothing.bootstrapping import Bootstrapping
    from softtargets.smoothing.class_matrix import ClassMatrixSmoothing
    from softtargets.smoothing.label_aware import LabelAwareSmoothing
    from softtargets.smoothing.max_sup import MaxSup
    from softtargets.smoothing.neighbours import SpatialSmoothing, TemporalSmoothing

# What most training does not need is imported when it is first asked for.
_LATER = {
    "BackwardCorrection": "softtargets.smoothing.backward_correction",
    "Bootstrapping": "softtargets.smoothing.bootstrapping",
    "ClassMatrixSmoothing": "softtargets.smoothing.class_matrix",
    "LabelAwareSmoothing": "softtargets.smoothing.label_aware",
    "MaxSup": "softtargets.smoothing.max_sup",
    "SpatialSmoothing": "softtargets.smoothing.neighbours",
    "TemporalSmoothing": "softtargets.smoothing.neighbours",
}
__getattr__ = attributes(__name__, _LATER)

__all__ = [
    "AbstractSmoothing",
    "BackwardCorrection",
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
    "check_scheduled",
    "current",
]
