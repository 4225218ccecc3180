"""How much a difference of two logits says about which sample it was computed for."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from softtargets.representation.checks import check_classes, check_finite, check_floating

_BLOCK_ELEMENTS = 2**20  # pairs of samples are compared in blocks of this many (8 MB in float64)


def logit_mutual_information(
    logits: Tensor | Iterable[Tensor], classes: Sequence[int] | Tensor
) -> float:
    """Mutual information of a sample and the difference of two of its logits, in nats.

    Each of the N samples is augmented L times; f_lx = z_a - z_b is the difference in draw l. Given
    the sample, f is taken as normal around the sample's mean with one variance for all. Each draw
    is judged by the means μ_x of the others, and the L estimates are averaged:

        μ_lx = mean of f_mx over draws m != l      σ² = mean over l, x of (f_lx - μ_lx)²
        Î = mean over l, x of  -(f_lx - μ_lx)² / 2σ² - log (1/N) Σ_x' exp(-(f_lx - μ_lx')² / 2σ²)

    Where the logits of each sample are its own, Î is log N; where the difference says only which
    of two equally large groups a sample is in, log 2; where it says nothing, 0. Î never exceeds
    log N; noise can take it a little below 0, and it is given as it is. Pass the same samples of
    the two classes for each model that is to be compared: Î depends on them and on the augmentation
    as much as on the model.

    Args:
        logits: `(L, N, K)`, floating point; or an iterable of L tensors `(N, K)`, each the same
            samples under a fresh draw, of which only N differences are kept. L is at least 2.
        classes: the two classes a and b.

    Returns:
        Î, computed in float64.

    Raises:
        ValueError: fewer than two draws or samples, shapes that do not fit, numbers that are not
            finite, classes that are not two different ones, or draws that do not differ at all.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> centres = torch.tensor([0.0, 100.0]).repeat(300)  # two groups, alike within
        >>> differences = centres + torch.randn(50, 600, generator=generator)
        >>> logits = torch.stack([differences, torch.zeros(50, 600)], -1)
        >>> round(logit_mutual_information(logits, (0, 1)), 2)  # log 2 is 0.69
        0.68

    References:
        Müller, Kornblith and Hinton, When Does Label Smoothing Help?, NeurIPS 2019, section 4.1.
        They take one fresh draw; that each draw is fresh once is ours.
    """
    differences = _differences(logits, classes)
    draws, samples = differences.shape
    if draws < 2 or samples < 2:
        raise ValueError(
            f"`logits` must be of at least two draws and two samples, got {draws} and {samples}; "
            "augment the same samples again"
        )
    means = (differences.sum(0) - differences) / (draws - 1)
    squares = (differences - means).square()
    if not bool(squares.any()):
        raise ValueError(
            "`logits` must differ from draw to draw, got the same each time; turn the augmentation "
            "on"
        )
    precision = 0.5 / squares.mean()
    size = max(1, _BLOCK_ELEMENTS // samples)
    total = -float((precision * squares).sum())
    for values, centres in zip(differences, means, strict=True):
        for part in values.split(size):
            exponents = -precision * (part[:, None] - centres).square()
            total -= float((exponents.logsumexp(-1) - math.log(samples)).sum())
    return total / differences.numel()


def _differences(logits: Tensor | Iterable[Tensor], classes: Sequence[int] | Tensor) -> Tensor:
    """`(L, N)`, float64: first class minus second."""
    if len(classes) != 2:
        raise ValueError(f"`classes` must be two classes, got {len(classes)}; compare pairs")
    first, second = check_classes(classes)
    if first == second:
        raise ValueError(f"`classes` must be two different classes, got {first} twice")
    if isinstance(logits, Tensor) and logits.ndim != 3:
        raise ValueError(
            f"`logits` must have shape (L, N, K), got {tuple(logits.shape)}; stack the draws first"
        )
    rows: list[Tensor] = []
    for draw in logits:
        check_floating(draw, "logits")
        if draw.ndim != 2 or draw.shape[1] <= max(first, second):
            raise ValueError(
                f"`logits` must have shape (N, K) in each draw, with K above {max(first, second)}, "
                f"got {tuple(draw.shape)}; pass the columns of both classes"
            )
        if rows and len(draw) != len(rows[0]):
            raise ValueError(
                f"`logits` must be of the same samples in each draw, got {len(draw)} after "
                f"{len(rows[0])}; do not drop or shuffle samples between draws"
            )
        pair = draw.detach()[:, [first, second]].double()
        check_finite(pair, "logits")
        rows.append(pair[:, 0] - pair[:, 1])
    return torch.stack(rows) if rows else torch.empty(0, 0)
