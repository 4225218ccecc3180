"""Data sets, held in memory: from names, files and folders, in part, with other labels.

Start with `load`; read inputs through `Split.take`.
"""

from softtargets.lab.data.augment import AUGMENTATIONS, augment
from softtargets.lab.data.corrupt import CORRUPTIONS, SEVERITIES, corrupt, corrupted
from softtargets.lab.data.dataset import DataSet, Scale, Split
from softtargets.lab.data.loading import load
from softtargets.lab.data.source import EMBEDDED, KINDS, Source
from softtargets.lab.data.two_gaussians import (
    two_gaussians,
    two_gaussians_dense,
    two_gaussians_probs,
)

__all__ = [
    "AUGMENTATIONS",
    "CORRUPTIONS",
    "EMBEDDED",
    "KINDS",
    "SEVERITIES",
    "DataSet",
    "Scale",
    "Source",
    "Split",
    "augment",
    "corrupt",
    "corrupted",
    "load",
    "two_gaussians",
    "two_gaussians_dense",
    "two_gaussians_probs",
]
