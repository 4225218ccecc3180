"""Label noise: injected by a seed, so that experiments can say what was flipped."""

from softtargets.noise.inject import NoisyLabels, symmetric
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
    "equivalent_smoothing",
    "symmetric",
]
