"""Softmax cross-entropy against any target."""

from typing import TYPE_CHECKING, Any, final

from torch import Tensor, nn

from softtargets import checks
from softtargets.engine import LossOptions, check_options
from softtargets.losses.arguments import check_weight
from softtargets.losses.evaluation import Settings, check_weight_mode, evaluate
from softtargets.losses.penalties import AbstractPenalty, check_penalty
from softtargets.losses.reduction import Reduction, check_reduction
from softtargets.smoothing.base import AbstractSmoothing, check_smoothing_type
from softtargets.smoothing.schedule import step_schedules
from softtargets.smoothing.uniform import LabelSmoothing
from softtargets.target import Target

if TYPE_CHECKING:
    from softtargets.losses.correction import Correction


def cross_entropy(
    logits: Tensor,
    target: Tensor | Target,
    *,
    smoothing: AbstractSmoothing | float | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    correction: "Correction | None" = None,
    penalty: AbstractPenalty | None = None,
    class_mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
    options: LossOptions | None = None,
) -> Tensor:
    r"""Return the cross-entropy of `softmax(logits)` against any target.

        loss_n = -sum_k w_k q_nk log softmax(z_n)_k
        mean   = sum_n loss_n / sum_n sum_k w_k g_nk        g = the target before smoothing

    Labels, the same labels as one-hot rows, and the same labels as a `Target` give the same loss,
    with class weights and for every reduction. Classes whose logit is `-inf` take no part:
    uniform mass and table rows are spread over the others. Rows without mass or without a living
    class are ignored: exactly 0 loss, 0 gradient and no share in the mean; a batch of nothing
    else has the mean 0.

    Args:
        logits: `(N, K)`, `(N, K, d1, ...)` or `(K,)`, any float dtype; half precision is computed
            in float32.
        target: integer labels of the logits' shape without the class dimension, floating point
            probabilities of the logits' shape, or a `Target`.
        smoothing: a rate in [0, 1], a policy, or None. The function smooths in whatever mode the
            policy is; it is a criterion's `.eval()` that switches smoothing off.
        weight: `(K,)` class weights; see `LossOptions.weight_mode` for what they do to smoothing.
        ignore_index: label that is ignored. If it is a class, its mass is also taken out of
            probabilities.
        reduction: `"mean"`, `"sum"` or `"none"`.
        class_dim: the class dimension of the logits; -1 for language models.
        correction: of label noise, `ForwardCorrection(T)` or `BackwardCorrection(T)`; the latter
            acts on the target before it is smoothed.
        penalty: is added to the loss of each sample, such as `MarginPenalty()`; see
            `AbstractPenalty`.
        class_mask: bool, False for masked classes; the logits' shape or `(K,)`. Says what `-inf`
            says, for models that mask with a large negative number.
        normalizer: replaces the divisor of the mean: the number of tokens over all accumulation
            steps, for instance. Over ranks too, divided by their number: DDP averages gradients.
        options: rare switches, see `LossOptions`.

    Returns:
        A scalar, or `(N, d1, ...)` for `reduction="none"`; float32, float64 for float64 logits.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, a rate or label is out of range, a smoothed target would be
            smoothed again, or the mean's divisor is not positive.

    Example:
        >>> import torch, softtargets as st
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, -torch.inf, 1.0]])
        >>> st.cross_entropy(logits, torch.tensor([0, 2]), smoothing=0.1)
        tensor(0.3681)

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015.
    """
    settings = Settings(
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        class_dim=class_dim,
        penalty=penalty,
        correction=correction,
        class_mask=class_mask,
        normalizer=normalizer,
        options=check_options(options),
    )
    return evaluate(logits, target, smoothing, {}, settings).reduced(settings)


