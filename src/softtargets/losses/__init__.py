"""Losses: a function and a thin module in one file each, with one shared reduction."""

from softtargets.losses.cross_entropy import CrossEntropyLoss, cross_entropy

__all__ = ["CrossEntropyLoss", "cross_entropy"]
