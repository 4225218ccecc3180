"""Binary cross-entropy for multi-label targets, with label smoothing."""

from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softtargets import checks
from softtargets.losses.arguments import as_target, check_weight, class_last
from softtargets.losses.reduction import Reduction, check_reduction
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.schedule import (
    Schedule,
    check_scheduled,
    current,
    shown,
    step_schedules,
)
from softtargets.target import Target
from softtargets.terms import DenseRows

Convention = Literal["rate/2", "rate/K"]


def binary_cross_entropy_with_logits(
    logits: Tensor,
    target: Tensor | Target,
    *,
    smoothing: float | Schedule | None = None,
    convention: Convention = "rate/2",
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    normalizer: Tensor | float | None = None,
    class_dim: int = 1,
    validate: bool | None = None,
) -> Tensor:
    r"""Return the binary cross-entropy of `sigmoid(logits)`, each class a question of its own.

        loss = -w_k (pos_k q log sigmoid(z) + (1 - q) log sigmoid(-z))
        q    = (1 - rate) y + rate / 2        convention "rate/2": Keras, torch-uncertainty
        q    = (1 - rate) y + rate / K        convention "rate/K": timm

    A rate of "rate/2" spreads it over yes and no, so a yes ends at 1 - rate/2. "rate/K" is what
    labels smoothed over K classes give: negatives end at rate/K, and the sum over the classes of a
    single label stays 1. mmpretrain's `eps` moves that much away from either answer: it is
    `2 * eps` here.

    Args:
        logits: `(N, K)`, `(N, K, d1, ...)` or `(K,)`; half precision is computed in float32. An
            entry of logit `-inf` is masked: it gets no smoothing, and an infinite loss only where
            the answer as given has mass there.
        target: floating point of the logits' shape in [0, 1], many labels per sample; integer
            labels `(N, d1, ...)`, of which each means a yes to one class and a no to the others; or
            a `Target`, a mix for instance, whose dense rows are taken, entries in [0, 1] too.
            Floating rows of zeros count, in a `Target` as well: a no to every class.
        smoothing: a rate in [0, 1], a `Schedule` of rates, or None.
        convention: `"rate/2"` or `"rate/K"`.
        weight: `(K,)` weights of the classes.
        pos_weight: weights of the positive answers, > 1 for more recall: `(K,)`, or a scalar for
            every class.
        ignore_index: label whose position is ignored; in floating point targets the value of the
            entries that are, which must not be an answer: neither 0 nor 1. Rows of answers in a
            `Target` hold no such value: a class then is an error.
        reduction: `"mean"` over the entries that count (weights are not in the divisor, as in
            torch), `"sum"`, or `"none"`.
        normalizer: replaces the divisor of the mean; N gives the sum over classes and mean over
            samples.
        class_dim: the class dimension of the logits.
        validate: check values, answers outside [0, 1] among them; see `LossOptions`.

    Returns:
        A scalar, or the logits' shape for `reduction="none"`; float32, float64 for float64 logits.
        Ignored entries have exactly 0 loss and 0 gradient; a batch of nothing else the mean 0.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, a rate, label or entry is out of range, or a smoothed target
            would be smoothed again.

    Example:
        >>> import torch, softtargets as st
        >>> logits = torch.tensor([[2.0, -1.0, 0.5]])
        >>> st.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 0.0, 1.0]]))
        tensor(0.3048)
        >>> st.binary_cross_entropy_with_logits(logits, torch.tensor([0]), smoothing=0.1)
        tensor(0.5131)

    References:
        Wightman et al., "ResNet strikes back", 2021, for integer labels as yes and no.
    """
    check_reduction(reduction, normalizer, validate)
    view, q, counted = multilabel_rows(
        logits,
        target,
        smoothing,
        convention=convention,
        class_dim=class_dim,
        ignore_index=ignore_index,
        validate=validate,
    )
    check_weight(weight, view.shape[-1])
    _check_pos_weight(pos_weight, view.shape[-1])
    losses = _entry_losses(torch.where(counted, view, 0).to(q.dtype), q, pos_weight)
    if weight is not None:
        # A weight of 0 outweighs the infinite loss of a masked answer.
        weight = weight.to(losses)
        losses = torch.where(weight == 0, 0, losses * weight)
    losses = torch.where(counted, losses, 0)
    if reduction == "none":
        return losses.movedim(-1, class_dim) if logits.dim() > 1 else losses
    total = losses.sum()
    if reduction == "sum":
        return total
    if normalizer is None:
        return total / counted.sum().clamp(min=1)
    divisor = normalizer.to(total) if isinstance(normalizer, Tensor) else normalizer
    return total / (divisor.reshape(()) if isinstance(divisor, Tensor) else divisor)


