"""Label smoothing with a fixed distribution: uniform, a prior, or one row per label."""

from typing import Any, Literal, final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.per_class import blend_by_class, kept_rows, rows_in
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target


@final
class LabelSmoothing(AbstractSmoothing):
    r"""Label smoothing: part of the target moves from the label to a fixed distribution.

        q = (1 - rate) * e_y + rate * prior          prior = 1/K where none is given

    The cross-entropy against q cannot fall below its entropy (K = 10, rate 0.1: 0.500; K = 1000:
    1.015): a training loss that stalls there has not failed.

    Args:
        rate: the share that moves, in [0, 1]: a number, `(K,)` with one rate per class, or a
            `Schedule`. Mixed labels: each label its own rate. (One rate per sample:
            `Target.smooth`.)
        prior: `(K,)`, the label frequencies for instance, or `(K, K)` with one row per label; rows
            sum to 1, and are divided by their sum where rounding made it another. None is uniform.
        convention: `"K"` spreads the rate over all K classes, the label included (Szegedy et al.;
            torch, timm, Keras, optax); `"K-1"` over the others alone (fairseq, Tensor2Tensor).
            rate_K = rate_{K-1} * K / (K - 1), also where classes are masked: the label then keeps
            more than 1 - rate.
        allow_negative: accept a negative rate, whose loss is unbounded below. A schedule that
            starts at 0 or above warms up and needs no permission.

    Raises:
        TypeError: rate of another kind; rates per class meet a target that has other terms than
            labels, mixed labels or rows of probabilities.
        ValueError: rate out of range, unknown convention, `"K-1"` with a prior, a prior whose
            rows are no distributions.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([1]), 4)
        >>> st.LabelSmoothing(0.1)(target).dense()
        tensor([[0.0250, 0.9250, 0.0250, 0.0250]])
        >>> st.LabelSmoothing(0.09, convention="K-1")(target).dense()
        tensor([[0.0300, 0.9100, 0.0300, 0.0300]])

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015,
        section 7.
    """

    rate: float | Tensor | Schedule
    prior: Tensor | None

    def __init__(
        self,
        rate: float | Tensor | Schedule = 0.1,
        prior: Tensor | None = None,
        convention: Literal["K", "K-1"] = "K",
        *,
        allow_negative: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(rate, Tensor):
            self.register_buffer("rate", _checked_rates(rate, allow_negative))
        else:
            warms_up = isinstance(rate, Schedule) and rate.values[0] >= 0
            negative = allow_negative or warms_up
            self.rate = check_scheduled(
                rate, lambda value: checks.check_rate(value, allow_negative=negative)
            )
        self.allow_negative = allow_negative
        if convention not in ("K", "K-1"):
            raise ValueError(f'`convention` must be "K" or "K-1", got {convention!r}')
        if prior is not None:
            if convention == "K-1":
                raise ValueError(
                    '`convention="K-1"` leaves the label out of a uniform distribution and has no '
                    "meaning for a `prior`; leave it at its default"
                )
            checks.check_floating(prior, "prior")
            if not prior.numel() or prior.dim() > 2 or len(set(prior.shape)) != 1:
                raise ValueError(
                    "`prior` must have shape (K,), or (K, K) with one row per label, got "
                    f"{tuple(prior.shape)}"
                )
        self.convention = convention
        self.register_buffer("prior", None if prior is None else kept_rows(prior, "prior"))

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "LabelSmoothing")
        scale = 1.0
        if self.convention == "K-1":
            checks.check_two_classes(target.num_classes, 'convention="K-1"')
            scale = target.num_classes / (target.num_classes - 1)
        prior = self.prior
        if prior is not None:
            checks.check_matrix(prior, target.num_classes, "prior")
            prior = rows_in(prior, target.dtype)
        if isinstance(self.rate, Tensor):
            return blend_by_class(target, self.rate * scale, prior, "LabelSmoothing")
        return target.blend(current(self.rate, target.entries.weights) * scale, prior)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        prior = "" if self.prior is None else f", prior={tuple(self.prior.shape)}"
        return f"rate={shown(self.rate)}{prior}, convention={self.convention!r}"


def _checked_rates(rates: Tensor, allow_negative: bool) -> Tensor:
    """Return a copy of one rate per class, or raise."""
    checks.check_floating(rates, "rate")
    if rates.dim() != 1 or not len(rates):
        raise ValueError(
            f"`rate` must be a number or have shape (K,), one rate per class, got "
            f"{tuple(rates.shape)}; for one rate per sample use `Target.smooth`"
        )
    for extreme in torch.aminmax(rates.detach()):
        checks.check_rate(float(extreme), allow_negative=allow_negative)
    return rates.detach().clone()
