"""Proper scores and accuracy. The per-sample forms are shared with the bootstrap."""

from collections.abc import Callable

import torch
from torch import Tensor

from softtargets.calibration.samples import Samples


def accuracy(
    scores: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
) -> Tensor:
    """Share of samples whose highest score is at the label; of equal scores the first counts.

    Args:
        scores: `(N, K)`, or more dimensions, floating point without NaN: logits or
            probabilities, the order is used.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: shapes or labels do not fit, or a NaN.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[2.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1]))
        tensor(0.5000, dtype=torch.float64)
    """
    samples = Samples.of(scores, labels, "scores", class_dim=class_dim, ignore_index=ignore_index)
    return _mean(hits, samples)


def negative_log_likelihood(
    logits: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
) -> Tensor:
    """Mean of -log softmax(logits)[label], natural logarithm, in float64.

    Log-probabilities are logits too: pass `probs.log()` where only probabilities are at hand.

    Args:
        logits: `(N, K)`, or more dimensions, floating point; -inf masks a class.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, inf]; inf where a label is masked.

    Raises:
        ValueError: NaN, +inf, a row of -inf only, or shapes or labels that do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> negative_log_likelihood(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
        tensor(1.3863, dtype=torch.float64)
    """
    samples = Samples.of(logits, labels, "logits", class_dim=class_dim, ignore_index=ignore_index)
    return _mean(log_losses, samples)


def brier_score(
    probs: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
) -> Tensor:
    """Mean over samples of sum_k (P(k) - [label is k])^2, summed over classes.

    The range is [0, 2]. For two classes this is twice `binary_brier_score`, which looks at
    P(y = 1) alone.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 2].

    Raises:
        ValueError: `probs` are not distributions, or labels do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> brier_score(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0, 1]))
        tensor(0.2500, dtype=torch.float64)

    References:
        Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    return _mean(squared_errors, samples)


def hits(scores: Tensor, labels: Tensor) -> Tensor:
    """`(N,)` float64: 1 where the highest score is at the label."""
    return (scores.detach().argmax(-1) == labels).double()


def log_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """`(N,)` float64: -log softmax(logits) at the label."""
    return -_at(torch.log_softmax(logits.detach().double(), -1), labels)


def squared_errors(probs: Tensor, labels: Tensor) -> Tensor:
    """`(N,)` float64: squared distance of each row from the one-hot label."""
    errors = probs.detach().double().clone()
    errors[torch.arange(len(labels), device=labels.device), labels.long()] -= 1
    return errors.square().sum(-1)


def _mean(per_sample: Callable[[Tensor, Tensor], Tensor], samples: Samples) -> Tensor:
    total = torch.zeros((), dtype=torch.float64, device=samples.scores.device)
    for rows, labels in samples.row_blocks():
        total += per_sample(rows, labels).sum()
    return total / samples.num_samples


def _at(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
