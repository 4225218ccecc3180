"""Pair noise: a class is taken for the next one. Two numbers, never K x K."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softtargets.transition.base import (
    AbstractTransition,
    check_flips,
    log_add,
    log_of,
    masked,
    with_spread,
)


@final
@dataclass(frozen=True, slots=True)
class PairTransition(AbstractTransition):
    r"""Noise that replaces label i, with probability `rate`, by i + 1 (and K - 1 by 0).

        T = (1 - rate) I + rate P                        P[i, (i + 1) mod K] = 1

    Args:
        rate: probability of a flip, in [0, 1].
        num_classes: K, at least 2.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> noise = st.noise.PairTransition(0.2, 3)
        >>> noise.apply(torch.tensor([1.0, 0.0, 0.0]))
        tensor([0.8000, 0.2000, 0.0000])
        >>> round(noise.condition(), 3)
        1.387

    References:
        Han et al., "Co-teaching", 2018, section 4 (pair flipping).
    """

    rate: float
    num_classes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_flips(self.rate, self.num_classes))

    def dense(self) -> Tensor:
        identity = torch.eye(self.num_classes, dtype=torch.float64)
        return (1 - self.rate) * identity + self.rate * identity.roll(1, -1)

    def apply(self, probs: Tensor) -> Tensor:
        probs = self._checked(probs)
        return (1 - self.rate) * probs + self.rate * probs.roll(1, -1)

    def solve(self, probs: Tensor) -> Tensor:
        self.check_invertible()
        probs = self._checked(probs)
        # T is circulant: the transform of a row of it divides that of the result.
        spectrum = torch.fft.rfft(probs) / torch.fft.rfft(self._column().to(probs))
        solved: Tensor = torch.fft.irfft(spectrum, n=self.num_classes)
        return solved

    def _column(self) -> Tensor:
        column = torch.zeros(self.num_classes, dtype=torch.float64)
        column[0], column[1] = 1 - self.rate, self.rate
        return column

    def singular_values(self) -> Tensor:
        spectrum: Tensor = torch.fft.fft(self._column())
        return spectrum.abs()

    def label_logits(self, logits: Tensor, labels: Tensor, partition: Tensor) -> Tensor:
        pairs = torch.stack([labels, (labels - 1) % self.num_classes], -1)
        own, before = logits.gather(-1, pairs).unbind(-1)
        return log_add(own + log_of(1 - self.rate), before + log_of(self.rate))

    def noisy_logits(self, logits: Tensor, alive: Tensor | None = None) -> Tensor:
        stay, move = log_of(1 - self.rate), log_of(self.rate)
        if alive is None:
            return log_add(logits + stay, logits.roll(1, -1) + move)
        # Where the next class is dead all mass stays, or is spread if none may stay.
        moving = alive & alive.roll(-1, -1)
        staying = torch.where(moving, logits + stay, logits if self.rate < 1 else -torch.inf)
        moved = torch.where(moving, logits + move, -torch.inf).roll(1, -1)
        noisy = masked(log_add(staying, moved), alive)
        return with_spread(noisy, logits, alive & ~moving, alive) if self.rate == 1 else noisy
