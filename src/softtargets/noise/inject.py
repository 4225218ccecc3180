"""Injecting label noise with a local generator."""

from typing import NamedTuple

import torch
from torch import Tensor

from softtargets import checks


class NoisyLabels(NamedTuple):
    """Labels after noise, and what happened to them.

    Attributes:
        labels: `(N,)` int64.
        flipped: `(N,)` bool, where the label differs from the clean one.
        transition: `(K, K)` float64, `transition[i, j]` = the share of class i that now reads j,
            as actually drawn; a class without labels has the identity's row.
    """

    labels: Tensor
    flipped: Tensor
    transition: Tensor


def symmetric(
    labels: Tensor,
    rate: float,
    num_classes: int,
    *,
    generator: torch.Generator,
    ignore_index: int = -100,
) -> NoisyLabels:
    """Flip each label with probability `rate` to one of the other classes, all equally likely.

    Args:
        labels: `(N,)` integers in 0 .. K-1, or `ignore_index`.
        rate: probability of a flip, in [0, 1].
        num_classes: K, at least 2.
        generator: on the CPU, so that the same seed gives the same flips on every machine.
        ignore_index: labels that stay as they are.

    Returns:
        `NoisyLabels`, on the device of `labels`.

    Raises:
        TypeError: `labels` does not hold integers.
        ValueError: rate or labels out of range, fewer than 2 classes, a generator not on the CPU.

    Example:
        >>> import torch, softtargets as st
        >>> labels = torch.arange(4).repeat(50)
        >>> noisy = st.noise.symmetric(labels, 0.4, 4, generator=torch.Generator().manual_seed(0))
        >>> round(noisy.flipped.float().mean().item(), 2)
        0.39

    References:
        Natarajan et al., "Learning with Noisy Labels", 2013.
    """
    checks.check_labels_dtype(labels)
    checks.check_two_classes(checks.check_num_classes(num_classes), "noise")
    rate = checks.check_fraction(rate, "rate")
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator, got {type(generator).__name__}; make one with "
            "`torch.Generator().manual_seed(seed)`"
        )
    if generator.device.type != "cpu":
        raise ValueError(f"`generator` must be on the CPU, got {generator.device}")
    clean = labels.long().cpu()
    counted = clean != ignore_index
    checks.check_labels_in_range(torch.where(counted, clean, 0), num_classes)
    chosen = torch.rand(clean.shape, generator=generator, dtype=torch.float64) < rate
    offset = torch.randint(1, num_classes, clean.shape, generator=generator)
    flipped = chosen & counted
    noisy = torch.where(flipped, (clean + offset) % num_classes, clean)
    transition = _drawn_transition(clean[counted], noisy[counted], num_classes)
    device = labels.device
    return NoisyLabels(noisy.to(device), flipped.to(device), transition.to(device))


def _drawn_transition(clean: Tensor, noisy: Tensor, num_classes: int) -> Tensor:
    counts = torch.bincount(clean * num_classes + noisy, minlength=num_classes**2)
    table = counts.reshape(num_classes, num_classes).double()
    totals = table.sum(-1, keepdim=True)
    identity = torch.eye(num_classes, dtype=torch.float64)
    return torch.where(totals > 0, table / totals.clamp(min=1), identity)
