"""The model's own logits, for policies whose targets depend on them."""

from torch import Tensor

from softtargets.target import Target


def own_logits(logits: Tensor | None, target: Target, policy: str) -> Tensor:
    """Return the model's own logits without a graph, or raise.

    Args:
        logits: `(*batch, K)` or None.
        target: what they must fit.
        policy: named in errors.

    Raises:
        TypeError: there are none.
        ValueError: another shape.
    """
    if logits is None:
        raise TypeError(
            f"`logits` must be given to {policy}, whose targets depend on them; use it in "
            "a criterion, or call it as `policy(target, logits)`"
        )
    expected = (*target.batch_shape, target.num_classes)
    if logits.shape != expected:
        raise ValueError(
            f"`logits` must have shape {expected} (classes last), got {tuple(logits.shape)}"
        )
    return logits.detach()
