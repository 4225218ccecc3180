"""Predicted probabilities, as losses need them that are not linear in their logarithms."""

from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.engine import ExampleLosses, LossOptions, example_losses
from softtargets.target import Target
from softtargets.terms import Entries


class LogProbs(NamedTuple):
    """`log softmax` of class-last logits.

    Attributes:
        values: `(*batch, K)` in float32 or wider, 0 for dead classes.
        dead: `(*batch, K)` bool, classes of logit `-inf` in rows that count.
        counted: `(*batch)` bool, rows with a living class and a target that is not all zero.
        living: `(*batch)` bool, rows with a living class.
    """

    values: Tensor
    dead: Tensor
    counted: Tensor
    living: Tensor


def log_probs(logits: Tensor, target: Target) -> LogProbs:
    """Return the logarithms of all probabilities, in operations that can be differentiated.

    Args:
        logits: `(*batch, K)`, classes last.
        target: of the same batch shape; says which rows count.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    alive = wide != -torch.inf
    living = alive.any(-1)
    counted = living & ~target.ignored()
    dead = ~alive & counted.unsqueeze(-1)
    # Rows that do not count may hold anything; zeros keep NaN out of their gradient.
    values = torch.log_softmax(torch.where(counted.unsqueeze(-1), wide, 0), -1)
    return LogProbs(values.masked_fill(dead, 0), dead, counted, living)


def label_losses(logits: Tensor, target: Target) -> ExampleLosses | None:
    """Return `-log p_y` where each target has one class y, in the engine; None where it has more.

    Args:
        logits: `(*batch, K)`, classes last.
        target: of the same batch shape; rows that do not count have the loss 0.
    """
    if target.others or target.entries.classes.shape[-1] != 1:
        return None
    ones = (~target.ignored()).to(target.dtype).unsqueeze(-1)
    labels = Target(num_classes=target.num_classes, entries=Entries(target.entries.classes, ones))
    return example_losses(logits, labels, options=LossOptions())


def one_minus_exp(exponent: Tensor) -> Tensor:
    """Return `1 - exp(x)` for x <= 0: the value is exact near 0, the slope far from it.

    The slope that autograd takes of `expm1` is `expm1(x) + 1`, which rounds to 0 too soon.
    """
    return torch.where(exponent > -0.5, -torch.expm1(exponent), 1 - exponent.exp())
