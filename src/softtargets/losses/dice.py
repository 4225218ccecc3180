"""Dice loss for segmentation, minimised at the soft target."""

from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.losses.arguments import check_weight, class_last
from softtargets.losses.binary import multilabel_rows
from softtargets.losses.dice_sums import Activation, Form, Rows, class_sums
from softtargets.losses.reduction import Reduction, check_reduction, reduce
from softtargets.losses.smoothed import check_smoothing, smoothed_target
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.schedule import Schedule, check_scheduled, shown, step_schedules
from softtargets.target import Target

Per = Literal["image", "batch"]
Smoothing = AbstractSmoothing | float | Schedule | None


class _Settings(NamedTuple):
    form: Form
    activation: Activation
    per: Per
    epsilon: float


def dice_loss(
    logits: Tensor,
    target: Tensor | Target,
    *,
    smoothing: Smoothing = None,
    form: Form = "squared",
    activation: Activation = "softmax",
    per: Per = "image",
    weight: Tensor | None = None,
    epsilon: float = 1e-5,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    normalizer: Tensor | float | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Return one minus the Dice coefficient of prediction and target, averaged over classes.

        squared:       dice_k = (2 sum_i pq + epsilon) / (sum_i p^2 + sum_i q^2 + epsilon)
        intersection:  dice_k = (2 sum_i min(p, q) + epsilon) / (sum_i p + sum_i q + epsilon)
        loss = sum_k w_k (1 - dice_k) / sum_k w_k          i: the counted pixels, class k

    Both are 0 at p = q and nowhere else, for any soft target, and both are one minus the usual Dice
    coefficient where prediction and target are hard. The widespread
    `2 sum p q / (sum p + sum q)` is not: where a class has the same soft target in every pixel,
    it grows with p whatever that target is, and 0.5 is driven to 1.
    `"squared"` has a gradient that fades towards the target; `"intersection"` has the slope of an
    absolute error up to it and equals that widespread form for hard labels.

    With cross-entropy: `st.cross_entropy(z, y, smoothing=0.1) + st.dice_loss(z, y, smoothing=0.1)`.

    Args:
        logits: `(N, K, d1, ...)`, any float dtype; half precision is computed in float32. Classes
            of logit `-inf` have probability 0.
        target: integer labels `(N, d1, ...)`, probabilities of the logits' shape, or a `Target`.
        smoothing: a rate in [0, 1], a policy, or None; with sigmoid a `Schedule` of rates too, with
            softmax that goes into `LabelSmoothing`.
        form: `"squared"` or `"intersection"`.
        activation: `"softmax"`, or `"sigmoid"` for a score of its own per class. Probabilities are
            then taken entry by entry, a pixel of zeros alone is counted, entries equal to
            `ignore_index` are not, and smoothing is that of `binary_cross_entropy_with_logits`.
        per: `"image"` forms the sums of each image, so that the loss does not depend on the batch
            an image is in; `"batch"` those of the whole batch.
        weight: `(K,)` class weights, finite and >= 0; 0 leaves a class out, the background for
            instance.
        epsilon: >= 0. A class absent from target and prediction has the loss 0, also with 0.
        ignore_index: label whose pixels take no part in any sum.
        reduction: over images: `"mean"` over those with a counted pixel, `"sum"`, or `"none"`.
        class_dim: the class dimension of the logits.
        normalizer: replaces the divisor of the mean: the number of images with a counted pixel over
            all accumulation steps, for instance. Over ranks too, divided by their number.
        validate: check values, see `LossOptions`.

    Returns:
        A scalar, or `(N,)` for `reduction="none"`; float32, float64 for float64 logits.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, an option is unknown or has no use, or a smoothed target
            would be smoothed again.

    Example:
        >>> import torch, softtargets as st
        >>> labels = torch.tensor([[[0, 0], [1, 1]]])
        >>> logits = 9 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
        >>> st.dice_loss(logits, labels).item() < 1e-6, st.dice_loss(-logits, labels).item() > 0.999
        (True, True)

    References:
        Milletari et al., "V-Net", 2016, for the squared form. Wang et al., "Dice Semimetric Losses:
        Optimizing the Dice Score with Soft Labels", 2023, for the other.
    """
    settings = _checked(form, activation, per, epsilon, reduction)
    _check_normalizer(normalizer, reduction, per, validate)
    _check_smoothing(smoothing, activation)
    rows = _rows(
        logits,
        target,
        smoothing,
        settings,
        class_dim=class_dim,
        ignore_index=ignore_index,
        validate=validate,
    )
    return _loss(rows, settings, weight, reduction, normalizer, validate)


def _checked(
    form: Form, activation: Activation, per: Per, epsilon: float, reduction: Reduction
) -> _Settings:
    choices = {
        "form": (form, ("squared", "intersection")),
        "activation": (activation, ("softmax", "sigmoid")),
        "per": (per, ("image", "batch")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}")
    if reduction == "none" and per == "batch":
        raise ValueError(
            '`reduction="none"` gives one value per image, of which `per="batch"` has none; use '
            '`reduction="mean"` or `per="image"`'
        )
    return _Settings(form, activation, per, checks.check_fraction(epsilon, "epsilon", 0, torch.inf))


def _check_normalizer(
    normalizer: Tensor | float | None, reduction: Reduction, per: Per, validate: bool | None
) -> None:
    check_reduction(reduction, normalizer, validate)
    if normalizer is not None and per == "batch":
        raise ValueError(
            '`normalizer` replaces the number of images, over which `per="batch"` takes no mean; '
            'divide the result yourself or use `per="image"`'
        )


def _check_smoothing(smoothing: Smoothing, activation: Activation) -> None:
    if isinstance(smoothing, Schedule) and activation == "sigmoid":
        check_scheduled(smoothing, lambda value: checks.check_rate(value, name="smoothing"))
    else:
        check_smoothing(smoothing)


def _check_class_weight(weight: Tensor | None, validate: bool | None) -> None:
    if weight is None or not checks.should_validate(validate, weight):
        return
    wrong = ~((weight >= 0) & (weight < torch.inf))
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"`weight` must be finite and >= 0, got {float(weight[row]):g} for class {row}; 0 "
            "leaves a class out"
        )


def _rows(
    logits: Tensor,
    target: Tensor | Target,
    smoothing: Smoothing,
    settings: _Settings,
    *,
    class_dim: int,
    ignore_index: int,
    validate: bool | None,
    training: bool = True,
    **context: Any,
) -> Rows:
    """Return what the sums are formed of; `context` is what a policy is told beside the logits."""
    dims = class_last(logits, class_dim).dim()
    if dims < 2 or (dims < 3 and settings.per == "image"):
        raise ValueError(
            f"`logits` must have shape (N, K, d1, ...), got {tuple(logits.shape)}; for samples "
            'without pixels give (N, K) and pass `per="batch"`'
        )
    softmax = settings.activation == "softmax"
    policy = isinstance(smoothing, AbstractSmoothing)
    floating = isinstance(target, Tensor) and target.is_floating_point()
    shared: dict[str, Any] = {
        "class_dim": class_dim,
        "ignore_index": ignore_index,
        "validate": validate,
    }
    if softmax or (policy and not floating):
        assert not isinstance(smoothing, Schedule)
        view, built = smoothed_target(
            logits, target, smoothing, training=training, **shared, **context
        )
        if softmax:
            return Rows(view, built)
        logits, target, smoothing = view, built, None
        shared |= {"class_dim": -1, "ignore_index": -100}
    elif not training:
        smoothing = None
        target = target.given if isinstance(target, Target) else target
    return Rows(*multilabel_rows(logits, target, smoothing, **shared))


def _loss(
    rows: Rows,
    settings: _Settings,
    weight: Tensor | None,
    reduction: Reduction,
    normalizer: Tensor | float | None,
    validate: bool | None,
) -> Tensor:
    check_weight(weight, rows.logits.shape[-1])
    _check_class_weight(weight, validate)
    sums = class_sums(rows, settings.form, settings.activation)
    if settings.per == "batch":
        sums = sums.sum(0, keepdim=True)
    overlap, predicted, wanted, pixels = sums.unbind(1)
    size = predicted + wanted
    empty = (size == 0) & (settings.epsilon == 0)
    dice = (2 * overlap + settings.epsilon) / torch.where(empty, 1, size + settings.epsilon)
    losses = torch.where(empty, 0, 1 - dice)
    each = losses.mean(-1) if weight is None else _weighted_mean(losses, weight, validate)
    counted = pixels.sum(-1) > 0
    each = torch.where(counted, each, 0)
    return reduce(
        each, counted, counted, counted.logical_not, reduction, normalizer, validate=validate
    )


def _weighted_mean(losses: Tensor, weight: Tensor, validate: bool | None) -> Tensor:
    weight = weight.to(losses)
    total = weight.sum()
    if checks.should_validate(validate, total) and not total > 0:
        raise ValueError(
            f"`weight` must have a sum > 0, got {float(total)}; it is the divisor of the mean over "
            "classes"
        )
    return (losses * weight).sum(-1) / total


@final
class DiceLoss(nn.Module):
    r"""Dice loss as a module; see `dice_loss`, which has the formula and every argument.

    In `.eval()` smoothing is off, so validation losses can be compared between methods.

    Args:
        smoothing: see `dice_loss`.
        form: see `dice_loss`.
        activation: see `dice_loss`.
        per: see `dice_loss`.
        weight: `(K,)` class weights.
        epsilon: see `dice_loss`.
        ignore_index: see `dice_loss`.
        reduction: see `dice_loss`.
        class_dim: see `dice_loss`.
        validate: see `dice_loss`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.DiceLoss(smoothing=0.1)
        >>> logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
        >>> criterion(logits, labels)
        tensor(0.2883)
        >>> criterion.eval()(logits, labels)
        tensor(0.3333)
    """

    weight: Tensor | None

    def __init__(
        self,
        smoothing: Smoothing = None,
        *,
        form: Form = "squared",
        activation: Activation = "softmax",
        per: Per = "image",
        weight: Tensor | None = None,
        epsilon: float = 1e-5,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        check_reduction(reduction, None, validate)
        check_weight(weight)
        _check_class_weight(weight, validate)
        self.settings = _checked(form, activation, per, epsilon, reduction)
        _check_smoothing(smoothing, activation)
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
            logits: see `dice_loss`.
            target: see `dice_loss`.
            inputs: for a policy with a teacher of its own.
            teacher_logits: for a policy that needs them, of the logits' layout.
            index: for a policy that needs it.
            normalizer: see `dice_loss`.
        """
        _check_normalizer(normalizer, self.reduction, self.settings.per, self.validate)
        rows = _rows(
            logits,
            target,
            self.smoothing,
            self.settings,
            class_dim=self.class_dim,
            ignore_index=self.ignore_index,
            validate=self.validate,
            training=self.training,
            inputs=inputs,
            teacher_logits=teacher_logits,
            index=index,
        )
        return _loss(rows, self.settings, self.weight, self.reduction, normalizer, self.validate)

    def step(self) -> None:
        """Advance every `Schedule` in this module and its policy by one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        form, activation, per, epsilon = self.settings
        rate = ""
        if isinstance(self.smoothing, Schedule) or checks.is_number(self.smoothing):
            rate = f"smoothing={shown(self.smoothing)}, "
        return (
            f"{rate}form={form!r}, activation={activation!r}, per={per!r}, epsilon={epsilon:g}, "
            f"ignore_index={self.ignore_index}, class_dim={self.class_dim}"
        )
