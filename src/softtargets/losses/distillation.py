"""Knowledge distillation: labels, smoothed or not, and a teacher's distribution."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.engine import LossOptions, example_losses
from softtargets.losses.arguments import class_last
from softtargets.losses.cross_entropy import cross_entropy
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.losses.smoothed import check_smoothing, smoothed_target
from softtargets.losses.teachers import as_teacher
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.schedule import (
    Schedule,
    check_scheduled,
    current,
    shown,
    step_schedules,
)
from softtargets.smoothing.teacher import Lookup, looked_up, looks_up, sound_logits
from softtargets.target import Target


def distillation_loss(
    logits: Tensor,
    target: Tensor | Target,
    teacher_logits: Tensor | Target,
    *,
    temperature: float = 1.0,
    hard_weight: float | Schedule = 0.1,
    smoothing: AbstractSmoothing | float | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    normalizer: Tensor | float | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Return the distillation loss, a share of hard cross-entropy and one of divergence.

        loss = hard_weight CE(q, p(1)) + (1 - hard_weight) T^2 KL(p^t(T) || p(T))

    with `p(T) = softmax(z / T)` of the student, `p^t(T)` of the teacher, q the labels, smoothed by
    `smoothing`. The divergence is 0 where the student equals the teacher; the cross-entropy
    `H(p^t, p)` that papers write has the same gradient and is larger by the teacher's entropy.
    `T^2` keeps the size of the gradient when the temperature changes.

    A teacher trained with label smoothing wants `temperature=1`: a higher one flattens what
    smoothing has flattened already.
    `teacher_smoothing_rate` tells how smooth a teacher is.

    Args:
        logits: the student's, `(N, K)`, `(N, K, d1, ...)` or `(K,)`, any float dtype; half
            precision is computed in float32.
        target: integer labels, probabilities or a `Target`, as for `cross_entropy`. Positions it
            ignores count in neither term.
        teacher_logits: of the logits' shape, taken without gradient, `cache[index]` of a
            `TeacherCache` for instance; or a `Target`, which is p^t(T) as it stands: the top-k of
            a teacher by `Target.from_top_k` or `cache.target(index, temperature)`. Logits are
            handed to the policy too if it has no teacher of its own.
            Classes masked by a student's logit of `-inf` get none of the teacher's mass, the others
            share it; a teacher who has nothing left says nothing, divergence 0.
        temperature: T > 0.
        hard_weight: in [0, 1], or a `Schedule`. A term of weight 0 is left out.
        smoothing: of the labels: a rate in [0, 1], a policy, or None.
        ignore_index: label that is ignored.
        reduction: `"mean"` over the mass of the labels, `"sum"` or `"none"`.
        class_dim: the class dimension of the logits.
        normalizer: replaces the divisor of the mean.
        validate: check values, the teacher's among them; see `LossOptions`.

    Returns:
        A scalar, or `(N, d1, ...)` for `reduction="none"`; float32, float64 for float64 logits.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, a number is out of range, the teacher's logits hold NaN or
            inf, or a teacher that is a `Target` requires a gradient or is no distribution.

    Example:
        >>> import torch, softtargets as st
        >>> logits, teacher = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[3.0, 1.0, 0.0]])
        >>> st.distillation_loss(logits, torch.tensor([0]), teacher, temperature=2.0)
        tensor(0.3221)
        >>> st.distillation_loss(teacher, torch.tensor([0]), teacher, hard_weight=0.0).abs() < 1e-6
        tensor(True)

    References:
        Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
        Mueller et al., "When Does Label Smoothing Help?", 2019, for smoothed teachers.
    """
    return _loss(
        logits,
        target,
        teacher_logits,
        {},
        temperature=checks.check_positive(temperature, "temperature"),
        hard_weight=_checked_share(hard_weight),
        smoothing=smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
        class_dim=class_dim,
        normalizer=normalizer,
        validate=validate,
    )


