"""Generalised cross-entropy, a baseline for noisy labels between cross-entropy and MAE."""

from typing import Any, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.engine import LossOptions
from softtargets.losses.arguments import check_weight
from softtargets.losses.cross_entropy import cross_entropy
from softtargets.losses.probabilities import label_losses, log_probs, one_minus_exp
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.losses.smoothed import check_smoothing, smoothed_target
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.schedule import step_schedules
from softtargets.target import Target

# Below it the loss is the cross-entropy to rounding, and float32 could not divide by q.
_SMALLEST = 1e-19


def generalized_cross_entropy(
    logits: Tensor,
    target: Tensor | Target,
    *,
    q: float = 0.7,
    smoothing: AbstractSmoothing | float | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    normalizer: Tensor | float | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Return the generalised cross-entropy against any target.

        loss_n = sum_k w_k t_nk (1 - p_nk^q) / q        p = softmax(z), t the target

    For a label it is `(1 - p_y^q) / q`, whose gradient is that of the cross-entropy times `p_y^q`:
    samples that the model holds for mislabelled weigh little. `q=0` is `cross_entropy`, `q=1` is
    `1 - p_y`, half the mean absolute error, which tolerates symmetric noise but is slow to learn.
    In between it lies in [0, 1/q] for a label, and like focal loss it is not minimal at p = t for a
    soft target.

    Args:
        logits: `(N, K)`, `(N, K, d1, ...)` or `(K,)`, any float dtype; half precision is computed
            in float32. Classes of logit `-inf` take no part; a label that is one costs 1/q.
        target: integer labels, probabilities or a `Target`, as for `cross_entropy`.
        q: in [0, 1].
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
        >>> st.generalized_cross_entropy(logits, labels)
        tensor(1.1307)
        >>> st.generalized_cross_entropy(logits, labels, q=0.0)
        tensor(2.2395)

    References:
        Zhang & Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
        Noisy Labels", 2018, for q = 0.7 too.
    """
    check_reduction(reduction, normalizer, validate)
    q = checks.check_fraction(q, "q")
    check_smoothing(smoothing)
    view, built = smoothed_target(
        logits,
        target,
        smoothing,
        class_dim=class_dim,
        ignore_index=ignore_index,
        validate=validate,
    )
    if q < _SMALLEST:
        return cross_entropy(
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
    losses, living = _example_losses(view, built, weight, q)
    given = built.given
    shares = given.mass(weight)
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


def _example_losses(
    logits: Tensor, target: Target, weight: Tensor | None, q: float
) -> tuple[Tensor, Tensor]:
    """Return losses and which rows have a living class, `(*batch)` each."""
    labels = label_losses(logits, target)
    if labels is not None:
        losses = target.mass(weight) * one_minus_exp(-q * labels.losses) / q
        return losses.to(labels.losses.dtype), labels.logsumexp != -torch.inf
    found = log_probs(logits, target)
    values = (one_minus_exp(q * found.values) / q).masked_fill(found.dead, 1 / q)
    losses = torch.where(found.counted, target.dot(values, weight, ~found.dead), 0)
    return losses.to(found.values.dtype), found.living


@final
class GeneralizedCrossEntropyLoss(nn.Module):
    r"""Generalised cross-entropy as a module; see `generalized_cross_entropy` for the formula.

    In `.eval()` smoothing is off and q is 0: it reports the NLL (class weights stay), so validation
    losses can be compared between methods.

    Args:
        q: see `generalized_cross_entropy`.
        smoothing: a rate in [0, 1], a policy, or None.
        weight: `(K,)` class weights.
        ignore_index: see `generalized_cross_entropy`.
        reduction: see `generalized_cross_entropy`.
        class_dim: see `generalized_cross_entropy`.
        validate: see `generalized_cross_entropy`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.GeneralizedCrossEntropyLoss(q=0.7)
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([1])
        >>> criterion(logits, labels)
        tensor(1.1307)
        >>> criterion.eval()(logits, labels)
        tensor(2.2395)
    """

    weight: Tensor | None

    def __init__(
        self,
        q: float = 0.7,
        *,
        smoothing: AbstractSmoothing | float | None = None,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.q = checks.check_fraction(q, "q")
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
            logits: see `generalized_cross_entropy`.
            target: see `generalized_cross_entropy`.
            inputs: for a policy with a teacher of its own.
            teacher_logits: for a policy that needs them, of the logits' layout.
            index: for a policy that needs it.
            normalizer: see `generalized_cross_entropy`.
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
        return generalized_cross_entropy(
            view,
            built,
            q=self.q if self.training else 0.0,
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
        return f"q={self.q}, reduction={self.reduction!r}"
