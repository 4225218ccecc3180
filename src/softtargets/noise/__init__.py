"""Label noise: injected by a seed, so that experiments can say what was flipped; estimated."""

from softtargets.noise.bootstrap import TransitionEstimate, bootstrap_transition
from softtargets.noise.estimation import estimate_transition
from softtargets.noise.folds import out_of_fold_probs
from softtargets.noise.inject import NoisyLabels, symmetric

__all__ = [
    "NoisyLabels",
    "TransitionEstimate",
    "bootstrap_transition",
    "estimate_transition",
    "out_of_fold_probs",
    "symmetric",
]
