"""Label noise: injected by a seed, and the transition matrices that describe it."""

from softtargets.noise.drawing import NoisyLabels
from softtargets.noise.inject import asymmetric, class_matrix, pair, symmetric
from softtargets.noise.instance import instance_dependent
from softtargets.transition import (
    AbstractTransition,
    DenseTransition,
    PairTransition,
    SymmetricTransition,
    equivalent_smoothing,
)

__all__ = [
    "AbstractTransition",
    "DenseTransition",
    "NoisyLabels",
    "PairTransition",
    "SymmetricTransition",
    "asymmetric",
    "class_matrix",
    "equivalent_smoothing",
    "instance_dependent",
    "pair",
    "symmetric",
]
