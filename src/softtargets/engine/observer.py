"""What a policy that learns from the model is shown while the loss is computed."""

from typing import Protocol

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
