"""Smoothing policies: `(target, logits, context) -> Target`, one method family per file."""

from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.instance import InstanceLabelSmoothing, QuadraticRate
from softtargets.smoothing.online import OnlineLabelSmoothing
from softtargets.smoothing.uniform import LabelSmoothing

__all__ = [
    "AbstractSmoothing",
    "InstanceLabelSmoothing",
    "LabelSmoothing",
    "OnlineLabelSmoothing",
    "QuadraticRate",
]
