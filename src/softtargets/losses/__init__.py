"""Losses: a function and a thin module in one file each, with one shared reduction."""

from softtargets.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from softtargets.losses.linear_cross_entropy import LinearCrossEntropyLoss, linear_cross_entropy
from softtargets.losses.penalties import (
    AbstractPenalty,
    ACLSPenalty,
    ConfidencePenalty,
    MarginPenalty,
    ZipfPenalty,
)

__all__ = [
    "ACLSPenalty",
    "AbstractPenalty",
    "ConfidencePenalty",
    "CrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "MarginPenalty",
    "ZipfPenalty",
    "cross_entropy",
    "linear_cross_entropy",
]
