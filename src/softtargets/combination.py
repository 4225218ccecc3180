"""What a loss reads of a sum of terms: mass, inner product, gradient, the dense form.

See `softtargets.target.Target`, which adds the constructors, the algebra and the memory of having
been smoothed.
"""

from abc import ABC

import torch
from torch import Tensor

from softtargets.terms import AbstractTerm, Entries


class AbstractCombination(ABC):
    """The readings of `entries + sum(others)`; the fields are the subclass's."""

    __slots__ = ()

    num_classes: int
    entries: Entries
    others: tuple[AbstractTerm, ...]

    @property
    def batch_shape(self) -> torch.Size:
        """The shape of the batch, without the class dimension."""
        return self.entries.weights.shape[:-1]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, float32 or float64."""
        return self.entries.weights.dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.entries.weights.device

    @property
    def terms(self) -> tuple[AbstractTerm, ...]:
        """The terms whose sum this is; entries are left out where there are none."""
        return (self.entries, *self.others) if self.entries.classes.shape[-1] else self.others

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows into any part of the target."""
        return any(part.requires_grad for term in self.terms for part in term.floats())

    def ignored(self) -> Tensor:
        """Return `(*batch)` bool, True where the target is zero everywhere."""
        used = self.entries.used()
        for term in self.others:
            used = used | term.used()
        return ~used

    def mass(self, weight: Tensor | None = None, alive: Tensor | None = None) -> Tensor:
        """Return `sum_k weight_k q_k` per sample; without `weight` the mass of q.

        Args:
            weight: `(K,)` class weights, or None for ones.
            alive: `(*batch, K)` bool, as for `dense`.

        Returns:
            `(*batch)`.

        Raises:
            ValueError: `weight` or `alive` is of another shape.
        """
        if weight is not None:
            self._check_weight(weight)
        if alive is not None:
            self._check_alive(alive)
        total = self.entries.mass(weight, alive)
        for term in self.others:
            total = total + term.mass(weight, alive)
        # Of one entry the mass is its weight: a copy, for callers who change it.
        return total if self.others else total.clone()

    def dot(
        self, logits: Tensor, weight: Tensor | None = None, alive: Tensor | None = None
    ) -> Tensor:
        """Return the inner product `sum_k weight_k q_k z_k` per sample.

        Args:
            logits: `(*batch, K)`, classes last.
            weight: `(K,)` class weights, or None for ones.
            alive: `(*batch, K)` bool, as for `dense`; logits of dead classes are not read,
                except where a single entry or a dense row puts mass on them.

        Returns:
            `(*batch)`, in float32 or wider.

        Raises:
            ValueError: `logits`, `weight` or `alive` is of another shape.
        """
        self._check_rows(logits, "logits")
        if weight is not None:
            self._check_weight(weight)
        if alive is not None:
            self._check_alive(alive)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        first, *others = self.terms or (self.entries,)
        total = first.dot(logits, weight, alive)
        for term in others:
            total = total + term.dot(logits, weight, alive)
        return total

    def add_to(self, out: Tensor, scale: Tensor, alive: Tensor | None = None) -> None:
        """Add `scale * q` to `out` in place.

        Args:
            out: `(*batch, K)`, classes last, any strides.
            scale: `(*batch)`.
            alive: `(*batch, K)` bool, as for `dense`.

        Raises:
            ValueError: `out`, `scale` or `alive` is of another shape.
        """
        self._check_rows(out, "out")
        if scale.shape != self.batch_shape:
            raise ValueError(
                f"`scale` must have the batch shape {tuple(self.batch_shape)}, got "
                f"{tuple(scale.shape)}; give each sample one"
            )
        if alive is not None:
            self._check_alive(alive)
        for term in reversed(self.terms):
            term.add_to(out, scale, alive)

    def dense(self, alive: Tensor | None = None) -> Tensor:
        """Return the full `(*batch, K)` tensor: the oracle of everything else.

        Args:
            alive: `(*batch, K)` bool, False for a masked class: uniform mass and table rows
                are renormalised over the living classes; single entries and dense rows stay.

        Returns:
            `(*batch, K)` in the target's dtype.

        Raises:
            ValueError: `alive` is of another shape.
        """
        shape = (*self.batch_shape, self.num_classes)
        out = self.entries.weights.new_zeros(shape)
        if alive is not None and torch._C._are_functorch_transforms_active():
            # Under vmap the mask may have a dimension that the weights have not.
            out = out + torch.zeros_like(alive, dtype=out.dtype)
        self.add_to(out, torch.ones_like(out[..., 0]), alive)
        return out

    def _check_rows(self, rows: Tensor, name: str) -> None:
        """Raise unless `rows` has the shape of the target; the shape alone is looked at."""
        expected = (*self.batch_shape, self.num_classes)
        if not isinstance(rows, Tensor) or rows.shape != expected:
            raise _wrong_shape(
                rows,
                name,
                f"{expected}, batch shape {tuple(self.batch_shape)} and {self.num_classes} "
                "classes last",
                "move the class dimension with `.movedim(1, -1)`, or `.expand` what is the same "
                "for every sample",
            )

    def _check_alive(self, alive: Tensor) -> None:
        self._check_rows(alive, "alive")
        if alive.dtype != torch.bool:
            raise TypeError(
                f"`alive` must hold bools, True for a living class, got {alive.dtype}; of logits "
                "take `logits != -torch.inf`"
            )

    def _check_weight(self, weight: Tensor) -> None:
        if not isinstance(weight, Tensor) or weight.shape != (self.num_classes,):
            raise _wrong_shape(
                weight,
                "weight",
                f"({self.num_classes},), one number per class",
                "multiply the result by what differs between samples",
            )

    def entropy(self) -> Tensor:
        """Return `-sum_k q_k log q_k` per sample in nats, the floor of the cross-entropy.

        Returns:
            `(*batch)`.

        Raises:
            ValueError: an entry is negative.
        """
        probs = self.dense()
        rounding = 64 * torch.finfo(probs.dtype).eps
        if bool((probs < -rounding).any()):
            raise ValueError(
                f"`entropy` needs entries >= 0, got {float(probs.min()):.6g}; a target with "
                "negative entries (negative rate, backward correction) has none"
            )
        entropies: Tensor = torch.special.entr(probs.clamp(min=0)).sum(-1)
        return entropies


def _wrong_shape(value: object, name: str, expected: str, way_out: str) -> ValueError | TypeError:
    """Return the error for a tensor of another shape, or for no tensor at all."""
    if isinstance(value, Tensor):
        return ValueError(
            f"`{name}` must have shape {expected}, got {tuple(value.shape)}; {way_out}"
        )
    return TypeError(
        f"`{name}` must be a tensor, got {type(value).__name__}; make one with "
        f"`torch.as_tensor({name})`"
    )