def _loss(
    logits: Tensor,
    target: Tensor | Target,
    teacher_logits: Tensor | Target,
    context: dict[str, Any],
    *,
    temperature: float,
    hard_weight: float | Schedule,
    smoothing: AbstractSmoothing | float | None,
    ignore_index: int,
    reduction: Reduction,
    class_dim: int,
    normalizer: Tensor | float | None,
    validate: bool | None,
) -> Tensor:
    """Return the loss; `context` is what a policy is told beside logits and teacher."""
    check_reduction(reduction, normalizer, validate)
    check_smoothing(smoothing)
    _check_teacher_type(teacher_logits)
    own = context.get("inputs") is not None or getattr(smoothing, "teacher", None) is not None
    shared = teacher_logits if isinstance(teacher_logits, Tensor) and not own else None
    view, built = smoothed_target(
        logits,
        target,
        smoothing,
        class_dim=class_dim,
        ignore_index=ignore_index,
        validate=validate,
        teacher_logits=shared,
        **context,
    )
    given = built.given
    teacher, entropies = as_teacher(view, teacher_logits, given, temperature, class_dim, validate)
    options, wide = LossOptions(), torch.promote_types(view.dtype, torch.float32)
    living = (view != -torch.inf).any(-1)

    def hard() -> Tensor:
        return example_losses(view, built, options=options).losses

    def divergence() -> Tensor:
        soft = example_losses(view.to(wide) / temperature, teacher, options=options).losses
        return temperature**2 * torch.where(living, soft - entropies.to(soft.dtype), 0)

    losses = _weighted(current(hard_weight, entropies.to(wide)), hard, divergence)
    return reduce(
        losses, given.mass(), living, given.ignored, reduction, normalizer, validate=validate
    )


def _check_teacher_type(teacher_logits: object) -> None:
    if looks_up(teacher_logits):
        raise TypeError(
            "`teacher_logits` must be logits or a `Target`, got a cache of them; give "
            "`cache[index]`, or `DistillationLoss(teacher=cache)` and `index=` at each call"
        )


def _checked_share(hard_weight: float | Schedule) -> float | Schedule:
    return check_scheduled(hard_weight, lambda value: checks.check_fraction(value, "hard_weight"))


def _weighted(
    hard_weight: float | Tensor, hard: Callable[[], Tensor], soft: Callable[[], Tensor]
) -> Tensor:
    """Return `w hard + (1 - w) soft`; a term of weight 0 is left out, infinite or not."""
    if isinstance(hard_weight, Tensor):
        first = torch.where(hard_weight == 0, 0, hard_weight * hard())
        return first + torch.where(hard_weight == 1, 0, (1 - hard_weight) * soft())
    if hard_weight in (0, 1):
        return hard() if hard_weight else soft()
    return hard_weight * hard() + (1 - hard_weight) * soft()


def teacher_smoothing_rate(
    teacher_logits: Tensor, labels: Tensor, *, temperature: float = 1.0, class_dim: int = 1
) -> Tensor:
    r"""Return the mean label smoothing that a teacher's distributions amount to.

        gamma = mean_n sum_k (1 - y_nk) p^t_nk(T) K / (K - 1)

    It is `rate` for a teacher whose rows are labels smoothed uniformly with `rate`, 1 for one that
    says nothing. Against gamma, students of teachers at several temperatures and students of
    smoothed labels can be compared.

    Args:
        teacher_logits: `(N, K)` or `(N, K, d1, ...)`; at ignored positions anything.
        labels: integers `(N, d1, ...)`; -100 is ignored.
        temperature: T > 0.
        class_dim: the class dimension of the logits.

    Returns:
        A scalar in float32, float64 for float64 logits; 0 if every label is ignored.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: shapes do not fit, the logits hold NaN or inf, or there is one class only.

    Example:
        >>> import torch, softtargets as st
        >>> rows = st.Target.from_labels(torch.tensor([0, 2]), 4).smooth(0.3).dense()
        >>> st.teacher_smoothing_rate(rows.log(), torch.tensor([0, 2]))
        tensor(0.3000)

    References:
        Mueller et al., "When Does Label Smoothing Help?", 2019, section 4.
    """
    temperature = checks.check_positive(temperature, "temperature")
    view = class_last(teacher_logits, class_dim, "teacher_logits")
    checks.check_labels_dtype(labels)
    if labels.shape != view.shape[:-1]:
        raise ValueError(
            f"`labels` must have shape {tuple(view.shape[:-1])} for these `teacher_logits`, got "
            f"{tuple(labels.shape)}; check `class_dim`"
        )
    wide = torch.promote_types(view.dtype, torch.float32)
    target = Target.from_labels(labels, view.shape[-1], dtype=wide)
    checks.check_two_classes(target.num_classes, "`teacher_smoothing_rate`")
    used = ~target.ignored()
    scores = torch.where(used.unsqueeze(-1), view.to(wide), 0)
    scores = sound_logits(scores, "`teacher_logits`") / temperature
    moved = target.mass() - target.dot(torch.softmax(scores, -1))
    count = used.sum().clamp(min=1)
    return moved.sum() / count * target.num_classes / (target.num_classes - 1)


