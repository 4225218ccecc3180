"""The k largest entries of each class's soft label, for vocabularies no (K, K) table fits."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from softtargets.smoothing.class_sums import row_blocks
from softtargets.smoothing.class_tables import AbstractClassTable, Initial, RowRules, Rows
from softtargets.smoothing.top_k_sums import TopKSums
from softtargets.target import Target
from softtargets.terms import Entries, Uniform

# Slots per published entry: what the running sums keep to choose the k largest from.
SLOTS_PER_ENTRY = 2


@final
class TopKTable(AbstractClassTable):
    """Classes `(K, k)` int32 and weights `(K, k)`; what a row lacks of mass 1 is spread evenly.

    The other classes share the rest, as in `Target.from_top_k(rest="uniform")`. Class -1 stands
    for no entry; a row without any is the initial one.
    """

    def __init__(
        self, num_classes: int, top_k: int, initial: Initial, slots: int | None = None
    ) -> None:
        self.row_names = ("classes", "weights")
        self.top_k = min(top_k, num_classes)
        slots = SLOTS_PER_ENTRY * top_k if slots is None else slots
        self.sums: TopKSums = TopKSums(num_classes, min(slots, num_classes))
        self._num_classes = num_classes
        self._initial = initial

    def initial_rows(self, dtype: torch.dtype) -> Rows:
        weights = torch.zeros(self._num_classes, self.top_k, dtype=dtype)
        return torch.full_like(weights, -1, dtype=torch.int32), weights

    def refitted(self, rows: Rows, dtype: torch.dtype) -> None:
        return None

    def soft(self, rows: Rows, target: Target, logits: Tensor | None) -> Target:
        if target.others:
            raise TypeError(
                "`target` must be labels or mixed labels for "
                'OnlineLabelSmoothing(storage="top_k"), got rows of probabilities, whose soft '
                "labels would be full rows; give the labels as integers, their largest entries "
                'by `Target.from_top_k(..., rest="none")`, or use another `storage`'
            )
        owners = target.entries.classes
        chosen = (
            rows[0].index_select(0, owners.flatten()),
            rows[1].index_select(0, owners.flatten()),
        )
        classes, excess, each = self._split(chosen, target.dtype)
        classes, excess = (x.view(*owners.shape, x.shape[-1]) for x in (classes, excess))
        rest = (each * self._num_classes).view(owners.shape)
        if logits is not None:
            excess, rest = _on_living(classes, excess, rest, logits.detach())
        weights = target.entries.weights
        entries = Entries(classes.flatten(-2), (excess * weights.unsqueeze(-1)).flatten(-2))
        uniform = Uniform((rest * weights).sum(-1), self._num_classes)
        return replace(target, entries=entries, others=(uniform,))

    def matrix(self, rows: Rows) -> Tensor:
        classes, excess, each = self._split(rows, rows[1].dtype)
        return each.unsqueeze(-1).repeat(1, self._num_classes).scatter_add_(1, classes, excess)

    def renewed(self, rows: Rows, rules: RowRules) -> Rows:
        dtype = torch.promote_types(rows[1].dtype, self.sums.local.dtype)
        device, columns = rows[0].device, self.sums.slots * self.top_k
        new = torch.empty_like(rows[0]), torch.empty_like(rows[1], dtype=dtype)
        slot_classes, slot_sums = self.sums.merged(device)
        counts = self.sums.counts().to(device)
        for part in row_blocks(self._num_classes, columns):
            old: Rows = rows[0][part], rows[1][part].to(dtype)
            values = self._means(slot_sums[part].to(dtype), counts[part])
            fresh: Rows = slot_classes[part].long(), values
            if rules.momentum > 0:
                fresh = self._mixed(old, fresh, rules)
            changed = rules.changed(counts[part], self._confidence(old)).unsqueeze(-1)
            for into, before, after in zip(new, old, self._cut(fresh), strict=True):
                into[part] = torch.where(changed, after.to(before.dtype), before)
        return new

    def _means(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Divide by the mass that was added; sums may exceed the count by rounding."""
        kept = sums.sum(-1)
        if self.sums.slots < self._num_classes:
            kept = torch.maximum(kept, counts.to(kept.dtype))
        return sums / kept.unsqueeze(-1)

    def _split(self, rows: Rows, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return classes `(n, k)`, what they have above the others, and what each other has."""
        classes, weights = rows[0].long(), rows[1].to(dtype)
        used = classes >= 0
        mass = used.any(-1).to(dtype) if self._initial == "zeros" else 1.0
        remaining = self._num_classes - used.sum(-1)
        total = weights.sum(-1)
        each = torch.where(remaining > 0, (mass - total) / remaining.clamp(min=1), 0)
        if self.top_k == self._num_classes:
            full = (remaining == 0) & (total > 0)
            weights = weights / torch.where(full, total, 1).unsqueeze(-1)
        return classes.clamp(min=0), torch.where(used, weights - each.unsqueeze(-1), 0), each

    def _confidence(self, rows: Rows) -> Tensor:
        """Return the largest entry of each row, `(n, 1)`."""
        _, excess, each = self._split(rows, rows[1].dtype)
        return (excess.amax(-1).clamp(min=0) + each).unsqueeze(-1)

    def _mixed(self, old: Rows, fresh: Rows, rules: RowRules) -> Rows:
        """Return all classes of both rows with `kept * old + (1 - kept) * fresh`."""
        _, excess, old_each = self._split(old, old[1].dtype)
        classes, values = fresh
        remaining = self._num_classes - classes.shape[-1]
        each = (1 - values.sum(-1)) / max(remaining, 1)
        same = classes.unsqueeze(-1) == old[0].unsqueeze(-2)  # (n, slots, k)
        old_values = (same * excess.unsqueeze(-2)).sum(-1) + old_each.unsqueeze(-1)
        full = old_each.unsqueeze(-1) + excess
        kept = rules.kept(full)
        full, old_values = (torch.where(kept == 0, 0, x) for x in (full, old_values))
        both = kept * old_values + (1 - kept) * values
        only_old = kept * full + (1 - kept) * each.unsqueeze(-1)
        only_old = torch.where(same.any(1) | (old[0] < 0), -1, only_old)
        return torch.cat([classes, old[0].long()], -1), torch.cat([both, only_old], -1)

    def _cut(self, rows: Rows) -> Rows:
        """Keep the k largest; entries that hold nothing join the rest."""
        weights, order = rows[1].topk(self.top_k)
        used = weights > 0
        return torch.where(used, rows[0].gather(-1, order), -1), torch.where(used, weights, 0)


def _on_living(
    classes: Tensor, excess: Tensor, rest: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Give what entries put on masked classes to the rest of their row, share for share.

    The uniform mass is spread over living classes by whoever reads it.
    """
    met = logits.gather(-1, classes.flatten(-2)).view(classes.shape)
    living = torch.where(met == -torch.inf, 0, excess)
    mass = excess.sum(-1) + rest
    remaining = living.sum(-1) + rest
    lost = remaining <= 0
    scale = torch.where(lost, 0, mass / torch.where(lost, 1, remaining))
    return living * scale.unsqueeze(-1), torch.where(lost, mass, rest * scale)
