"""What every smoothing policy is, and how a loss applies one."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from softtargets.target import Target


class AbstractSmoothing(nn.Module, ABC):
    """A policy that turns a target as given into a smoothed one.

    Subclasses implement `forward` and return a `Target` marked with
    `Target.smoothed_from(target)`; they are final.
    """

    @abstractmethod
    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        """Return the smoothed target.

        Args:
            target: not yet smoothed.
            logits: `(*batch, K)`, classes last; what the model just said, for policies that
                learn from it.
            teacher_logits: `(*batch, K)`, classes last.
            inputs: what a teacher module is called with.
            index: `(*batch)` integers, the samples' numbers in the data set.

        Returns:
            Target of the same batch shape, marked as smoothed.
        """


def check_not_smoothed(target: Target, policy: str) -> None:
    """Raise if `target` went through a policy before."""
    if target.smoothed:
        raise ValueError(
            f"`target` is smoothed already and smoothing happens once; hand {policy} the target as "
            "given, or leave `smoothing` at None"
        )


def check_policy_classes(target: Target, num_classes: int) -> None:
    """Raise if a policy made for `num_classes` meets a target of another number."""
    if target.num_classes != num_classes:
        raise ValueError(
            f"`target` must have the policy's num_classes={num_classes}, got {target.num_classes}; "
            "build the policy for this task"
        )


def apply_smoothing(
    smoothing: AbstractSmoothing | float | None, target: Target, logits: Tensor, **context: Any
) -> Target:
    """Return `target` smoothed by a rate or a policy; None leaves it as it is.

    Args:
        smoothing: a rate in [0, 1], a policy, or None.
        target: as given.
        logits: `(*batch, K)`, classes last.
        **context: `teacher_logits`, `inputs`, `index`, passed on to the policy.

    Raises:
        TypeError: `smoothing` is something else, as a weight tensor in first position.
    """
    if smoothing is None:
        return target
    if isinstance(smoothing, AbstractSmoothing):
        smoothed: Target = smoothing(target, logits, **context)
        return smoothed
    check_smoothing_type(smoothing)
    return target.smooth(smoothing)


def check_smoothing_type(smoothing: object) -> None:
    """Raise unless `smoothing` is None, a number or a policy."""
    if smoothing is None or isinstance(smoothing, AbstractSmoothing):
        return
    if isinstance(smoothing, Tensor):
        raise TypeError(
            "`smoothing` must be a rate or a policy, got a tensor; class weights go into "
            "`weight=`, rates per sample into `Target.smooth`"
        )
    if isinstance(smoothing, bool) or not isinstance(smoothing, int | float):
        raise TypeError(
            "`smoothing` must be None, a rate in [0, 1] or a policy such as "
            f"`LabelSmoothing(0.1)`, got {type(smoothing).__name__}"
        )
