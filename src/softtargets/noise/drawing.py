"""Where flips are drawn: checked labels in, noisy labels out, the same for every kind of noise.

Only `torch.rand` in float64 and `torch.randint` are drawn, from a CPU generator: torch makes these
one after another, whatever the number of threads. `multinomial`, `bernoulli_` and `normal_` are
left alone: their streams depend on how torch was built, or on the shape.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets import checks


class NoisyLabels(NamedTuple):
    """Labels after noise, and what happened to them.

    Attributes:
        labels: int64, of the shape and on the device of the clean labels.
        flipped: bool, of the same shape, where the label differs from the clean one.
        transition: `(K, K)` float64, `transition[i, j]` = the share of class i that now reads j,
            as actually drawn; a class without labels has the identity's row.
    """

    labels: Tensor
    flipped: Tensor
    transition: Tensor


class Clean(NamedTuple):
    """Checked labels, flat and on the CPU.

    Attributes:
        labels: `(n,)` int64, ignored ones among them.
        counted: `(n,)` bool, False where ignored.
        num_classes: K.
        given: the labels as they came.
    """

    labels: Tensor
    counted: Tensor
    num_classes: int
    given: Tensor

    def look_up(self, table: Tensor) -> Tensor:
        """Return `table[label]` for each position; any row where ignored."""
        return table[torch.where(self.counted, self.labels, 0)]

    def positions(self) -> tuple[Tensor, ...]:
        """Return where the labels of each of the K classes stand, in order."""
        kept = self.counted.nonzero().squeeze(-1)
        classes = self.labels[kept]
        ends = classes.bincount(minlength=self.num_classes).cumsum(0)[:-1]
        return torch.tensor_split(kept[classes.argsort(stable=True)], ends)


def checked_rate(rate: float) -> float:
    """Return `rate` as a float in [0, 1], or raise."""
    return checks.check_fraction(rate, "rate", way_out="; it is the share of labels that flip")


def checked_labels(
    labels: Tensor, num_classes: int, generator: torch.Generator, ignore_index: int
) -> Clean:
    """Return `Clean`, or raise before anything is drawn."""
    checks.check_labels_dtype(labels)
    checks.check_cpu_generator(generator)
    if 0 <= ignore_index < num_classes:
        raise ValueError(
            f"`ignore_index` must lie outside 0 .. {num_classes - 1} ({num_classes} classes), got "
            f"{ignore_index}, to which labels could flip; mark ignored labels with -100"
        )
    flat = labels.detach().long().cpu()
    counted = flat != ignore_index
    checks.check_labels_in_range(torch.where(counted, flat, 0), num_classes)
    return Clean(flat.flatten(), counted.flatten(), num_classes, labels)


def flip(
    clean: Clean,
    rates: list[float],
    destinations: Callable[[], Tensor],
    *,
    generator: torch.Generator,
    exact: bool,
    chances: Tensor | None = None,
) -> NoisyLabels:
    """Draw one number per position; those below the position's chance flip.

    Args:
        clean: the labels.
        rates: for each of the K classes, the share of its labels that flips.
        destinations: called once it is drawn who flips; `(n,)`, the class to which each position
            flips if it does.
        generator: on the CPU.
        exact: flip as many labels of a class as `rates` say, rounded: those that come first by
            the number drawn over the chance.
        chances: `(n,)` float64, where they differ within a class, with `rates` as their mean.

    Returns:
        `NoisyLabels`.
    """
    drawn = torch.rand(len(clean.labels), generator=generator, dtype=torch.float64)
    if chances is None:
        chances = clean.look_up(torch.tensor(rates, dtype=torch.float64))
    if exact:
        flipped = _first(drawn / chances, clean.positions(), rates)
    else:
        flipped = clean.counted & (drawn < chances)
    noisy = torch.where(flipped, destinations(), clean.labels)
    transition = _drawn_transition(clean, noisy)
    shape, device = clean.given.shape, clean.given.device
    return NoisyLabels(
        noisy.reshape(shape).to(device), flipped.reshape(shape).to(device), transition.to(device)
    )


def pick_by_class(
    clean: Clean, rows: Callable[[int, Tensor], Tensor], generator: torch.Generator
) -> Tensor:
    """Draw one number per position and return the class that it picks, `(n,)`; 0 where ignored.

    Args:
        clean: the labels.
        rows: called as `rows(own, positions)` once for each class, in order; what `pick` takes.
        generator: on the CPU.
    """
    drawn = torch.rand(len(clean.labels), generator=generator, dtype=torch.float64)
    chosen = torch.zeros_like(clean.labels)
    for own, positions in enumerate(clean.positions()):
        chosen[positions] = pick(rows(own, positions), drawn[positions])
    return chosen


def pick(cumulative: Tensor, drawn: Tensor) -> Tensor:
    """Return the class into whose part of a row each number in [0, 1) falls.

    Args:
        cumulative: `(K,)` or `(m, K)` float64, running sums of the classes' weights.
        drawn: `(m,)` float64.

    Returns:
        `(m,)` int64; never a class of weight 0, unless all are.
    """
    bounds = drawn * cumulative[..., -1]
    if cumulative.dim() == 1:
        return torch.searchsorted(cumulative, bounds, right=True)
    return torch.searchsorted(cumulative, bounds.unsqueeze(-1), right=True).squeeze(-1)


def rounded_shares(sizes: list[int], rates: list[float]) -> list[int]:
    """Return how many labels of each class flip, if the total is to be the rounded sum.

    A class has its share `rate * size` rounded down; the classes with the largest remainders get
    one more each, the lower class first where they are equal, until the total is Python's `round`
    of the sum of the shares.
    """
    shares = [Fraction(rate) * size for rate, size in zip(rates, sizes, strict=True)]
    counts = [int(share) for share in shares]
    missing = round(float(sum(shares))) - sum(counts)
    by_remainder = sorted(range(len(shares)), key=lambda index: counts[index] - shares[index])
    for index in by_remainder[:missing]:
        counts[index] += 1
    return counts


def _first(order: Tensor, positions: tuple[Tensor, ...], rates: list[float]) -> Tensor:
    """Return `(n,)` bool: of each class its rounded share, the positions smallest in `order`."""
    chosen = torch.zeros(len(order), dtype=torch.bool)
    counts = rounded_shares([len(own) for own in positions], rates)
    for own, count in zip(positions, counts, strict=True):
        chosen[own[order[own].argsort(stable=True)[:count]]] = True
    return chosen


def _drawn_transition(clean: Clean, noisy: Tensor) -> Tensor:
    """Count `NoisyLabels.transition`."""
    num_classes = clean.num_classes
    cells = (clean.labels * num_classes + noisy)[clean.counted]
    counts = torch.bincount(cells, minlength=num_classes**2)
    table = counts.reshape(num_classes, num_classes).double()
    totals = table.sum(-1, keepdim=True)
    identity = torch.eye(num_classes, dtype=torch.float64)
    return torch.where(totals > 0, table / totals.clamp(min=1), identity)
