"""Models by name, each with a last layer that can be told apart.

Start with `build`.
"""

from softtargets.lab.models.mlp import MLP, seeded_mlp
from softtargets.lab.models.penultimate import penultimate
from softtargets.lab.models.registry import MODELS, TEXT_MODELS, build

__all__ = ["MLP", "MODELS", "TEXT_MODELS", "build", "penultimate", "seeded_mlp"]