def _entry_losses(logits: Tensor, q: Tensor, pos_weight: Tensor | None) -> Tensor:
    """Return the losses of finite or infinite logits; 0 mass meets no infinite loss."""
    yes = q if pos_weight is None else q * pos_weight.to(q)
    no = 1 - q
    losses = torch.zeros_like(logits)
    for mass, score in ((yes, logits), (no, -logits)):
        safe = torch.where((mass == 0) & (score == -torch.inf), 0, score)
        losses = losses - mass * functional.logsigmoid(safe)
    return losses


def multilabel_rows(
    logits: Tensor,
    target: Tensor | Target,
    smoothing: AbstractSmoothing | float | Schedule | None,
    *,
    class_dim: int,
    ignore_index: int,
    convention: Convention = "rate/2",
    validate: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return class-last logits, smoothed entries in [0, 1], and which of them count.

    See `binary_cross_entropy_with_logits` for the arguments; all three have one shape.
    """
    rate = _check_rate(smoothing, convention)
    view = class_last(logits, class_dim)
    num_classes = view.shape[-1]
    if isinstance(target, Tensor) and target.is_floating_point():
        q = class_last(target, class_dim, "target") if target.dim() == logits.dim() else target
        if q.shape != view.shape or q.device != view.device:
            raise ValueError(
                f"`target` must have the logits' shape (classes last: {tuple(view.shape)}) and "
                f"device {view.device}, got {tuple(q.shape)} on {q.device}; labels must be integers"
            )
        _check_no_answer(ignore_index)
        counted = q != ignore_index
        q = torch.where(counted, q, 0)
        if checks.should_validate(validate, q):
            _check_entries(
                q, f"mark entries without an answer with `ignore_index` ({ignore_index})"
            )
        given = q
    else:
        built = _as_answers(view, target, class_dim, ignore_index, validate)
        if rate is not None:
            check_not_smoothed(built, "the loss")
        q, given, counted = _rows(built, target, validate)
    dtype = torch.promote_types(view.dtype, torch.float32)
    q, given = q.to(dtype), given.to(dtype)
    if validate:
        _check_masked(view, counted & (given != 0))
    if rate is not None:
        share = current(rate, q)
        q = (1 - share) * q + share / (2 if convention == "rate/2" else num_classes)
    # A masked entry is answered as given: smoothing it would cost the infinite.
    return view, torch.where(view == -torch.inf, given, q), counted


def _as_answers(
    logits: Tensor,
    target: Tensor | Target,
    class_dim: int,
    ignore_index: int,
    validate: bool | None,
) -> Target:
    if isinstance(target, Target):
        # Its rows are answers and no distributions.
        validate = False
        dense = any(isinstance(term, DenseRows) for term in target.given.others)
        if dense and 0 <= ignore_index < target.num_classes:
            raise ValueError(
                f"`ignore_index={ignore_index}` is a class, and taking it out of rows of answers "
                "would turn each yes to it into a no; leave it at -100 and multiply the rows "
                "without an answer by 0"
            )
    return as_target(
        logits, target, class_dim=class_dim, ignore_index=ignore_index, validate=validate
    )


def _rows(built: Target, source: object, validate: bool | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return dense rows, those before any smoothing, and which entries count."""
    q, counted = built.dense(), ~built.ignored()
    given = built.given.dense() if built.smoothed else q
    if isinstance(source, Target):
        for term in built.given.others:
            if isinstance(term, DenseRows):
                counted = counted | (term.weights != 0)
        if checks.should_validate(validate, q):
            _check_entries(
                torch.where(counted.unsqueeze(-1), q, 0),
                "a target with other entries (MaxSup, a negative rate) has no answers",
            )
    return q, given, counted.unsqueeze(-1).expand_as(q)


def _check_no_answer(ignore_index: int) -> None:
    if ignore_index in (0, 1):
        raise ValueError(
            f"`ignore_index` must be no answer where `target` is floating point, got "
            f"{ignore_index}, which is a {'yes' if ignore_index else 'no'}; mark entries without "
            "an answer with another value, such as -100"
        )


def _check_pos_weight(pos_weight: Tensor | None, num_classes: int | None = None) -> None:
    """As for class weights, but one number for all classes will do."""
    if isinstance(pos_weight, Tensor) and pos_weight.dim() == 0:
        checks.check_floating(pos_weight, "pos_weight")
    else:
        check_weight(pos_weight, num_classes, "pos_weight")


def _check_rate(
    smoothing: AbstractSmoothing | float | Schedule | None, convention: Convention
) -> float | Schedule | None:
    if convention not in ("rate/2", "rate/K"):
        raise ValueError(f'`convention` must be "rate/2" or "rate/K", got {convention!r}')
    if smoothing is None:
        return None
    if isinstance(smoothing, AbstractSmoothing):
        raise TypeError(
            "`smoothing` must be a rate in [0, 1] for yes-or-no targets, got "
            f"{type(smoothing).__name__}; for integer labels call the policy first and hand over "
            "its `Target`: `policy(Target.from_labels(labels, num_classes))`"
        )
    return check_scheduled(smoothing, lambda value: checks.check_rate(value, name="smoothing"))


def _check_entries(q: Tensor, way_out: str) -> None:
    rounding = 64 * torch.finfo(torch.float32).eps
    wrong = ~((q >= -rounding) & (q <= 1 + rounding))
    if bool(wrong.any()):
        position = tuple(int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"`target` must hold values in [0, 1], got {float(q[position]):.6g} at {position} "
            f"(classes last); {way_out}"
        )


def _check_masked(logits: Tensor, answered: Tensor) -> None:
    wrong = answered & (logits == -torch.inf)
    if bool(wrong.any()):
        position = tuple(int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            "`target` must not say yes to a masked entry (logit -inf), it does at "
            f"{position} (classes last); unmask the entry or ignore it"
        )


@final
class BCEWithLogitsLoss(nn.Module):
    r"""Drop-in for `torch.nn.BCEWithLogitsLoss` with label smoothing and ignored entries.

    See `binary_cross_entropy_with_logits` for the formula. In `.eval()` smoothing is off; a
    `Target` that was smoothed before counts as given.

    Args:
        smoothing: a rate in [0, 1], a `Schedule` of rates, or None.
        convention: `"rate/2"` or `"rate/K"`.
        weight: `(K,)` weights of the classes.
        pos_weight: weights of the positive answers, `(K,)` or a scalar.
        ignore_index: see `binary_cross_entropy_with_logits`.
        reduction: see `binary_cross_entropy_with_logits`.
        class_dim: see `binary_cross_entropy_with_logits`.
        validate: see `binary_cross_entropy_with_logits`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.BCEWithLogitsLoss(smoothing=0.1)
        >>> logits, answers = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
        >>> criterion(logits, answers)
        tensor(0.2951)
        >>> criterion.eval()(logits, answers)
        tensor(0.2201)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        smoothing: float | Schedule | None = None,
        *,
        convention: Convention = "rate/2",
        weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_dim: int = 1,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        if isinstance(smoothing, Tensor):
            raise TypeError("`smoothing` must be a rate, got a tensor; weights go into `weight=`")
        self.smoothing = _check_rate(smoothing, convention)
        check_reduction(reduction, None, validate)
        check_weight(weight)
        _check_pos_weight(pos_weight)
        self.convention: Convention = convention
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.class_dim = checks.check_integer(class_dim, "class_dim")
        self.validate = validate

    def forward(
        self,
        logits: Tensor,
        target: Tensor | Target,
        *,
        normalizer: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss; the arguments are those of `binary_cross_entropy_with_logits`."""
        if not self.training and isinstance(target, Target):
            target = target.given
        return binary_cross_entropy_with_logits(
            logits,
            target,
            smoothing=self.smoothing if self.training else None,
            convention=self.convention,
            weight=self.weight,
            pos_weight=self.pos_weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            normalizer=normalizer,
            class_dim=self.class_dim,
            validate=self.validate,
        )

    def step(self) -> None:
        """Advance the `Schedule` of the rate by one, if there is one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        rate = None if self.smoothing is None else shown(self.smoothing)
        return f"smoothing={rate}, convention={self.convention!r}, reduction={self.reduction!r}"