@final
class DistillationLoss(nn.Module):
    r"""Distillation as a module; see `distillation_loss`, which has the formula.

    In `.eval()` it reports the NLL of the labels and needs no teacher, so validation losses can be
    compared between methods.

    Args:
        temperature: T > 0; 1 for a teacher trained with label smoothing.
        hard_weight: share of the labels, in [0, 1], or a `Schedule`.
        smoothing: of the labels: a rate in [0, 1], a policy, or None.
        teacher: a `TeacherCache`, asked about `index`: the loss is then called with `index=`, as
            many sample numbers as labels. None where `teacher_logits` are handed over.
        ignore_index: see `distillation_loss`.
        reduction: see `distillation_loss`.
        class_dim: see `distillation_loss`.
        validate: see `distillation_loss`.

    Raises:
        TypeError: neither `teacher_logits` nor, with a cache, `index` is given in training, or
            `teacher` looks nothing up.
        ValueError: an argument is out of range, or `teacher_logits` are given beside a cache.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.DistillationLoss(temperature=2.0, hard_weight=0.1)
        >>> logits, teacher = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[3.0, 1.0, 0.0]])
        >>> criterion(logits, torch.tensor([0]), teacher_logits=teacher)
        tensor(0.3221)
        >>> criterion.eval()(logits, torch.tensor([0]))
        tensor(0.5514)
    """

    def __init__(
        self,
        temperature: float = 1.0,
        hard_weight: float | Schedule = 0.1,
        *,
        smoothing: AbstractSmoothing | float | None = None,
        teacher: Lookup | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.temperature = checks.check_positive(temperature, "temperature")
        self.hard_weight = _checked_share(hard_weight)
        check_smoothing(smoothing)
        check_reduction(reduction, None, validate)
        if teacher is not None and not looks_up(teacher):
            raise TypeError(
                "`teacher` must look logits up as a `TeacherCache` does, got "
                f"{type(teacher).__name__}; run it yourself and give the loss `teacher_logits=`"
            )
        self.smoothing = smoothing
        self.teacher = teacher
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.class_dim = checks.check_integer(class_dim, "class_dim")
        self.validate = validate

    def forward(
        self,
        logits: Tensor,
        target: Tensor | Target,
        *,
        teacher_logits: Tensor | Target | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
        normalizer: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss.

        Args:
            logits: see `distillation_loss`.
            target: see `distillation_loss`.
            teacher_logits: see `distillation_loss`.
            inputs: for a policy with a teacher of its own.
            index: the samples' numbers in the data set, for the cache or a policy that needs them.
            normalizer: see `distillation_loss`.
        """
        if not self.training:
            return cross_entropy(
                logits,
                target.given if isinstance(target, Target) else target,
                ignore_index=self.ignore_index,
                reduction=self.reduction,
                class_dim=self.class_dim,
                normalizer=normalizer,
                options=LossOptions(validate=self.validate),
            )
        return _loss(
            logits,
            target,
            self._teacher_logits(logits, teacher_logits, index),
            {"inputs": inputs, "index": index},
            temperature=self.temperature,
            hard_weight=self.hard_weight,
            smoothing=self.smoothing,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            class_dim=self.class_dim,
            normalizer=normalizer,
            validate=self.validate,
        )

    def _teacher_logits(
        self, logits: Tensor, given: Tensor | Target | None, index: Tensor | None
    ) -> Tensor | Target:
        if given is not None and self.teacher is not None:
            raise ValueError(
                "`teacher_logits` were given beside the cache in `teacher`; pass one of them"
            )
        if self.teacher is not None:
            shape = class_last(logits, self.class_dim).shape
            rows = looked_up(self.teacher, index, shape, "DistillationLoss")
            return rows.movedim(-1, self.class_dim) if rows.dim() > 1 else rows
        if given is None:
            raise TypeError(
                "DistillationLoss needs the teacher on this batch: give `teacher_logits=`, its "
                "logits or a `Target` of its probabilities, or `teacher=` a cache at construction; "
                "`.eval()` needs none"
            )
        return given

    def step(self) -> None:
        """Advance every `Schedule` in this module and its policy by one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return (
            f"temperature={self.temperature:g}, hard_weight={shown(self.hard_weight)}, "
            f"reduction={self.reduction!r}"
        )
