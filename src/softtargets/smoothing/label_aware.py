"""Label-aware smoothing: frequent classes are smoothed more than rare ones."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.per_class import blend_by_class
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target


@final
class LabelAwareSmoothing(AbstractSmoothing):
    r"""Label smoothing for long-tailed data, with a rate for each class by its frequency.

        q      = (1 - rate_y) * e_y + rate_y / K
        rate_y = tail + (head - tail) * sin(pi (N_y - N_min) / (2 (N_max - N_min)))

    The most frequent class has the rate `head`, the rarest `tail`. Where all classes are equally
    frequent there is no tail: every rate is `head`. Mixed labels: each label its own rate.

    Args:
        class_counts: `(K,)` N, the training samples of each class, >= 0; a tensor or a sequence.
        head: the rate of the most frequent class, in [0, 1], or a `Schedule`.
        tail: the rate of the rarest class, in [0, 1], or a `Schedule`.

    Attributes:
        class_counts: `(K,)` buffer of int64, which no cast rounds; counts that are no integers are
            kept as shares of the largest one, for no rate depends on more.

    Raises:
        TypeError: counts or rates are no numbers; the target has other terms than labels, mixed
            labels or rows of probabilities.
        ValueError: a count or rate is out of range, or the number of classes differs.

    Example:
        >>> import torch, softtargets as st
        >>> policy = st.LabelAwareSmoothing([500, 200, 20], head=0.4, tail=0.1)
        >>> policy.rates()
        tensor([0.4000, 0.2667, 0.1000])

    References:
        Zhong et al., "Improving Calibration for Long-Tailed Recognition" (MiSLAS), CVPR 2021.
    """

    class_counts: Tensor

    def __init__(
        self,
        class_counts: Tensor | Sequence[float],
        head: float | Schedule,
        tail: float | Schedule,
    ) -> None:
        super().__init__()
        counts = torch.as_tensor(class_counts).detach().clone()
        if counts.dtype == torch.bool or counts.is_complex():
            raise TypeError(f"`class_counts` must hold numbers, got {counts.dtype}")
        if counts.dim() != 1 or not len(counts):
            raise ValueError(
                f"`class_counts` must have shape (K,), one count per class, got "
                f"{tuple(counts.shape)}; count labels with `torch.bincount`"
            )
        wrong = ~((counts >= 0) & (counts < torch.inf))
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"`class_counts` must be finite and >= 0, got {counts[row].item()} for class {row};"
                " count labels with `torch.bincount`"
            )
        self.head = _checked(head, "head")
        self.tail = _checked(tail, "tail")
        self.register_buffer("class_counts", _castable(counts))

    def rates(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the `(K,)` rates of the classes as they are now.

        Args:
            dtype: of the result.
        """
        return self._rates(self.class_counts.new_empty((), dtype=dtype))

    def _rates(self, like: Tensor) -> Tensor:
        counts = self.class_counts.to(like)
        least, most = counts.aminmax()
        share = (counts - least) / torch.where(most == least, 1, most - least)
        share = torch.where(most == least, 1, share)
        head, tail = current(self.head, like), current(self.tail, like)
        return tail + (head - tail) * torch.sin(share * (torch.pi / 2))

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "LabelAwareSmoothing")
        return blend_by_class(
            target, self._rates(target.entries.weights), None, "LabelAwareSmoothing"
        )

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return (
            f"class_counts=({len(self.class_counts)},), head={shown(self.head)}, "
            f"tail={shown(self.tail)}"
        )


def _castable(counts: Tensor) -> Tensor:
    """Return the counts so that `.half()` of the module overflows none of them."""
    most = counts.max()
    if not counts.is_floating_point():
        return counts.long()
    if bool((counts == counts.round()).all()) and most < 2**53:
        return counts.long()
    return counts / most


def _checked(rate: float | Schedule, name: str) -> float | Schedule:
    return check_scheduled(rate, lambda value: checks.check_rate(value, name=name))
