"""How far a transition matrix is known: intervals by resampling, and support by class."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets import checks
from softtargets.noise.estimators import estimator, everyone, warn_of_few
from softtargets.noise.transition_checks import (
    Method,
    check_draws,
    check_evidence,
)

FEWEST = 10
_BLOCK_ELEMENTS = 2**22  # draws are made in blocks of this many numbers (32 MB in float64)


class TransitionEstimate(NamedTuple):
    """A transition matrix and how far it is known.

    Attributes:
        transition: `(K, K)` float64, the estimate from all samples.
        low: `(K, K)` float64, lower ends of the intervals, entry by entry.
        high: `(K, K)` float64, upper ends.
        support: `(K,)` int64, how many samples stand behind each row.
        too_few: `(K,)` bool, rows with a support below 10.
    """

    transition: Tensor
    low: Tensor
    high: Tensor
    support: Tensor
    too_few: Tensor


def bootstrap_transition(
    probs: Tensor,
    labels: Tensor | None = None,
    method: Method = "anchor",
    *,
    quantile: float | None = None,
    draws: int = 1000,
    level: float = 0.95,
    generator: torch.Generator,
    ignore_index: int = -100,
) -> TransitionEstimate:
    """Estimate a transition matrix with an interval for each entry, by resampling the samples.

    Every draw takes N samples with replacement and repeats the whole estimate, thresholds and
    anchors included; an interval lies between the (1 - level) / 2 and (1 + level) / 2 quantiles
    of the draws. A draw without a sample for a counted row keeps the row of all samples.

    The probabilities are the same in every draw. The interval therefore covers which samples there
    are, and not what the model has wrong: bias by a model that is not calibrated is not in it.
    For the largest probability (`quantile=None`) it is rough, as an extreme has no smooth
    bootstrap. A shrunk matrix has the interval `(1 - s) * low + s * I`, `(1 - s) * high + s * I`.

    The support of row i is the number of

    - `"anchor"` and `"dual"`: near anchors, samples with p_i(x) >= 0.9 p_i(x^i) whose most probable
      label is i; 0 where that of x^i is another one, as where a quantile reaches past the class;
    - `"confident"`: samples in the confident joint with clean class i.

    Below 10 a row is `too_few`: it and its interval rest on a handful of samples.

    Args:
        probs: `(N, K)`, as for `estimate_transition`.
        labels: `(N,)`, as for `estimate_transition`.
        method: `"anchor"`, `"confident"` or `"dual"`.
        quantile: as for `estimate_transition`.
        draws: number of resamples, enough for each tail to hold one.
        level: of the intervals, between 0 and 1.
        generator: on the CPU, so that the same seed gives the same intervals on every machine.
        ignore_index: samples with this label do not count.

    Returns:
        The `TransitionEstimate`, on the device of `probs`.

    Raises:
        TypeError: a wrong dtype.
        ValueError: as for `estimate_transition`; draws or level out of range; a generator that is
            not on the CPU.

    Warns:
        UserWarning: once for all classes that are `too_few`, naming them.

    Example:
        >>> import torch, softtargets as st
        >>> generator = torch.Generator().manual_seed(0)
        >>> clean = torch.arange(3).repeat(200)
        >>> noisy = st.noise.symmetric(clean, 0.3, 3, generator=generator).labels
        >>> probs = 0.9 * torch.eye(3)[clean] + 0.1 / 3
        >>> known = st.noise.bootstrap_transition(
        ...     probs, noisy, method="confident", generator=generator
        ... )
        >>> [[round(float(end[0, j]), 2) for end in known[:3]] for j in range(3)]
        [[0.73, 0.68, 0.8], [0.13, 0.08, 0.18], [0.14, 0.09, 0.18]]
        >>> known.support
        tensor([200, 200, 200])

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    check_draws(draws, level)
    checks.check_cpu_generator(generator)
    evidence = check_evidence(probs, labels, method, quantile, ignore_index)
    rows = estimator(evidence)
    drawn = (rows.of(picked) for picked in _resamples(evidence.probs, draws, generator))
    low, high = _interval(drawn, (draws - 1) * (1 - level) / 2, draws)
    support = rows.support()
    too_few = support < FEWEST
    warn_of_few(support, FEWEST)
    return TransitionEstimate(rows.of(everyone(evidence.probs))[0], low, high, support, too_few)


def _resamples(probs: Tensor, draws: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Blocks of `(b, N)` sample numbers, bounded by the size of `(b, N, K)`."""
    size = max(1, _BLOCK_ELEMENTS // probs.numel())
    for start in range(0, draws, size):
        shape = (min(size, draws - start), len(probs))
        yield torch.randint(len(probs), shape, generator=generator).to(probs.device)


def _interval(blocks: Iterator[Tensor], position: float, draws: int) -> tuple[Tensor, Tensor]:
    """The draws at `position` from either end, between two neighbours linearly.

    Only both tails are kept, so that memory does not grow with the number of draws.
    """
    before = int(position)
    kept = min(before + 2, draws)
    first = next(blocks)
    lowest, highest = _smallest(first, kept), -_smallest(-first, kept)
    for block in blocks:
        lowest = _smallest(torch.cat([lowest, block]), kept)
        highest = -_smallest(-torch.cat([highest, block]), kept)
    after = min(before + 1, kept - 1)
    low, high = (torch.lerp(t[before], t[after], position - before) for t in (lowest, highest))
    return low, high


def _smallest(values: Tensor, count: int) -> Tensor:
    """The `count` smallest of each entry in ascending order, all if there are fewer."""
    return values.topk(min(count, len(values)), dim=0, largest=False).values
