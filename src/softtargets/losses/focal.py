"""Focal loss, the baseline that calibration papers compare with."""

from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.losses.arguments import check_weight
from softtargets.losses.probabilities import log_probs
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.losses.smoothed import check_smoothing, smoothed_target
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.schedule import step_schedules
from softtargets.target import Target

Gamma = float | Literal["flsd-53"]


def focal_loss(
    logits: Tensor,
    target: Tensor | Target,
    *,
    gamma: Gamma = 3.0,
    smoothing: AbstractSmoothing | float | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    normalizer: Tensor | float | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Return the focal loss against any target.

        loss_n = -sum_k w_k q_nk (1 - p_nk)^gamma log p_nk        p = softmax(z)

    For a label it is `-(1 - p_y)^gamma log p_y`; with `gamma=0` it is `cross_entropy`. Against a
    soft target it is not minimal at p = q, unlike the cross-entropy.

    Args:
        logits: `(N, K)`, `(N, K, d1, ...)` or `(K,)`, any float dtype; half precision is computed
            in float32. Classes of logit `-inf` take no part.
        target: integer labels, probabilities or a `Target`, as for `cross_entropy`.
        gamma: >= 0; or `"flsd-53"`, per class and without gradient 5 where its probability is
            below 0.2, else 3.
        smoothing: a rate in [0, 1], a policy, or None.
        weight: `(K,)` class weights.
        ignore_index: label that is ignored.
        reduction: `"mean"` over the weighted mass of the target before smoothing, `"sum"` or
            `"none"`.
        class_dim: the class dimension of the logits.
        normalizer: replaces the divisor of the mean.
        validate: check values, see `LossOptions`.

    Returns:
        A scalar, or `(N, d1, ...)` for `reduction="none"`; float32, float64 for float64 logits.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, or a number is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
        >>> st.focal_loss(logits, labels, gamma=0.0)
        tensor(0.2395)
        >>> st.focal_loss(logits, labels)
        tensor(0.0023)

    References:
        Lin et al., "Focal Loss for Dense Object Detection", 2017. Mukhoti et al., "Calibrating Deep
        Neural Networks using Focal Loss", 2020, for gamma = 3 and FLSD-53.
    """
    check_reduction(reduction, normalizer, validate)
    gamma = _check_gamma(gamma)
    check_smoothing(smoothing)
    view, built = smoothed_target(
        logits,
        target,
        smoothing,
        class_dim=class_dim,
        ignore_index=ignore_index,
        validate=validate,
    )
    check_weight(weight, view.shape[-1])
    given, found = built.given, log_probs(view, built)
    if weight is not None:
        weight = weight.to(found.values)
    # A factor of 1 for log 0 = -inf; beside no mass the target does not read it.
    values = _factor(found.values, gamma) * found.values
    losses = -built.dot(values.masked_fill(found.dead, -torch.inf), weight, ~found.dead)
    losses = torch.where(found.counted, losses, 0).to(found.values.dtype)
    shares, living = given.mass(weight), found.living
    return reduce(
        losses,
        shares,
        living,
        given.ignored,
        reduction,
        normalizer,
        validate=validate,
        weight=weight,
    )


def _factor(logs: Tensor, gamma: Gamma) -> Tensor:
    """Return (1 - p)^gamma; where p rounds to 1 its slope is that of the smallest number."""
    rest = -torch.expm1(logs)
    if gamma == "flsd-53":
        power = torch.where(logs.detach().exp() < 0.2, 5.0, 3.0)
        return rest.pow(power)
    assert not isinstance(gamma, str)
    return rest.clamp(min=torch.finfo(rest.dtype).tiny).pow(gamma)


def _check_gamma(gamma: Gamma) -> Gamma:
    if isinstance(gamma, str):
        if gamma != "flsd-53":
            raise ValueError(f'`gamma` must be a number or "flsd-53", got {gamma!r}')
        return gamma
    return checks.check_fraction(gamma, "gamma", 0.0, float("inf"))


@final
class FocalLoss(nn.Module):
    r"""Focal loss as a module; see `focal_loss`, which has the formula.

    In `.eval()` smoothing and gamma are off: it reports the NLL (class weights stay), so validation
    losses can be compared between methods.

    Args:
        gamma: see `focal_loss`.
        smoothing: a rate in [0, 1], a policy, or None.
        weight: `(K,)` class weights.
        ignore_index: see `focal_loss`.
        reduction: see `focal_loss`.
        class_dim: see `focal_loss`.
        validate: see `focal_loss`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.FocalLoss(gamma=3)
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
        >>> criterion(logits, labels)
        tensor(0.0023)
        >>> criterion.eval()(logits, labels)
        tensor(0.2395)
    """

    weight: Tensor | None

    def __init__(
        self,
        gamma: Gamma = 3.0,
        *,
        smoothing: AbstractSmoothing | float | None = None,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.gamma = _check_gamma(gamma)
        check_smoothing(smoothing)
        check_reduction(reduction, None, validate)
        check_weight(weight)
        self.smoothing = smoothing
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.class_dim = checks.check_integer(class_dim, "class_dim")
        self.validate = validate

    def forward(
        self,
        logits: Tensor,
        target: Tensor | Target,
        *,
        inputs: Any = None,
        teacher_logits: Tensor | None = None,
        index: Tensor | None = None,
        normalizer: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss.

        Args:
            logits: see `focal_loss`.
            target: see `focal_loss`.
            inputs: for a policy with a teacher of its own.
            teacher_logits: for a policy that needs them, of the logits' layout.
            index: for a policy that needs it.
            normalizer: see `focal_loss`.
        """
        view, built = smoothed_target(
            logits,
            target,
            self.smoothing,
            class_dim=self.class_dim,
            ignore_index=self.ignore_index,
            training=self.training,
            validate=self.validate,
            inputs=inputs,
            teacher_logits=teacher_logits,
            index=index,
        )
        return focal_loss(
            view,
            built,
            gamma=self.gamma if self.training else 0.0,
            weight=self.weight,
            reduction=self.reduction,
            class_dim=-1,
            normalizer=normalizer,
            validate=self.validate,
        )

    def step(self) -> None:
        """Advance every `Schedule` in this module and its policy by one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"gamma={self.gamma}, reduction={self.reduction!r}"
