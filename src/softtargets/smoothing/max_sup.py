"""Max suppression: the largest logit is held down, right or wrong."""

from typing import Any, final

from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.own_logits import own_logits
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target
from softtargets.terms import Entries, Uniform, no_entries


@final
class MaxSup(AbstractSmoothing):
    r"""Max suppression: label smoothing that holds down the largest logit instead of the label's.

        q    = e_y - weight * e_argmax + weight / K
        loss = CE + weight * (z_max - mean_k z_k)

    Label smoothing is the same with y in place of argmax; where the prediction is wrong it pushes
    the label's logit down and the wrong one up, which this does not. The target sums to 1 and
    has a negative entry where the prediction is wrong. The largest logit is looked up without a
    gradient; masked classes take no part in maximum and mean. Mixed and soft targets keep their
    own entries in place of e_y.

    Args:
        weight: >= 0, or a `Schedule`; 0 is the plain cross-entropy.

    Raises:
        TypeError: the weight is no number, or there are no logits.
        ValueError: the weight is out of range, or the logits' shape does not fit.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0]), 4)
        >>> st.MaxSup(0.2)(target, torch.tensor([[1.0, 3.0, 0.0, 0.0]])).dense()
        tensor([[ 1.0500, -0.1500,  0.0500,  0.0500]])

    References:
        Zhou et al., "MaxSup: Overcoming Representation Collapse in Label Smoothing", 2025.
    """

    def __init__(self, weight: float | Schedule) -> None:
        super().__init__()
        self.weight: float | Schedule = check_scheduled(
            weight, lambda value: checks.check_fraction(value, "weight", 0, float("inf"))
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
        check_not_smoothed(target, "MaxSup")
        logits = own_logits(logits, target, "MaxSup")
        moved = target.mass() * current(self.weight, target.entries.weights)
        top = Entries(logits.argmax(-1, keepdim=True), -moved.unsqueeze(-1))
        none = no_entries(moved)
        down = Target(num_classes=target.num_classes, entries=top)
        even = (Uniform(moved, target.num_classes),)
        up = Target(num_classes=target.num_classes, entries=none, others=even)
        return (target + down + up).smoothed_from(target)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"weight={shown(self.weight)}"
