"""What the layer before the last has learnt: its geometry, what it says, what else it is good for.

All functions read tensors that someone collected and change nothing; results are float64.
"""

from softtargets.representation.information import logit_mutual_information
from softtargets.representation.probe import LinearProbe, linear_probe
from softtargets.representation.projection import PenultimateProjection, penultimate_projection
from softtargets.representation.separation import ClassSeparation, class_separation

__all__ = [
    "ClassSeparation",
    "LinearProbe",
    "PenultimateProjection",
    "class_separation",
    "linear_probe",
    "logit_mutual_information",
    "penultimate_projection",
]
