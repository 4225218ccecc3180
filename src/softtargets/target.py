"""`Target`: a target distribution with structure, closed under linear combination.

    q = sum_j w_j e[c_j]  +  sum_r v_r R_r[k_r]  +  (u / K) 1  +  sum_d s_d D_d

A loss needs two things of it, its mass and its inner product with the logits, so nothing of size
N x K is built unless the user brought it. Papers are constructors; the arithmetic of the terms
(`softtargets.terms`) exists once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from softtargets import arithmetic, checks
from softtargets.batching import batch_index, per_sample
from softtargets.combination import AbstractCombination
from softtargets.terms import (
    AbstractTerm,
    DenseRows,
    Entries,
    TableRows,
    Uniform,
    joined,
    no_entries,
)

Factor = Tensor | float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Target(AbstractCombination):
    r"""A batch of targets over `num_classes` classes; batch dimensions lead.

    Use the constructors `from_labels`, `from_probs` and `from_top_k`; combine with `smooth`, `mix`,
    `+`, `-` and `*`; `dense()` is the `(*batch, K)` tensor it stands for.

    Attributes:
        num_classes: K.
        entries: the single classes of each sample and their weights, `(*batch, J)` each.
        others: table rows, uniform mass and dense rows.
        smoothed: whether smoothing was applied; it is applied once.

    Example:
        >>> import torch, softtargets as st
        >>> t = st.Target.from_labels(torch.tensor([0, 2]), 4).smooth(0.1)
        >>> t.dense()
        tensor([[0.9250, 0.0250, 0.0250, 0.0250],
                [0.0250, 0.0250, 0.9250, 0.0250]])
    """

    num_classes: int
    entries: Entries
    others: tuple[AbstractTerm, ...] = ()
    smoothed: bool = False
    origin: "Target | None" = None

    @classmethod
    def from_labels(
        cls,
        labels: Tensor,
        num_classes: int,
        ignore_index: int = -100,
        *,
        dtype: torch.dtype = torch.float32,
        validate: bool | None = None,
    ) -> Self:
        """Return one-hot targets, one entry of weight 1 per label.

        Args:
            labels: `(*batch)` integers in 0 .. K-1, or `ignore_index`.
            num_classes: K.
            ignore_index: label value whose positions get mass 0.
            dtype: of the weights, float32 or float64.
            validate: check the range of the labels; None means where it costs no GPU wait.

        Returns:
            Target of batch shape `labels.shape`.

        Raises:
            TypeError: `labels` does not hold integers.
            ValueError: a label is out of range.
        """
        checks.check_num_classes(num_classes)
        checks.check_labels_dtype(labels)
        checks.check_weights_dtype(dtype)
        # Widened first: -100 compared with uint8 labels would wrap around to 156.
        labels, ignore_index = labels.long(), checks.check_integer(ignore_index, "ignore_index")
        counted = labels != ignore_index
        classes = labels * counted
        if checks.should_validate(validate, labels):
            checks.check_labels_in_range(classes, num_classes)
        entries = Entries(classes.unsqueeze(-1), counted.to(dtype).unsqueeze(-1))
        return cls(num_classes=num_classes, entries=entries)

    @classmethod
    def from_probs(
        cls,
        probs: Tensor,
        smoothed: bool = False,
        *,
        dtype: torch.dtype | None = None,
        validate: bool | None = False,
    ) -> Self:
        """Return targets given as full rows; the rows are kept as they are, not copied.

        Args:
            probs: `(*batch, K)` floating point, classes last; an all-zero row is ignored.
            smoothed: whether the rows are smoothed already, so that nobody does it again.
            dtype: of the computation, float32 or float64; None follows `probs`.
            validate: check that the rows are distributions.

        Returns:
            Target of batch shape `probs.shape[:-1]`.

        Raises:
            TypeError: `probs` is not floating point.
            ValueError: `probs` has no dimension, or `validate` finds a row that is no distribution.
        """
        if isinstance(probs, Tensor) and probs.dtype == torch.bool:
            checks.check_floating(probs, "probs")
        checks.check_floating(probs, "probs", "; for integer labels use `Target.from_labels`")
        if probs.dim() == 0:
            raise ValueError("`probs` must have shape (*batch, K), got a scalar")
        if checks.should_validate(validate, probs):
            checks.check_probs(probs)
        dtype = dtype or torch.promote_types(probs.dtype, torch.float32)
        checks.check_weights_dtype(dtype)
        ones = torch.ones((), dtype=dtype, device=probs.device).expand(probs.shape[:-1])
        return cls(
            num_classes=checks.check_num_classes(probs.shape[-1]),
            entries=no_entries(ones),
            others=(DenseRows(probs, ones),),
            smoothed=checks.check_bool(smoothed, "smoothed"),
        )

    @classmethod
    def from_top_k(
        cls,
        indices: Tensor,
        weights: Tensor,
        num_classes: int,
        rest: Literal["uniform", "none"] = "uniform",
    ) -> Self:
        """Return targets given by their k largest entries, as a teacher's top-k.

        Args:
            indices: `(*batch, k)` integers in 0 .. K-1, distinct within a row.
            weights: `(*batch, k)` floating point, the entries of q at `indices`.
            num_classes: K.
            rest: `"uniform"` spreads 1 - sum(weights) evenly over the other K - k classes, and
                divides by a sum that rounding lifted above 1; `"none"` leaves it out.

        Returns:
            Target of batch shape `indices.shape[:-1]`.

        Raises:
            TypeError: `indices` does not hold integers or `weights` no floats.
            ValueError: shapes differ, k > K, an index is out of range or repeated, a weight is
                negative or not finite (in a row that is not all NaN, as padding may be), the
                weights of a row sum to more than 1 (to less, if k = K) with `rest="uniform"`, or
                `rest` is unknown.
        """
        checks.check_num_classes(num_classes)
        checks.check_top_k(indices, weights, num_classes)
        if rest not in ("uniform", "none"):
            raise ValueError(f'`rest` must be "uniform" or "none", got {rest!r}')
        if checks.readable(indices):
            checks.check_labels_in_range(indices, num_classes, "indices")
            whole = indices.shape[-1] == num_classes
            checks.check_top_k_values(indices, weights, rest == "uniform", whole)
        weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
        others: tuple[AbstractTerm, ...] = ()
        if rest == "uniform":
            weights, each = arithmetic.filled_up(weights, num_classes - indices.shape[-1])
            weights = weights - each.unsqueeze(-1)
            others = (Uniform(each * num_classes, num_classes),)
        entries = Entries(indices.long(), weights)
        return cls(num_classes=num_classes, entries=entries, others=others)

    @property
    def given(self) -> "Target":
        """The target before it was smoothed; its mass is the divisor of a mean."""
        return self if self.origin is None else self.origin

    def smooth(
        self,
        rate: Factor,
        prior: Tensor | None = None,
        *,
        again: bool = False,
        allow_negative: bool = False,
    ) -> "Target":
        r"""Return `(1 - rate) q + rate * prior`, mass for mass.

        Args:
            rate: the share that moves, in [0, 1]: a number, or a tensor with one value per sample.
                0 marks the target as smoothed without changing it.
            prior: where it moves: None for uniform, `(K,)`, or `(K, K)` with one row per label;
                rows that sum to 1 but for rounding are divided by their sum.
            again: smooth a target that is smoothed already.
            allow_negative: accept rates below 0, whose loss is unbounded below.

        Returns:
            Target of the same batch shape that remembers being smoothed.

        Raises:
            ValueError: rate out of range, target smoothed already, prior of a wrong shape or
                not made of distributions.
        """
        if self.smoothed and not again:
            raise ValueError(
                "`target` is smoothed already and smoothing happens once; pass `again=True` to "
                "smooth it a second time"
            )
        factor = self._rate_factor(rate, allow_negative)
        if prior is not None:
            checks.check_matrix(prior, self.num_classes, "prior")
            if checks.readable(prior):
                checks.check_distribution_rows(prior, "prior")
            prior = arithmetic.unit_rows(prior, self.dtype)
        return self.blend(factor, prior)

    def blend(self, rate: Factor, prior: Tensor | None = None) -> "Target":
        """Do what `smooth` does, without its checks; for policies that have made them.

        Args:
            rate: any number, or a tensor with one value per sample.
            prior: None, `(K,)` or `(K, K)`, any entries.

        Returns:
            Target marked as smoothed.
        """
        if not isinstance(rate, Tensor) and rate == 0:
            return self.smoothed_from(self)
        if isinstance(rate, Tensor):
            rate = self._factor(rate, "rate")
        if prior is None:
            kept = self._each_term(lambda term: term.__mul__(1 - rate))
            others = joined((*kept.others, Uniform(self.mass() * rate, self.num_classes)))
            return replace(kept, others=others, smoothed=True, origin=self.given)
        given = replace(self, smoothed=False, origin=None)
        kept, moved = given.__mul__(1 - rate), given._from_prior(prior).__mul__(rate)
        return (kept + moved).smoothed_from(self)

    def _rate_factor(self, rate: Factor, allow_negative: bool) -> Factor:
        if not isinstance(rate, Tensor):
            return checks.check_rate(rate, allow_negative=allow_negative)
        checks.check_extremes(
            rate, "rate", lambda value: checks.check_rate(value, allow_negative=allow_negative)
        )
        return self._factor(rate, "rate")

    def _factor(self, value: Tensor, name: str) -> Tensor:
        """One value per sample, wide enough that `1 - value` is as exact as the weights."""
        dtype = torch.promote_types(value.dtype, self.dtype)
        return per_sample(value, self.batch_shape, name).to(self.device, dtype)

    def _from_prior(self, prior: Tensor) -> "Target":
        if prior.dim() == 2:
            return self.map_classes(prior)
        weights = self.mass().unsqueeze(-1)
        rows = torch.zeros_like(weights, dtype=torch.long)
        table = TableRows(prior.to(self.device).unsqueeze(0), rows, weights)
        return replace(self, entries=no_entries(weights[..., 0]), others=(table,), origin=None)

    def map_classes(self, matrix: Tensor) -> "Target":
        """Return `q @ matrix`: each class replaced by its row, without building N x K.

        Args:
            matrix: `(K, K)` floating point, any entries.

        Returns:
            Target of the same batch shape; its single entries have become table rows.

        Raises:
            ValueError: the matrix has another shape.
        """
        checks.check_matrix(matrix, self.num_classes, "matrix")
        matrix = matrix.to(self.device)
        return replace(
            self,
            entries=no_entries(self.entries.weights[..., :0].sum(-1)),
            others=tuple(term.mapped(matrix) for term in self.terms),
        )

    def smoothed_from(self, origin: "Target") -> "Target":
        """Return this target marked as the smoothed form of `origin`; for writers of policies."""
        return replace(self, smoothed=True, origin=origin.given)

    def mix(self, other: "Target", lam: Factor) -> "Target":
        """Return `lam * self + (1 - lam) * other`, as MixUp and CutMix do.

        Args:
            other: a target of the same batch shape and number of classes, smoothed if and only
                if this one is.
            lam: in [0, 1]; a number, or a tensor with one value per sample.

        Returns:
            Target of the same batch shape.
        """
        checks.check_target_type(other, Target, "other")
        if isinstance(lam, Tensor):
            checks.check_extremes(lam, "lam", lambda x: checks.check_fraction(x, "lam"))
            lam = self._factor(lam, "lam")
        else:
            lam = checks.check_fraction(lam, "lam")
        one, two = self._alike(other)
        # Named, as in `blend`: torch.compile takes `x * tensor` for an operation between tensors.
        return one.__mul__(lam) + two.__mul__(1 - lam)

    # Called by name above: torch.compile takes `target * tensor` for an operation of its own.
    def __mul__(self, factor: Factor) -> "Target":
        if isinstance(factor, Tensor):
            factor = self._factor(factor, "factor")
        elif checks.is_number(factor):
            factor = checks.check_number(factor, "factor")
        else:
            return NotImplemented
        scaled = self._each_term(lambda term: term.__mul__(factor))
        origin = self.origin
        return scaled if origin is None else replace(scaled, origin=origin.__mul__(factor))

    __rmul__ = __mul__

    def __sub__(self, other: "Target") -> "Target":
        return self + other * -1.0

    def __add__(self, other: "Target") -> "Target":
        if not isinstance(other, Target):
            return NotImplemented
        self._check_addable(other)
        one, two = self._alike(other)
        derived = one.origin is not None or two.origin is not None
        entries = one.entries.joined(two.entries)
        assert entries is not None
        return replace(
            one,
            entries=entries,
            others=joined(one.others + two.others),
            origin=one.given + two.given if derived else None,
        )

    def _alike(self, other: "Target") -> tuple["Target", "Target"]:
        """Both targets in the wider of their dtypes."""
        if self.dtype == other.dtype:
            return self, other
        wide = torch.promote_types(self.dtype, other.dtype)
        return self.to(wide), other.to(wide)

    def _check_addable(self, other: "Target") -> None:
        if self.num_classes != other.num_classes or self.batch_shape != other.batch_shape:
            raise ValueError(
                "targets must agree in classes and batch shape to be added, got "
                f"{self.num_classes} classes, {tuple(self.batch_shape)} and "
                f"{other.num_classes} classes, {tuple(other.batch_shape)}"
            )
        if self.device != other.device:
            raise ValueError(
                f"targets must be on one device to be added, got {self.device} and {other.device}; "
                "move one with `.to(device)`"
            )
        if self.smoothed != other.smoothed:
            raise ValueError(
                "a smoothed target cannot be mixed with one that is not; smooth both, or mark "
                "the hard one as meant to be so with `.smooth(0.0)`"
            )

    def __repr__(self) -> str:
        terms = " + ".join(type(term).__name__ for term in self.terms)
        state = ", smoothed" if self.smoothed else ""
        return (
            f"Target(batch_shape={tuple(self.batch_shape)}, num_classes={self.num_classes}, "
            f"{terms}, dtype={self.dtype}{state})"
        )

    def _each_term(self, change: Callable[[Any], Any]) -> "Target":
        others = tuple(change(term) for term in self.others)
        return replace(self, entries=change(self.entries), others=others)

    def __getitem__(self, index: Any) -> "Target":
        key = batch_index(index, len(self.batch_shape))
        chosen = self._each_term(lambda term: term[key])
        return chosen if self.origin is None else replace(chosen, origin=self.origin[key])

    def to(self, *args: Any, **kwargs: Any) -> "Target":
        """Return the target on another device or in float32 or float64, as `Tensor.to` does."""
        moved = self._each_term(lambda term: term.to(*args, **kwargs))
        checks.check_weights_dtype(moved.dtype)
        origin = self.origin
        return moved if origin is None else replace(moved, origin=origin.to(*args, **kwargs))
