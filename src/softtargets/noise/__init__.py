"""Label noise: injected by a seed, so that experiments can say what was flipped."""

from softtargets.noise.inject import NoisyLabels, symmetric

__all__ = ["NoisyLabels", "symmetric"]
