"""Initial weights that depend on a seed alone."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from softtargets.lab import seeds

Module = TypeVar("Module", bound=nn.Module)


def seeded(make: Callable[[], Module], seed: int) -> Module:
    """Return what `make` returns, its weights drawn by the seed; global generators stay as is.

    Args:
        make: builds a model on the CPU.
        seed: of its initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds.generator("weights", seed).initial_seed())
        return make()
