"""Symmetric noise: every other class is as likely. Two numbers, never K x K."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.transition.base import (
    AbstractTransition,
    check_flips,
    log_add,
    log_of,
    log_total,
    masked,
)

# A probability that float32 holds with all its digits, and whose inverse it holds too.
SAFE = 1e-30


@final
@dataclass(frozen=True, slots=True)
class SymmetricTransition(AbstractTransition):
    r"""Noise that replaces a label, with probability `rate`, by any other class alike.

        T = (1 - a) I + (a / K) 1 1'                     a = rate * K / (K - 1)

    The same matrix smooths labels at the rate a.

    Args:
        rate: probability of a flip to another class, in [0, 1].
        num_classes: K, at least 2.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> noise = st.noise.SymmetricTransition(0.2, 3)
        >>> noise.dense()
        tensor([[0.8000, 0.1000, 0.1000],
                [0.1000, 0.8000, 0.1000],
                [0.1000, 0.1000, 0.8000]], dtype=torch.float64)
        >>> noise.apply(torch.tensor([1.0, 0.0, 0.0]))
        tensor([0.8000, 0.1000, 0.1000])

    References:
        Lukasik et al., "Does Label Smoothing Mitigate Label Noise?", 2020.
    """

    rate: float
    num_classes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_flips(self.rate, self.num_classes))

    @classmethod
    def from_smoothing(cls, rate: float, num_classes: int) -> "SymmetricTransition":
        """Return the noise whose matrix is that of label smoothing at `rate`.

        The inverse of `equivalent_smoothing`.

        Args:
            rate: in [0, K / (K - 1)]; above 1 the label itself is the rarest.
            num_classes: K, at least 2.
        """
        checks.check_two_classes(checks.check_num_classes(num_classes), "a transition")
        most = num_classes / (num_classes - 1)
        way_out = "; at K / (K - 1) every label flips"
        return cls(checks.check_fraction(rate, "rate", 0.0, most, way_out) / most, num_classes)

    @property
    def uniform_rate(self) -> float:
        """The a of the formula: the rate of the equivalent label smoothing."""
        return self.rate * self.num_classes / (self.num_classes - 1)

    def dense(self) -> Tensor:
        off = self.rate / (self.num_classes - 1)
        matrix = torch.full((self.num_classes, self.num_classes), off, dtype=torch.float64)
        matrix.fill_diagonal_(1 - self.rate)
        return matrix

    def apply(self, probs: Tensor) -> Tensor:
        return self._mixed(self._checked(probs), self.uniform_rate)

    def solve(self, probs: Tensor) -> Tensor:
        self.check_invertible()
        return self._mixed(self._checked(probs), -self.uniform_rate / (1 - self.uniform_rate))

    def _mixed(self, probs: Tensor, share: float) -> Tensor:
        return (1 - share) * probs + (share / self.num_classes) * probs.sum(-1, keepdim=True)

    def singular_values(self) -> Tensor:
        return torch.tensor([1.0, abs(1 - self.uniform_rate)], dtype=torch.float64)

    def label_logits(self, logits: Tensor, labels: Tensor, partition: Tensor) -> Tensor:
        if self.uniform_rate > 1:
            noisy = self.noisy_logits(logits)
            return noisy.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        own = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        spread = partition + log_of(self.uniform_rate / self.num_classes)
        return log_add(own + log_of(1 - self.uniform_rate), spread)

    def noisy_logits(self, logits: Tensor, alive: Tensor | None = None) -> Tensor:
        partition = torch.logsumexp(logits, -1, keepdim=True)
        share = self.uniform_rate
        if share <= 1:
            kept, spread = 1 - share, share / self.num_classes
        else:
            # The other classes alone, or the sum would be a difference.
            kept, spread = 1 - self.rate, self.rate / (self.num_classes - 1)
            partition = _of_others(logits, partition)
        if share <= 1 and spread > SAFE:
            # Nothing is near 0, and this is several times faster than a sum of logarithms.
            noisy = torch.log(kept * torch.softmax(logits, -1) + spread) + partition
        else:
            noisy = log_add(logits + log_of(kept), partition + log_of(spread))
        if alive is None:
            return noisy
        others = alive.sum(-1, keepdim=True).to(logits.dtype) - 1
        left = 1 - self.rate + self.rate * others / (self.num_classes - 1)
        # Nothing is left where one class lives and every label is another: it keeps its own.
        noisy = noisy - torch.where(left > 0, left, 1).log()
        return masked(torch.where(left > 0, noisy, logits), alive)


def _of_others(logits: Tensor, partition: Tensor) -> Tensor:
    """Return `log sum_{j != k} exp(z_j)` for each k."""
    top = logits.argmax(-1, keepdim=True)
    without = log_total(logits.scatter(-1, top, -torch.inf))
    # Below one half the difference from 1 is exact; the largest is summed without itself.
    share = (logits - partition).exp().scatter(-1, top, 0.0)
    return (partition + torch.log1p(-share)).scatter(-1, top, without)
