"""Backward correction of label noise: the target that is right in expectation."""

import warnings
from dataclasses import replace
from typing import Any, final

from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed, check_policy_classes
from softtargets.smoothing.per_class import rows_in
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target
from softtargets.transition import AbstractTransition, as_transition


@final
class BackwardCorrection(AbstractSmoothing):
    r"""Backward correction: targets whose mean over the noise is the clean target.

        q = (1 - strength) g + strength * g inverse(T)          g = the target as given
        E[loss(noisy label) | clean label] = loss(clean label)  at strength 1

    For symmetric noise T = (1 - a) I + (a / K) 1 1' it is generalised label smoothing at the rate
    -a / (1 - a), without a table. Entries of q are negative, so the loss has no lower bound: start
    from ordinary cross-entropy by a schedule of the strength, stop early, or use
    `ForwardCorrection`. It can be given as `correction=`, beside a smoothing policy, which is then
    applied after it, or as `smoothing=`. Under masked classes the rows of the inverse are
    renormalised over the living ones, as those of any table are, and the mean over the noise is no
    longer exact.

    Args:
        transition: `(K, K)` tensor, T[i, j] = P(noisy j | clean i), taken without a gradient, or a
            transition such as `noise.SymmetricTransition`.
        strength: how much of the correction is applied, in [0, 1], or a `Schedule`, as
            `Schedule.linear(0.0, 1.0, steps)` for a warm-up.
        allow_negative: do without the warning about the missing lower bound.

    Attributes:
        table: `(K, K)` buffer, the inverse of T; None for symmetric noise.

    Warns:
        UserWarning: a constant strength without `allow_negative`; a T that is nearly singular.

    Raises:
        TypeError: `transition` is neither tensor nor transition.
        ValueError: T is singular or no transition matrix, or the strength is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> noise = st.noise.SymmetricTransition(0.2, 4)
        >>> correction = st.BackwardCorrection(noise, allow_negative=True)
        >>> correction(st.Target.from_labels(torch.tensor([0]), 4)).dense()
        tensor([[ 1.2727, -0.0909, -0.0909, -0.0909]])
        >>> criterion = st.CrossEntropyLoss(correction=correction)

    References:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", 2017, theorem 1. Lukasik et al., 2020, section 3.
    """

    table: Tensor | None

    def __init__(
        self,
        transition: AbstractTransition | Tensor,
        strength: float | Schedule = 1.0,
        *,
        allow_negative: bool = False,
    ) -> None:
        super().__init__()
        transition = as_transition(transition)
        self.strength: float | Schedule = check_scheduled(
            strength, lambda value: checks.check_fraction(value, "strength")
        )
        self.num_classes, share = transition.num_classes, transition.uniform_rate
        noisy = transition.check_invertible() > 1 + 1e-9
        if noisy and not (allow_negative or isinstance(strength, Schedule) or strength == 0):
            warnings.warn(
                "the loss of BackwardCorrection has no lower bound and falls without end on "
                "memorised samples; warm up with `strength=Schedule.linear(0.0, 1.0, steps)`, or "
                "pass `allow_negative=True` if that is what you want",
                stacklevel=2,
            )
        self.uniform_rate = None if share is None else -share / (1 - share)
        table = None
        if share is None:
            inverse = transition.inverted()
            table = inverse if transition.table is None else inverse.to(transition.table.dtype)
        self.register_buffer("table", table)

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "BackwardCorrection")
        check_policy_classes(target, self.num_classes)
        strength = current(self.strength, target.entries.weights)
        if self.uniform_rate is not None:
            return target.blend(strength * self.uniform_rate)
        assert self.table is not None
        return target.blend(strength, rows_in(self.table, target.dtype))

    def undone(self, target: Target) -> Target:
        """Return the corrected target as one that may still be smoothed."""
        return replace(self.forward(target), smoothed=False, origin=None)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        rate = "" if self.uniform_rate is None else f", smoothing rate {self.uniform_rate:g}"
        return f"num_classes={self.num_classes}, strength={shown(self.strength)}{rate}"
