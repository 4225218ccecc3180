"""Symmetric cross-entropy, a baseline for noisy labels: cross-entropy and its reverse."""

import math
from typing import Any, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.engine import LossOptions, example_losses
from softtargets.losses.arguments import check_weight
from softtargets.losses.cross_entropy import cross_entropy
from softtargets.losses.probabilities import label_losses, log_probs, one_minus_exp
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.losses.smoothed import check_smoothing, smoothed_target
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.schedule import step_schedules
from softtargets.target import Target


def symmetric_cross_entropy(
    logits: Tensor,
    target: Tensor | Target,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    floor: float = 1e-4,
    smoothing: AbstractSmoothing | float | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    normalizer: Tensor | float | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Return the symmetric cross-entropy against any target.

        loss_n = alpha CE(t_n, p_n) + beta RCE(t_n, p_n)        p = softmax(z), t the target
        RCE    = -sum_k p_k log max(t_k, floor)

    For a label the reverse cross-entropy is `-log(floor) (1 - p_y)`: bounded, so that wrong labels
    cannot pull without limit, while the cross-entropy keeps hard classes learning. With `beta=0` it
    is `alpha` times `cross_entropy`.

    The paper writes `log 0 := A` with a negative A, here `log(floor)`; its authors' script clips
    targets at 1e-4, A = -9.21, and takes (alpha, beta) = (0.1, 1), our default, for CIFAR-10, (6,
    0.1) for CIFAR-100 and (0.01, 1) for MNIST, all at 40 % noise.

    A class weight scales the reverse term of a whole sample, as that of its label; a soft target
    takes the mean of its weights before smoothing. A target of mass m has m times the loss of
    the same target divided by m.

    Args:
        logits: `(N, K)`, `(N, K, d1, ...)` or `(K,)`, any float dtype; half precision is computed
            in float32. Classes of logit `-inf` take no part.
        target: integer labels, probabilities or a `Target`, as for `cross_entropy`.
        alpha: weight of the cross-entropy, >= 0. A term of weight 0 is left out.
        beta: weight of the reverse cross-entropy, >= 0; not 0 with `alpha=0`.
        floor: in (0, 1], the least that the logarithm sees of an entry of the target.
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
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([1])
        >>> st.symmetric_cross_entropy(logits, labels)
        tensor(8.4533)
        >>> st.symmetric_cross_entropy(logits, labels, alpha=1.0, beta=0.0)
        tensor(2.2395)

    References:
        Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", 2019.
    """
    check_reduction(reduction, normalizer, validate)
    alpha, beta, floor = _check_numbers(alpha, beta, floor)
    check_smoothing(smoothing)
    view, built = smoothed_target(
        logits,
        target,
        smoothing,
        class_dim=class_dim,
        ignore_index=ignore_index,
        validate=validate,
    )
    if beta == 0:
        return alpha * cross_entropy(
            view,
            built,
            weight=weight,
            reduction=reduction,
            class_dim=-1,
            normalizer=normalizer,
            options=LossOptions(validate=validate),
        )
    check_weight(weight, view.shape[-1])
    if weight is not None:
        weight = weight.to(view.device, torch.promote_types(view.dtype, torch.float32))
    given = built.given
    shares = given.mass(weight)
    plain, reverse, living = _both_losses(view, built, weight, floor, with_plain=alpha != 0)
    losses = beta * shares * reverse
    if plain is not None:
        losses = losses + alpha * plain
    losses = torch.where(living & ~built.ignored(), losses, 0).to(reverse.dtype)
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


def _both_losses(
    logits: Tensor, target: Target, weight: Tensor | None, floor: float, *, with_plain: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return CE with class weights, RCE without, and which rows have a living class."""
    given = target.given.mass()
    scale = torch.where(given == 0, 1, given)
    labels = label_losses(logits, target)
    if labels is not None:
        own = _log(target.mass() / scale, floor).to(labels.losses.dtype)
        falls = one_minus_exp(-labels.losses)
        reverse = -math.log(floor) * falls - own * (-labels.losses).exp()
        mass = target.mass(weight)
        # Weight 0 outweighs the infinite loss of a masked label.
        plain = mass * labels.losses.masked_fill((mass == 0) & labels.losses.isinf(), 0)
        return plain if with_plain else None, reverse, labels.logsumexp != -torch.inf
    found = log_probs(logits, target)
    probs = found.values.exp().masked_fill(found.dead, 0)
    logs = _log(target.dense(~found.dead) / scale.unsqueeze(-1), floor)
    reverse = -(probs * logs).sum(-1).to(probs.dtype)
    if not with_plain:
        return None, reverse, found.living
    plain = example_losses(logits, target, weight=weight, options=LossOptions()).losses
    return plain, reverse, found.living


def _log(values: Tensor, floor: float) -> Tensor:
    """Return `log max(t, floor)` also for a floor that the dtype of t cannot hold."""
    above = values > floor
    return torch.where(above, torch.where(above, values, 1).log(), math.log(floor))


def _check_numbers(alpha: float, beta: float, floor: float) -> tuple[float, float, float]:
    alpha = checks.check_fraction(alpha, "alpha", 0.0, float("inf"))
    beta = checks.check_fraction(beta, "beta", 0.0, float("inf"))
    if alpha == beta == 0:
        raise ValueError("`alpha` and `beta` must not both be 0, the loss would be 0; for the "
                         "cross-entropy alone pass `alpha=1, beta=0`")  # fmt: skip
    return alpha, beta, checks.check_fraction(checks.check_positive(floor, "floor"), "floor")


@final
class SymmetricCrossEntropyLoss(nn.Module):
    r"""Symmetric cross-entropy as a module; see `symmetric_cross_entropy` for the formula.

    In `.eval()` smoothing and the reverse term are off and alpha is 1: it reports the NLL (class
    weights stay), so validation losses can be compared between methods.

    Args:
        alpha: see `symmetric_cross_entropy`.
        beta: see `symmetric_cross_entropy`.
        floor: see `symmetric_cross_entropy`.
        smoothing: a rate in [0, 1], a policy, or None.
        weight: `(K,)` class weights.
        ignore_index: see `symmetric_cross_entropy`.
        reduction: see `symmetric_cross_entropy`.
        class_dim: see `symmetric_cross_entropy`.
        validate: see `symmetric_cross_entropy`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.SymmetricCrossEntropyLoss(alpha=0.1, beta=1.0)
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([1])
        >>> criterion(logits, labels)
        tensor(8.4533)
        >>> criterion.eval()(logits, labels)
        tensor(2.2395)
    """

    weight: Tensor | None

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 1.0,
        *,
        floor: float = 1e-4,
        smoothing: AbstractSmoothing | float | None = None,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.floor = _check_numbers(alpha, beta, floor)
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
            logits: see `symmetric_cross_entropy`.
            target: see `symmetric_cross_entropy`.
            inputs: for a policy with a teacher of its own.
            teacher_logits: for a policy that needs them, of the logits' layout.
            index: for a policy that needs it.
            normalizer: see `symmetric_cross_entropy`.
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
        return symmetric_cross_entropy(
            view,
            built,
            alpha=self.alpha if self.training else 1.0,
            beta=self.beta if self.training else 0.0,
            floor=self.floor,
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
        return f"alpha={self.alpha}, beta={self.beta}, reduction={self.reduction!r}"
