"""What every smoothing policy is, and how a loss applies one."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from softtargets import checks
from softtargets.engine import Observer
from softtargets.smoothing.schedule import Schedule, step_schedules
from softtargets.target import Target


class AbstractSmoothing(nn.Module, ABC):
    """A policy that turns a target as given into a smoothed one.

    A method of your own implements `forward`: it takes all of these arguments, uses those it needs,
    and returns a `Target` marked with `Target.smoothed_from(target)`. Targets made by the algebra
    keep ignored positions empty by themselves. `softtargets.testing.check_policy` tries it.

    Example:
        >>> import torch, softtargets as st
        >>> from softtargets import testing
        >>> class Neighbours(st.AbstractSmoothing):
        ...     "A tenth of the target goes to the next class."
        ...
        ...     def forward(
        ...         self, target, logits=None, *, teacher_logits=None, inputs=None, index=None
        ...     ):
        ...         if target.smoothed:
        ...             raise ValueError("`target` is smoothed already")
        ...         shift = torch.eye(target.num_classes, dtype=target.dtype).roll(1, 1)
        ...         return (0.9 * target + 0.1 * target.map_classes(shift)).smoothed_from(target)
        >>> Neighbours()(st.Target.from_labels(torch.tensor([1]), 3)).dense()
        tensor([[0.0000, 0.9000, 0.1000]])
        >>> testing.check_policy(Neighbours, num_classes=5)
    """

    #: Whether a sample's target depends on other positions, so that no part of a batch will do.
    needs_whole_batch: ClassVar[bool] = False

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

    def watching(
        self, target: Target, logits: Tensor, **context: Any
    ) -> tuple[Target, Observer | None]:
        """Return what `forward` does and, from a policy that learns, who learns from the loss.

        The losses call this and show the observer the logits and their softmax, which they compute
        anyway; called by itself, a policy looks at the logits on its own.
        """
        return self(target, logits, **context), None

    def step(self) -> None:
        """Advance every `Schedule` in this policy by one; without any, do nothing.

        Call it once per epoch or per optimizer step, as the schedules were written; in a criterion
        `criterion.step()` does it, for penalties too.
        """
        step_schedules(self)


def check_not_smoothed(target: Target, policy: str) -> None:
    """Raise unless `target` is a `Target` that went through no policy before."""
    checks.check_target_type(target, Target)
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


class Smoothed(NamedTuple):
    """A target, and who wants to see the logits of the loss it goes into."""

    target: Target
    observer: Observer | None


def apply_smoothing(
    smoothing: AbstractSmoothing | float | None, target: Target, logits: Tensor, **context: Any
) -> Target:
    """Return `target` smoothed by a rate or a policy; None leaves it as it is.

    Args:
        smoothing: a rate in [0, 1], a policy, or None.
        target: as given.
        logits: `(*batch, K)`, classes last; a policy that learns looks at them by itself.
        **context: `teacher_logits`, `inputs`, `index`, passed on to the policy.

    Raises:
        TypeError: `smoothing` is something else, as a weight tensor in first position.
    """
    if isinstance(smoothing, AbstractSmoothing):
        return _marked(smoothing, smoothing(target, logits, **context))
    return _by_rate(smoothing, target)


def watch_smoothing(
    smoothing: AbstractSmoothing | float | None, target: Target, logits: Tensor, **context: Any
) -> Smoothed:
    """Return what `apply_smoothing` does, and the observer of a policy that learns."""
    if isinstance(smoothing, AbstractSmoothing):
        smoothed, observer = smoothing.watching(target, logits, **context)
        return Smoothed(_marked(smoothing, smoothed), observer)
    return Smoothed(_by_rate(smoothing, target), None)


def _by_rate(smoothing: float | None, target: Target) -> Target:
    check_smoothing_type(smoothing)
    if smoothing is None:
        return target
    check_not_smoothed(target, "the loss")
    return target.smooth(smoothing)


def _marked(smoothing: AbstractSmoothing, target: object) -> Target:
    if isinstance(target, Target) and target.smoothed:
        return target
    raise TypeError(
        f"{type(smoothing).__name__} must return a `Target` marked as smoothed, got "
        f"{type(target).__name__}; end its `forward` with `.smoothed_from(target)`"
    )


def check_smoothing_type(smoothing: object) -> None:
    """Raise unless `smoothing` is None, a number or a policy."""
    if smoothing is None or isinstance(smoothing, AbstractSmoothing):
        return
    if isinstance(smoothing, Tensor):
        raise TypeError(
            "`smoothing` must be a rate or a policy, got a tensor; class weights go into "
            "`weight=`, rates per sample into `Target.smooth`"
        )
    if isinstance(smoothing, Schedule):
        raise TypeError(
            "`smoothing` must be None, a rate in [0, 1] or a policy, got a Schedule; put it into "
            "one, `LabelSmoothing(schedule)`"
        )
    if not checks.is_number(smoothing):
        raise TypeError(
            "`smoothing` must be None, a rate in [0, 1] or a policy such as "
            f"`LabelSmoothing(0.1)`, got {type(smoothing).__name__}"
        )
