"""Label noise: injected by a seed, the matrices that describe it, and their estimation."""

from softtargets.noise.bootstrap import TransitionEstimate, bootstrap_transition
from softtargets.noise.drawing import NoisyLabels
from softtargets.noise.estimation import estimate_transition
from softtargets.noise.folds import out_of_fold_probs
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
    "TransitionEstimate",
    "asymmetric",
    "bootstrap_transition",
    "class_matrix",
    "equivalent_smoothing",
    "estimate_transition",
    "instance_dependent",
    "out_of_fold_probs",
    "pair",
    "symmetric",
]
