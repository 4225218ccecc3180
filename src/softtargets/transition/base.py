"""What corrections, injection and reports need of a transition matrix, whatever its structure."""

import math
import warnings
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from softtargets import checks

# Singular values below this share of the largest are zeros of float64 arithmetic.
SINGULAR = 1e-12
# From here on an error of one percent in an estimated row weighs like a whole label.
ILL_CONDITIONED = 100.0


class AbstractTransition(ABC):
    """A row-stochastic matrix `T[i, j] = P(noisy label j | clean label i)`."""

    __slots__ = ()

    num_classes: int

    @abstractmethod
    def dense(self) -> Tensor:
        """Return the `(K, K)` matrix in float64."""

    @abstractmethod
    def apply(self, probs: Tensor) -> Tensor:
        """Return `probs @ T`: the distribution of the noisy label.

        Args:
            probs: `(*batch, K)` floating point, classes last.

        Returns:
            Tensor of the same shape, in float32 or wider.

        Raises:
            TypeError: `probs` is not floating point.
            ValueError: another number of classes.
        """

    @abstractmethod
    def solve(self, probs: Tensor) -> Tensor:
        """Return `probs @ inverse(T)`; entries may be negative, sums stay.

        Args:
            probs: `(*batch, K)` floating point, classes last.

        Returns:
            Tensor of the same shape, in float32 or wider.

        Raises:
            TypeError: `probs` is not floating point.
            ValueError: another number of classes, or T is singular.

        Warns:
            UserWarning: T is nearly singular.
        """

    @abstractmethod
    def noisy_logits(self, logits: Tensor, alive: Tensor | None = None) -> Tensor:
        r"""Return `log(exp(z) @ T)`: logits of what the noise makes of `softmax(z)`.

        Computed in log space, so that no difference of logits is too large (but for a
        `DenseTransition` where T[j, j] is 0: a noisy j less likely than exp(-600) is impossible
        there). The rows of T are renormalised over living classes (and spread evenly over them if
        none of a row is left), so the `logsumexp` of the result is that of z.

        Args:
            logits: `(*batch, K)` float32 or float64, `-inf` where masked, with a living class in
                each row.
            alive: `(*batch, K)` bool, False where the logit is `-inf`; None if none is.

        Returns:
            Tensor of the same shape and dtype.
        """

    @abstractmethod
    def label_logits(self, logits: Tensor, labels: Tensor, partition: Tensor) -> Tensor:
        """Return the entries of `noisy_logits(logits)` at some labels, without the others.

        Args:
            logits: `(*batch, K)` float32 or float64, finite.
            labels: `(*batch)` int64.
            partition: `(*batch)`, the `logsumexp` of the logits.

        Returns:
            `(*batch)`.
        """

    @abstractmethod
    def singular_values(self) -> Tensor:
        """Return the singular values, each at least once, in float64."""

    @property
    def uniform_rate(self) -> float | None:
        """The a of `T = (1 - a) I + (a / K) 1 1'`, where T is held in this form."""
        return None

    @property
    def table(self) -> Tensor | None:
        """The matrix that is held in memory, for modules to register; None without one."""
        return None

    def holding(self, table: Tensor | None) -> "AbstractTransition":
        """Return this transition around a moved or restored `table`."""
        assert table is None
        return self

    def condition(self) -> float:
        """Return the condition number: largest by smallest singular value, inf if singular.

        Inverting T multiplies errors of estimated label frequencies by up to so much.
        """
        values = self.singular_values()
        largest, smallest = float(values.max()), float(values.min())
        return largest / smallest if smallest > SINGULAR * largest else float("inf")

    def inverse(self) -> Tensor:
        """Return the inverse, `(K, K)` float64, whose rows sum to 1.

        Raises:
            ValueError: T is singular.

        Warns:
            UserWarning: T is nearly singular.
        """
        self.check_invertible()
        return self.inverted()

    def inverted(self) -> Tensor:
        """Return what `inverse` does, without its checks."""
        rows: Tensor = torch.linalg.inv(self.dense())
        return rows / rows.sum(-1, keepdim=True)

    def check_invertible(self) -> float:
        """Return the condition number; raise for a singular matrix, warn of a nearly singular one.

        The warning points to the caller of the method that calls this.
        """
        condition = self.condition()
        if condition == math.inf:
            raise ValueError(
                "`transition` must be invertible, it is singular: the noise makes mixtures of "
                "clean classes indistinguishable; use `ForwardCorrection`, which needs no "
                "inverse, or an estimate shrunk towards the identity"
            )
        if condition > ILL_CONDITIONED:
            warnings.warn(
                f"`transition` is nearly singular, its condition number is {condition:.3g}: its "
                "inverse multiplies errors, and backward correction the noise of the gradient, by "
                "up to as much; use `ForwardCorrection`, or an estimate shrunk towards the "
                "identity",
                stacklevel=3,
            )
        return condition

    def _checked(self, probs: Tensor) -> Tensor:
        checks.check_floating(probs, "probs")
        if probs.dim() == 0 or probs.shape[-1] != self.num_classes:
            raise ValueError(
                f"`probs` must have {self.num_classes} classes in the last dimension, got shape "
                f"{tuple(probs.shape)}"
            )
        return probs.to(torch.promote_types(probs.dtype, torch.float32))


def masked(logits: Tensor, alive: Tensor | None) -> Tensor:
    """Return logits with `-inf` for dead classes."""
    return logits if alive is None else logits.masked_fill(~alive, -torch.inf)


def log_of(share: float) -> float:
    """Return the logarithm of a share, `-inf` for 0."""
    return math.log(share) if share > 0 else -math.inf


def log_add(left: Tensor, right: Tensor) -> Tensor:
    """Return `log(exp(left) + exp(right))`, every derivative finite, 0 where both are `-inf`.

    The second derivative of `torch.logaddexp` is NaN where the two are far apart.
    """
    top = torch.maximum(left, right).detach()
    top = torch.where(top == -torch.inf, 0, top)
    total = (left - top).exp() + (right - top).exp()
    nothing = total == 0
    return torch.where(nothing, -torch.inf, torch.where(nothing, 1, total).log() + top)


def with_spread(noisy: Tensor, logits: Tensor, lost: Tensor, alive: Tensor) -> Tensor:
    """Return the noisy logits with the lost classes' mass added evenly to the living ones.

    Args:
        noisy: `(*batch, K)`, without the lost classes.
        logits: `(*batch, K)`, before the noise.
        lost: `(*batch, K)` bool, living classes whose row of T has no living class.
        alive: `(*batch, K)` bool.
    """
    mass = log_total(torch.where(lost, logits, -torch.inf))
    count = alive.sum(-1, keepdim=True).to(mass.dtype)
    return log_add(noisy, torch.where(alive, mass - count.log(), -torch.inf))


def log_total(logits: Tensor) -> Tensor:
    """Return the `logsumexp` of each row, `(*batch, 1)`; where all is `-inf` its gradient is 0."""
    nothing = (logits == -torch.inf).all(-1, keepdim=True)
    total = torch.logsumexp(torch.where(nothing, 0, logits), -1, keepdim=True)
    return torch.where(nothing, -torch.inf, total)


def check_flips(rate: float, num_classes: int) -> float:
    """Return the rate of flips as a float in [0, 1] for at least two classes, or raise."""
    checks.check_two_classes(checks.check_num_classes(num_classes), "a transition")
    return checks.check_fraction(rate, "rate")