@final
class CrossEntropyLoss(nn.Module):
    r"""Drop-in for `torch.nn.CrossEntropyLoss` with any target and any smoothing policy.

    In `.eval()` smoothing is off and the loss is the NLL (class weights stay), so validation
    losses can be compared between methods; a `Target` that was smoothed before counts as given.
    Policies that learn (online label smoothing) keep their state in this module's `state_dict()`:
    save the criterion with the model.

    For integer labels it gives torch's numbers. It differs from torch where torch's depend on how
    the same labels are written: with class weights, and for rows that do not sum to 1, the mean
    over soft targets divides by their weighted mass and not by their number.

    Args:
        smoothing: a rate in [0, 1], a policy such as `OnlineLabelSmoothing`, or None.
        weight: `(K,)` class weights.
        ignore_index: see `cross_entropy`.
        reduction: see `cross_entropy`.
        correction: see `cross_entropy`; off in `.eval()`, as smoothing is.
        penalty: see `cross_entropy`; off in `.eval()`, too.
        class_dim: see `cross_entropy`.
        options: see `LossOptions`.

    Raises:
        TypeError: a weight tensor in first position, or an argument of `nn.CrossEntropyLoss` that
            has another name here.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.CrossEntropyLoss(0.1)
        >>> logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
        >>> criterion(logits, labels)
        tensor(0.3729)
        >>> criterion.eval()(logits, labels)
        tensor(0.2395)
    """

    weight: Tensor | None

    def __init__(
        self,
        smoothing: AbstractSmoothing | float | None = None,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        correction: "Correction | None" = None,
        penalty: AbstractPenalty | None = None,
        class_dim: int = 1,
        options: LossOptions | None = None,
        **torch_arguments: object,
    ) -> None:
        super().__init__()
        _refuse_torch_arguments(torch_arguments)
        check_smoothing_type(smoothing)
        check_reduction(reduction, None)
        check_weight(weight)
        if smoothing is None or isinstance(smoothing, AbstractSmoothing):
            self.smoothing: AbstractSmoothing | None = smoothing
        else:
            self.smoothing = LabelSmoothing(smoothing)
        if correction is not None:
            from softtargets.losses.correction import check_correction

            check_correction(correction)
        self.correction = correction
        check_penalty(penalty)
        self.penalty = penalty
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.class_dim = checks.check_integer(class_dim, "class_dim")
        self.options = check_options(options)
        check_weight_mode(self.options, weight)

    def forward(
        self,
        logits: Tensor,
        target: Tensor | Target,
        *,
        inputs: Any = None,
        teacher_logits: Tensor | None = None,
        index: Tensor | None = None,
        class_mask: Tensor | None = None,
        normalizer: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss; the keywords beyond `cross_entropy`'s are handed to the policy.

        Args:
            logits: see `cross_entropy`.
            target: see `cross_entropy`.
            inputs: what the policy's teacher is called with.
            teacher_logits: of the logits' shape, class dimension in the same place.
            index: the samples' numbers in the data set.
            class_mask: see `cross_entropy`.
            normalizer: see `cross_entropy`.
        """
        if not self.training and isinstance(target, Target):
            target = target.given
        settings = Settings(
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            class_dim=self.class_dim,
            penalty=self.penalty if self.training else None,
            correction=self.correction if self.training else None,
            class_mask=class_mask,
            normalizer=normalizer,
            options=self.options,
        )
        context = {"teacher_logits": teacher_logits, "inputs": inputs, "index": index}
        smoothing = self.smoothing if self.training else None
        return evaluate(logits, target, smoothing, context, settings).reduced(settings)

    def step(self) -> None:
        """Advance every `Schedule` in the policy, the correction and the penalty by one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        weight = "" if self.weight is None else f", weight=({len(self.weight)},)"
        return (
            f"reduction={self.reduction!r}, ignore_index={self.ignore_index}, "
            f"class_dim={self.class_dim}{weight}"
        )


_REPLACEMENTS = {
    "label_smoothing": "pass the rate as the first argument, `CrossEntropyLoss(0.1)`",
    "size_average": 'use `reduction="mean"` or `"sum"`',
    "reduce": 'use `reduction="none"`',
}


def _refuse_torch_arguments(arguments: dict[str, object]) -> None:
    for name in arguments:
        way_out = _REPLACEMENTS.get(name, "see its documentation for the arguments it has")
        raise TypeError(f"CrossEntropyLoss has no argument `{name}`; {way_out}")
