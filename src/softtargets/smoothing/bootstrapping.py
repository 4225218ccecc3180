"""Bootstrapping: part of the target is what the model says itself."""

from typing import Any, final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.own_logits import own_logits
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target
from softtargets.terms import AbstractTerm, DenseRows, Entries, no_entries


@final
class Bootstrapping(AbstractSmoothing):
    r"""Bootstrapping for noisy labels: the model's own prediction has a part in the target.

        soft    q = beta * e_y + (1 - beta) * softmax(z)       taken without a gradient
        hard    q = beta * e_y + (1 - beta) * e_argmax(z)

    Mixed and soft targets keep their own entries in place of e_y. The soft form writes out one
    row of K numbers per sample; the hard form one class.

    Args:
        beta: the share that stays with the label, in [0, 1], or a `Schedule`; None for the
            paper's 0.95 (soft) or 0.8 (hard).
        hard: the predicted class in place of the predicted distribution.

    Raises:
        TypeError: beta is no number, or there are no logits.
        ValueError: beta is out of range, or the logits' shape does not fit.

    Example:
        >>> import torch, softtargets as st
        >>> target, logits = st.Target.from_labels(torch.tensor([0]), 2), torch.tensor([[0.0, 1.0]])
        >>> st.Bootstrapping()(target, logits).dense()
        tensor([[0.9634, 0.0366]])
        >>> st.Bootstrapping(hard=True)(target, logits).dense()
        tensor([[0.8000, 0.2000]])

    References:
        Reed et al., "Training Deep Neural Networks on Noisy Labels with Bootstrapping", 2014.
    """

    def __init__(self, beta: float | Schedule | None = None, hard: bool = False) -> None:
        super().__init__()
        self.hard = checks.check_bool(hard, "hard")
        if beta is None:
            beta = 0.8 if hard else 0.95
        self.beta: float | Schedule = check_scheduled(
            beta, lambda value: checks.check_fraction(value, "beta")
        )

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "Bootstrapping")
        logits = own_logits(logits, target, "Bootstrapping")
        mass = target.mass()
        beta = current(self.beta, target.entries.weights)
        others: tuple[AbstractTerm, ...] = ()
        if self.hard:
            entries = Entries(logits.argmax(-1, keepdim=True), mass.unsqueeze(-1))
        else:
            entries = no_entries(mass)
            others = (DenseRows(_probs(logits, target), mass),)
        said = Target(num_classes=target.num_classes, entries=entries, others=others)
        return target.mix(said, beta).smoothed_from(target)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"beta={shown(self.beta)}, hard={self.hard}"


def _probs(logits: Tensor, target: Target) -> Tensor:
    """Softmax rows, zeros where a position is ignored or no class is alive."""
    counted = (~target.ignored() & (logits != -torch.inf).any(-1)).unsqueeze(-1)
    probs = torch.softmax(torch.where(counted, logits, 0).to(target.dtype), -1)
    return torch.where(counted, probs, 0)
