"""Label noise: injected by a seed, so that experiments can say what was flipped."""

from softtargets.noise.drawing import NoisyLabels
from softtargets.noise.inject import asymmetric, class_matrix, pair, symmetric
from softtargets.noise.instance import instance_dependent

__all__ = [
    "NoisyLabels",
    "asymmetric",
    "class_matrix",
    "instance_dependent",
    "pair",
    "symmetric",
]
