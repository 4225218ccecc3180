"""Smoothing along space and time: a position's target takes part in its neighbours'."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target
from softtargets.terms import Entries

Offset = tuple[int, ...]

# An entry is a class and a weight, 12 bytes, and making it takes as much again; one of a full row
# has 4. Up to so many classes for each entry full rows are less memory.
DENSE_UP_TO = 6
# Positions that are blended at once, where the sums go into full rows.
BLOCK_POSITIONS = 2**18


@final
class SpatialSmoothing(AbstractSmoothing):
    r"""Spatially varying label smoothing (SVLS) of label maps and volumes.

        q_p = 1/2 t_p + 1/2 sum_{n != p} g_n t_n / sum_{n != p} g_n
        g_n = exp(-|n - p|^2 / (2 sigma^2))

    over the 3 x 3 (x 3) neighbourhood: pixels inside a region keep their label whole, those at a
    boundary share with what is beyond it. The position itself weighs as much as all its
    neighbours together.

    Beyond the border the nearest pixel is repeated. What an ignored neighbour would have given
    stays with the position's own label; ignored positions stay empty. Mixed labels give and take
    mixtures. The target holds 9 (27) classes per position whatever K is, or full rows where these
    are less memory.

    The first dimension is the batch, also of a single map. A volume without one, `(D, H, W)`,
    cannot be told from D maps and is taken as these. For sequences there is `TemporalSmoothing`.

    It needs the map whole. For `linear_cross_entropy`, which shows policies one chunk at a time,
    call the policy first and hand over the smoothed target.

    Args:
        sigma: the width of the Gaussian in pixels, > 0.

    Raises:
        TypeError: sigma is no number; the target is neither labels nor mixed labels.
        ValueError: sigma is not positive, or the batch shape is neither (N, H, W) nor (N, D, H, W).

    Example:
        >>> import torch, softtargets as st
        >>> labels = torch.tensor([[[0, 0, 1], [0, 0, 1], [0, 0, 1]]])
        >>> smoothed = st.SpatialSmoothing(sigma=1.0)(st.Target.from_labels(labels, 2))
        >>> smoothed.dense()[0, 1]
        tensor([[1.0000, 0.0000],
                [0.8278, 0.1722],
                [0.1722, 0.8278]])

    References:
        Islam and Glocker, "Spatially Varying Label Smoothing: Capturing Uncertainty from Expert
        Annotations", IPMI 2021.
    """

    needs_whole_batch = True

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = checks.check_positive(sigma, "sigma")

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "SpatialSmoothing")
        dims = len(target.batch_shape) - 1
        if dims not in (2, 3):
            raise ValueError(
                "`target` must have batch shape (N, H, W) or (N, D, H, W) for SpatialSmoothing, "
                f"got {tuple(target.batch_shape)}; give a single map a batch dimension with "
                "`labels.unsqueeze(0)`, and sequences to `TemporalSmoothing`"
            )
        offsets = [o for o in itertools.product((-1, 0, 1), repeat=dims) if any(o)]
        # Relative to the nearest neighbours, which a small sigma would round to 0 together.
        heights = [math.exp((1 - sum(map(abs, o))) / 2 / self.sigma / self.sigma) for o in offsets]
        shares = [0.5 * height / sum(heights) for height in heights]
        kernel = [_Neighbour(offset, share) for offset, share in zip(offsets, shares, strict=True)]
        return _blend(target, kernel, logits, repeat_border=True, policy="SpatialSmoothing")

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"sigma={self.sigma:g}"


@final
class TemporalSmoothing(AbstractSmoothing):
    r"""Smoothing of label sequences towards the labels before and after.

        q_t = (1 - rate) e[y_t] + rate * sum_d share_d (e[y_{t-d}] + e[y_{t+d}])
        share_d = ratio_d / (2 sum_d ratio_d)

    What a neighbour beyond either end or an ignored one would have given stays with the position's
    own label; ignored positions (padding) stay empty. Mixed labels give and take mixtures.

    It needs sequences whole. For `linear_cross_entropy`, which shows policies one chunk at a time,
    call the policy first and hand over the smoothed target.

    Args:
        rate: the share that goes to the neighbours, in [0, 1], or a `Schedule`.
        ratio: weights of the neighbours at distance 1, 2, ...; >= 0 and not all 0.

    Raises:
        TypeError: an argument is no number; the target is neither labels nor mixed labels.
        ValueError: an argument is out of range, or the batch shape is not (N, T).

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([[0, 1, 2, 3, 4]]), 5)
        >>> st.TemporalSmoothing(rate=0.1)(target).dense()[0, 2]
        tensor([0.0143, 0.0357, 0.9000, 0.0357, 0.0143])

    References:
        Chorowski and Jaitly, "Towards better decoding and language model integration in sequence
        to sequence models", 2016 (neighbourhood smoothing).
    """

    needs_whole_batch = True

    def __init__(self, rate: float | Schedule = 0.1, ratio: Sequence[float] = (5.0, 2.0)) -> None:
        super().__init__()
        self.rate: float | Schedule = check_scheduled(rate, checks.check_rate)
        checks.check_sequence(ratio, "ratio")
        self.ratio = tuple(
            checks.check_fraction(weight, "ratio", 0, float("inf")) for weight in ratio
        )
        if not sum(self.ratio) > 0:
            raise ValueError(
                f"`ratio` must hold a weight above 0, got {self.ratio}; for no smoothing pass "
                "`rate=0`"
            )

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "TemporalSmoothing")
        if len(target.batch_shape) != 2:
            raise ValueError(
                "`target` must have batch shape (N, T) for TemporalSmoothing, got "
                f"{tuple(target.batch_shape)}; give a single sequence a batch dimension with "
                "`labels.unsqueeze(0)`"
            )
        rate, total = current(self.rate, target.entries.weights), 2 * sum(self.ratio)
        kernel = [
            _Neighbour((sign * distance,), rate * (weight / total))
            for distance, weight in enumerate(self.ratio, 1)
            for sign in (-1, 1)
        ]
        return _blend(target, kernel, logits, repeat_border=False, policy="TemporalSmoothing")

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"rate={shown(self.rate)}, ratio={self.ratio}"


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """Where a neighbour is, counted from the position, and its share of the target."""

    offset: Offset
    share: Tensor | float


def _blend(
    target: Target,
    kernel: Sequence[_Neighbour],
    logits: Tensor | None,
    *,
    repeat_border: bool,
    policy: str,
) -> Target:
    """Return each position's target with its neighbours' mixed in, of its own mass."""
    if target.others:
        raise TypeError(
            f"`target` must be labels or mixed labels for {policy}, got one with probabilities or "
            "further terms; use `Target.from_labels` and `Target.mix`"
        )
    single = target.entries.classes.shape[-1] * (1 + len(kernel))
    if target.num_classes <= DENSE_UP_TO * single and not checks.traced():
        made = _as_rows(target, kernel, logits, repeat_border)
    else:
        parts = list(_parts(target.entries, kernel, repeat_border))
        classes = torch.cat([part.classes for part in parts], -1)
        weights = torch.cat([part.weights for part in parts], -1)
        made = replace(target, entries=Entries(classes, weights))
    return made.smoothed_from(target)


def _as_rows(
    target: Target, kernel: Sequence[_Neighbour], logits: Tensor | None, repeat_border: bool
) -> Target:
    """The blend as full rows in the order of the logits, summed a few maps at a time."""
    own = target.entries
    batch, *positions = target.batch_shape
    if logits is not None and logits.shape == (*target.batch_shape, target.num_classes):
        rows = torch.zeros_like(logits, dtype=target.dtype)
    else:
        # As `(N, K, d1, ...)`, which logits of maps are as a rule.
        rows = own.weights.new_zeros(batch, target.num_classes, *positions).movedim(1, -1)
    step = max(BLOCK_POSITIONS // max(math.prod(positions), 1), 1)
    for start in range(0, batch, step):
        key = slice(start, start + step)
        for part in _parts(own[key], kernel, repeat_border):
            rows[key].scatter_add_(-1, part.classes, part.weights)
    return Target.from_probs(rows)


def _parts(own: Entries, kernel: Sequence[_Neighbour], repeat_border: bool) -> Iterator[Entries]:
    """What each neighbour gives to the positions, and last what these keep."""
    mass = own.mass(None, None)
    kept = torch.ones_like(mass)
    for neighbour in kernel:
        there, inside = _shifted(own, neighbour.offset)
        their_mass = there.mass(None, None)
        gives = their_mass != 0
        if not repeat_border:
            gives = gives & inside
        share = torch.where(gives, neighbour.share, torch.zeros_like(mass))
        kept = kept - share
        # Called by name: torch.compile takes `entries * tensor` for an operation between tensors.
        yield there.__mul__(share * mass / torch.where(gives, their_mass, 1))
    yield own.__mul__(kept)


def _shifted(entries: Entries, offset: Offset) -> tuple[Entries, Tensor]:
    """The entries found at an offset, borders repeated, and whether it lies inside the map."""
    classes, weights = entries.classes, entries.weights
    inside = torch.ones(weights.shape[1:-1], dtype=torch.bool, device=weights.device)
    for dim, step in enumerate(offset, 1):
        if step == 0 or not weights.shape[dim]:
            continue
        size = weights.shape[dim]
        index = torch.arange(size, device=weights.device) + step
        nearest = index.clamp(0, size - 1)
        classes, weights = classes.index_select(dim, nearest), weights.index_select(dim, nearest)
        within = (index == nearest).reshape(-1, *[1] * (inside.dim() - dim))
        inside = inside & within
    return Entries(classes, weights), inside
