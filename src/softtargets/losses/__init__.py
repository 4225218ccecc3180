"""Losses: a function and a thin module in one file each, with one shared reduction."""

from softtargets.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from softtargets.losses.linear_cross_entropy import LinearCrossEntropyLoss, linear_cross_entropy

__all__ = [
    "CrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "cross_entropy",
    "linear_cross_entropy",
]
