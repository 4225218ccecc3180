"""Schedules: a rate, weight or share that changes as training goes on."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, final, overload

import torch
from torch import Tensor, nn

from softtargets import checks

Curve = Literal["linear", "cosine", "step"]


class _Stepwise(Protocol):
    def __call__(self, values: Sequence[float], milestones: Sequence[int]) -> "Schedule": ...


class _Step:
    """`Schedule.step(values, milestones)` makes a schedule, `schedule.step()` advances one."""

    @overload
    def __get__(self, instance: None, owner: type["Schedule"]) -> _Stepwise: ...

    @overload
    def __get__(self, instance: "Schedule", owner: type["Schedule"]) -> Callable[[], None]: ...

    def __get__(
        self, instance: "Schedule | None", owner: type["Schedule"]
    ) -> _Stepwise | Callable[[], None]:
        return _stepwise if instance is None else instance._advance


@final
class Schedule(nn.Module):
    r"""A number that changes with each `step()`; given where a policy takes a rate or a weight.

        linear    start + (end - start) t                     t = min(count / steps, 1)
        cosine    end + (start - end) (1 + cos(pi t)) / 2
        step      values[i], i = how many milestones are <= count

    Make one with `Schedule.linear(start, end, steps)`, `Schedule.cosine(start, end, steps)` or
    `Schedule.step(values, milestones)`. A policy holds it as a child module: `policy.step()`
    advances every schedule in the policy, its counter is in the `state_dict()` of the policy and
    of the criterion, and what it means by a step (an epoch, a batch) is where you call it.
    `count` is an integer buffer and the value is computed from it on its device: no cast rounds
    it, no GPU waits, and `torch.compile` compiles once for all values. Give each criterion a
    schedule of its own: one that two share is advanced by the `step()` of both.

    Args:
        curve: `"linear"`, `"cosine"` or `"step"`.
        values: start and end, or the values of the steps.
        milestones: the number of steps, or the counts at which the next value begins.

    Attributes:
        value: the number now; reading it makes a GPU wait if the schedule is on one.
        count: 0-dim int64 buffer, how often `step()` was called.

    Raises:
        TypeError: values are no numbers, steps no integers.
        ValueError: values are not finite, steps not positive, milestones not increasing, or their
            number does not fit.

    Example:
        >>> import torch, softtargets as st
        >>> policy = st.LabelSmoothing(st.Schedule.linear(0.0, 0.2, steps=4))
        >>> for epoch in range(3):
        ...     print(f"{policy.rate.value:g}")
        ...     policy.step()
        0
        0.05
        0.1
        >>> two_stage = st.Schedule.step((0.1, 0.0), milestones=(30,))  # TSLA: off after 30 steps

    References:
        Xu et al., "Towards Understanding Label Smoothing", 2020 (TSLA, the two-stage schedule).
    """

    count: Tensor
    step = _Step()

    def __init__(self, curve: Curve, values: Sequence[float], milestones: Sequence[int]) -> None:
        super().__init__()
        if curve not in ("linear", "cosine", "step"):
            raise ValueError(f'`curve` must be "linear", "cosine" or "step", got {curve!r}')
        self.curve = curve
        checks.check_sequence(values, "values")
        checks.check_sequence(milestones, "milestones")
        self.values = tuple(_checked_value(x, f"values[{i}]") for i, x in enumerate(values))
        self.milestones = tuple(
            checks.check_integer(x, f"milestones[{i}]", 1) for i, x in enumerate(milestones)
        )
        if curve != "step" and len(self.values) != 2:
            raise ValueError(
                f"`values` must be start and end for {curve!r}, got {len(self.values)}; pieces are "
                "made by `Schedule.step(values, milestones)`"
            )
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(
                "`values` must be one more than `milestones`, got "
                f"{len(self.values)} and {len(self.milestones)}; the first value holds until the "
                "first milestone"
            )
        if any(b <= a for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise ValueError(f"`milestones` must increase, got {self.milestones}")
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @classmethod
    def linear(cls, start: float, end: float, steps: int) -> "Schedule":
        """Return a straight line from `start` to `end` in `steps` steps, then `end`."""
        return cls._from_to("linear", start, end, steps)

    @classmethod
    def cosine(cls, start: float, end: float, steps: int) -> "Schedule":
        """Return half a cosine from `start` to `end` in `steps` steps, then `end`."""
        return cls._from_to("cosine", start, end, steps)

    @classmethod
    def _from_to(cls, curve: Curve, start: float, end: float, steps: int) -> "Schedule":
        """Check by the names the caller gave: `__init__` has others."""
        values = _checked_value(start, "start"), _checked_value(end, "end")
        return cls(curve, values, (checks.check_integer(steps, "steps", 1),))

    @property
    def value(self) -> float:
        """The number now."""
        return float(self.tensor(torch.device("cpu"), torch.float64))

    def tensor(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the number now as a 0-dim tensor, without waiting for a GPU.

        Args:
            device: of the result.
            dtype: of the result and of the computation.
        """
        count = self.count.to(device, non_blocking=device.type != "cpu")
        if self.curve == "step":
            value = torch.full((), self.values[0], dtype=dtype, device=device)
            for milestone, following in zip(self.milestones, self.values[1:], strict=True):
                value = value.masked_fill(count >= milestone, following)
            return value
        (start, end), (steps,) = self.values, self.milestones
        share = (count.to(dtype) / steps).clamp(max=1)
        if self.curve == "cosine":
            share = (1 - torch.cos(math.pi * share)) / 2
        return torch.lerp(torch.full_like(share, start), torch.full_like(share, end), share)

    @torch.no_grad()
    def _advance(self) -> None:
        """Go on by one step."""
        self.count += 1

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"{self.curve!r}, values={self.values}, milestones={self.milestones}"


def _stepwise(values: Sequence[float], milestones: Sequence[int]) -> Schedule:
    """Return a schedule of constant pieces: `values[i + 1]` begins at count `milestones[i]`."""
    return Schedule("step", values, milestones)


def _checked_value(value: float, name: str) -> float:
    value = checks.check_number(value, name)
    if not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite, got {value}")
    return value


def check_scheduled(
    value: "float | Schedule", check: Callable[[float], float]
) -> "float | Schedule":
    """Return what `check` makes of a number, or a schedule whose values all pass it."""
    if not isinstance(value, Schedule):
        return check(value)
    for reached in value.values:
        check(reached)
    return value


def current(value: "float | Schedule", like: Tensor) -> float | Tensor:
    """Return the number, or what a schedule says now, on the device and in the dtype of `like`."""
    return value.tensor(like.device, like.dtype) if isinstance(value, Schedule) else value


def shown(value: object) -> str:
    """Return a number, schedule or tensor as an argument in a `repr`."""
    if isinstance(value, Schedule):
        return f"<{value.curve} schedule>"
    return f"<{tuple(value.shape)}>" if isinstance(value, Tensor) else f"{value:g}"


def step_schedules(module: nn.Module) -> None:
    """Advance every schedule in a module by one."""
    for each in module.modules():
        if isinstance(each, Schedule):
            each.step()
