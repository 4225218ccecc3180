"""What a policy that learns from the model is shown while the loss is computed."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


class Observer(Protocol):
    """Called once for each block of logits, in the forward pass, with what the loss has of it."""

    def __call__(self, key: tuple[slice, ...], logits: Tensor, probs: Tensor) -> None:
        """Look at a block; neither tensor may be changed or kept.

        Args:
            key: the block's selection of the batch, `()` for all of it.
            logits: `(*block, K)` float32 or float64, classes last, `-inf` where masked.
            probs: `softmax(logits)`, of the same shape; not finite in rows without a living class.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Where a kernel that computes a softmax anyway adds it up by label.

    A sample teaches if its label is one of the K classes, its softmax is finite and, with
    `correct_only`, no class has a larger logit than its label, nor an equal one before it.

    Attributes:
        labels: `(*batch)` int64, the label whose sums a sample adds to; -1 for a sample that
            must not teach.
        sums: `(K, K)` float32 or float64, contiguous; row y gets `softmax(logits)` of each sample
            of label y that teaches.
        counts: `(K)` of the same dtype, contiguous; gets 1 for each.
        correct_only: whether only right predictions teach.
    """

    labels: Tensor
    sums: Tensor
    counts: Tensor
    correct_only: bool


@runtime_checkable
class SummingObserver(Observer, Protocol):
    """An observer that only adds up softmax rows by label, which a kernel can do for it."""

    def statistics(self, logits: Tensor) -> Statistics | None:
        """Return where to add instead of calling the observer, or None to be called.

        Args:
            logits: `(*batch, K)`, all of the call's.
        """


def statistics_of(observer: Observer | None, logits: Tensor) -> Statistics | None:
    """Return where a kernel may add for the observer; None if it is to be called, or is None."""
    return observer.statistics(logits) if isinstance(observer, SummingObserver) else None
