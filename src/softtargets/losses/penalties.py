"""Penalties: terms of the logits that a loss adds to its cross-entropy.

The contract, and what a loss does with one, is in `AbstractPenalty`.
"""

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target


class AbstractPenalty(nn.Module, ABC):
    r"""A value per sample that is added to its cross-entropy.

    A penalty of your own implements `values`; masked classes, ignored rows and half precision are
    dealt with before it is called. A loss with class weights treats its value as that of a sample
    of mass 1, so that the mean is a weighted mean of cross-entropy and penalty alike:

        loss_n = CE_n + s_n R_n        mean = sum_n loss_n / sum_n s_n

    with `s_n` the weighted mass of the target before smoothing, 1 for labels without weights.

    Example:
        >>> import torch, softtargets as st
        >>> class LogitNorm(st.AbstractPenalty):
        ...     "The squared norm of the living logits."
        ...
        ...     def values(self, logits, target, alive):
        ...         return logits.masked_fill(~alive, 0).square().sum(-1)
        >>> target = st.Target.from_labels(torch.tensor([0, -100]), 3)
        >>> LogitNorm()(torch.tensor([[1.0, 2.0, -torch.inf], [9.0, 9.0, 9.0]]), target)
        tensor([5., 0.])
    """

    @abstractmethod
    def values(self, logits: Tensor, target: Target, alive: Tensor) -> Tensor:
        """Return the penalty of each sample.

        Args:
            logits: `(*batch, K)` float32 or float64, classes last, `-inf` exactly where `alive` is
                False; zeros in rows that do not count.
            target: of batch shape `(*batch)`, smoothed or not; `target.given` is never smoothed.
            alive: `(*batch, K)` bool; every row has a living class.

        Returns:
            `(*batch)`.
        """

    def forward(self, logits: Tensor, target: Target, alive: Tensor | None = None) -> Tensor:
        """Return the penalty of each sample, exactly 0 where the target is ignored.

        Args:
            logits: `(*batch, K)` floating point, classes last; half precision is computed in
                float32. Classes of logit `-inf` take no part.
            target: of batch shape `(*batch)`.
            alive: `(*batch, K)` bool, False for further classes that take no part, or None.

        Returns:
            `(*batch)` in float32, float64 for float64 logits.

        Raises:
            ValueError: shapes do not fit.
        """
        checks.check_floating(logits, "logits")
        if logits.shape != (*target.batch_shape, target.num_classes):
            raise ValueError(
                f"`logits` must have shape {(*target.batch_shape, target.num_classes)} for this "
                f"target, classes last, got {tuple(logits.shape)}"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        living = logits != -torch.inf
        if alive is not None:
            living = living & alive
        counted = living.any(-1) & ~target.ignored()
        # Rows that do not count may hold anything; zeros keep NaN out of their gradient.
        logits = torch.where(counted.unsqueeze(-1), logits, 0)
        living = living | ~counted.unsqueeze(-1)
        result = self.values(logits.masked_fill(~living, -torch.inf), target, living)
        return torch.where(counted, result, 0)


def _check_size(value: float, name: str) -> float:
    if isinstance(value, Schedule):
        raise TypeError(
            f"`{name}` must be a number, got a Schedule; what changes in training is the weight, "
            "`weight=schedule`"
        )
    return checks.check_fraction(value, name, 0.0, float("inf"))


def _checked_weight(weight: float | Schedule, name: str = "weight") -> float | Schedule:
    return check_scheduled(weight, lambda value: _check_size(value, name))


def _gap(logits: Tensor, top: Tensor, alive: Tensor) -> Tensor:
    """How far each living class lies below `top`; 0 for the others."""
    return top.unsqueeze(-1) - torch.where(alive, logits, top.unsqueeze(-1))


@final
class MarginPenalty(AbstractPenalty):
    r"""Margin-based label smoothing (MbLS): distances to the largest logit beyond a margin.

        R = weight * mean_k relu(max_j z_j - z_k - margin)

    Args:
        margin: the distance that costs nothing, >= 0, in units of the logits.
        weight: >= 0, or a `Schedule`.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0]), 4)
        >>> st.MarginPenalty(margin=10)(torch.tensor([[12.0, 0.0, -2.0, 3.0]]), target)
        tensor([0.1500])

    References:
        Liu et al., "The Devil is in the Margin: Margin-based Label Smoothing for Network
        Calibration", 2022.
    """

    def __init__(self, margin: float = 10.0, weight: float | Schedule = 0.1) -> None:
        super().__init__()
        self.margin = _check_size(margin, "margin")
        self.weight = _checked_weight(weight)

    def values(self, logits: Tensor, target: Target, alive: Tensor) -> Tensor:
        excess = (_gap(logits, logits.amax(-1), alive) - self.margin).relu()
        return current(self.weight, logits) * excess.sum(-1) / alive.sum(-1)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"margin={self.margin:g}, weight={shown(self.weight)}"


@final
class ConfidencePenalty(AbstractPenalty):
    r"""The confidence penalty: entropy of the prediction is rewarded, or its lack is punished.

        R = -weight * H(p)                        without a threshold; at least -weight * log K
        R = weight * max(0, threshold - H(p))     with one

    Args:
        weight: beta, >= 0, or a `Schedule`.
        threshold: Gamma in nats, >= 0: predictions of at least this entropy cost nothing.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0]), 2)
        >>> st.ConfidencePenalty(0.1)(torch.zeros(1, 2), target)
        tensor([-0.0693])

    References:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output
        Distributions", 2017.
    """

    def __init__(self, weight: float | Schedule = 0.1, threshold: float | None = None) -> None:
        super().__init__()
        self.weight = _checked_weight(weight)
        self.threshold = None if threshold is None else _check_size(threshold, "threshold")

    def values(self, logits: Tensor, target: Target, alive: Tensor) -> Tensor:
        log_probs = torch.log_softmax(logits, -1)
        entropy = -(log_probs.exp() * log_probs.masked_fill(~alive, 0)).sum(-1)
        if self.threshold is None:
            return -current(self.weight, logits) * entropy
        return current(self.weight, logits) * (self.threshold - entropy).relu()

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        threshold = "" if self.threshold is None else f", threshold={self.threshold:g}"
        return f"weight={shown(self.weight)}{threshold}"


@final
class ZipfPenalty(AbstractPenalty):
    r"""Zipf's label smoothing: the classes beside the label should follow a power law.

        R = weight * sum_{k != y} pi_k log(pi_k / p'_k)
        pi_k ~ rank_k^-exponent        p' = softmax(z) over the classes k != y

    The ranks are those of the model's own logits among the classes beside the label, 1 for the
    largest, and get no gradient. Of mixed labels every one is left out.

    Args:
        weight: >= 0, or a `Schedule`.
        exponent: of the power law, >= 0; 0 is uniform.

    Raises:
        TypeError: the target is no label or mix of labels.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0]), 3)
        >>> st.ZipfPenalty(1.0)(torch.tensor([[5.0, 2.0, 1.0]]), target)
        tensor([0.0101])

    References:
        Liang et al., "Efficient One Pass Self-distillation with Zipf's Label Smoothing", 2022;
        its ranking by logits. It also ranks by the votes of a dense feature map, which a loss
        does not see.
    """

    def __init__(self, weight: float | Schedule = 0.1, exponent: float = 1.0) -> None:
        super().__init__()
        self.weight = _checked_weight(weight)
        self.exponent = _check_size(exponent, "exponent")

    def values(self, logits: Tensor, target: Target, alive: Tensor) -> Tensor:
        others = alive & ~_labelled(target)
        none = ~others.any(-1, keepdim=True)
        logits = torch.where(none, 0, logits.masked_fill(~others, -torch.inf))
        order = logits.detach().argsort(dim=-1, descending=True, stable=True)
        ranks = order.argsort(-1).to(logits.dtype) + 1
        law = ranks.pow(-self.exponent) * (others | none)
        law = law / law.sum(-1, keepdim=True)
        log_probs = torch.log_softmax(logits, -1).masked_fill(~(others | none), 0)
        divergence = (torch.special.xlogy(law, law) - law * log_probs).sum(-1)
        return current(self.weight, logits) * torch.where(none.squeeze(-1), 0, divergence)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"weight={shown(self.weight)}, exponent={self.exponent:g}"


def _labelled(target: Target) -> Tensor:
    """Return `(*batch, K)` bool, True for the annotated classes."""
    given = target.given
    if given.others:
        raise TypeError(
            "`target` must be labels or mixed labels for ZipfPenalty, which ranks the classes "
            "beside the label, got one with probabilities or further terms; use "
            "`Target.from_labels` and `Target.mix`"
        )
    entries = given.entries
    hits = torch.zeros(
        (*given.batch_shape, given.num_classes), dtype=entries.weights.dtype, device=given.device
    )
    return hits.scatter_add(-1, entries.classes, (entries.weights != 0).to(hits.dtype)) > 0


@final
class ACLSPenalty(AbstractPenalty):
    r"""Adaptive and conditional label smoothing (ACLS), squared hinges on both ends.

        R = weight * ( top_weight  * relu(z_max - margin)^2
                     + rest_weight * mean_{k != max} relu(sg(z_max) - z_k - margin)^2 )

    `sg` stops the gradient: the second term lifts the small logits and leaves the largest alone.

    Args:
        margin: >= 0, in units of the logits.
        weight: of both terms, >= 0, or a `Schedule`.
        top_weight: lambda_1, >= 0, or a `Schedule`.
        rest_weight: lambda_2, >= 0, or a `Schedule`.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0]), 3)
        >>> st.ACLSPenalty()(torch.tensor([[11.0, 0.0, 2.0]]), target)
        tensor([0.1050])

    References:
        Park et al., "ACLS: Adaptive and Conditional Label Smoothing for Network Calibration",
        2023.
    """

    def __init__(
        self,
        margin: float = 10.0,
        weight: float | Schedule = 0.1,
        *,
        top_weight: float | Schedule = 1.0,
        rest_weight: float | Schedule = 0.1,
    ) -> None:
        super().__init__()
        self.margin = _check_size(margin, "margin")
        self.weight = _checked_weight(weight)
        self.top_weight = _checked_weight(top_weight, "top_weight")
        self.rest_weight = _checked_weight(rest_weight, "rest_weight")

    def values(self, logits: Tensor, target: Target, alive: Tensor) -> Tensor:
        top = logits.amax(-1)
        high = (top - self.margin).relu().square()
        # The largest logit has distance 0, which no margin lets through.
        low = (_gap(logits, top.detach(), alive) - self.margin).relu().square().sum(-1)
        low = low / (alive.sum(-1) - 1).clamp(min=1)
        both = current(self.top_weight, logits) * high + current(self.rest_weight, logits) * low
        return current(self.weight, logits) * both

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return (
            f"margin={self.margin:g}, weight={shown(self.weight)}, "
            f"top_weight={shown(self.top_weight)}, rest_weight={shown(self.rest_weight)}"
        )


def check_penalty(penalty: object) -> None:
    """Raise unless `penalty` is None or a penalty."""
    if not (penalty is None or isinstance(penalty, AbstractPenalty)):
        raise TypeError(
            "`penalty` must be None or a penalty such as `MarginPenalty()`, got "
            f"{type(penalty).__name__}"
        )
