"""Running sums of the largest probabilities of each label: a few slots per label, never (K, K)."""

from dataclasses import dataclass
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

from softtargets.smoothing.class_sums import AbstractSums, Observed, several_ranks

# Rows that are merged at a time.
MERGED_ROWS = 4096


@dataclass(slots=True, eq=False)
class Slots:
    """The largest sums per label, in falling order.

    Attributes:
        classes: `(K + 1, S)` int32, -1 where a slot is empty; the last row is a bin for what must
            not be kept.
        sums: `(K + 1, S)` float32 or float64, 0 where a slot is empty.
    """

    classes: Tensor
    sums: Tensor

    @classmethod
    def empty(cls, num_classes: int, slots: int, like: Tensor) -> "Slots":
        """Return slots that hold nothing, with the dtype and device of `like`."""
        sums = torch.zeros(num_classes + 1, slots, dtype=like.dtype, device=like.device)
        return cls(torch.full_like(sums, -1, dtype=torch.int32), sums)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the sums."""
        return self.sums.dtype

    def to(self, device: torch.device, dtype: torch.dtype) -> "Slots":
        """Return the slots elsewhere or wider."""
        return Slots(self.classes.to(device), self.sums.to(device, dtype))

    @classmethod
    def restored(cls, state: dict[str, Tensor], device: torch.device) -> "Slots":
        """Return what `state` was taken of."""
        return cls(*(state[name].to(device, copy=True) for name in ("classes", "sums")))

    def state(self) -> dict[str, Tensor]:
        """Return copies on the CPU."""
        parts = {"classes": self.classes, "sums": self.sums}
        return {name: part.to("cpu", copy=True) for name, part in parts.items()}

    def merge(self, labels: Tensor, classes: Tensor, sums: Tensor) -> None:
        """Add sums by (label, class) and keep the largest of each label, in place.

        Equal keys are brought together by one sort, ranked within their label by a second one;
        all shapes depend on those of the arguments alone.

        Args:
            labels: `(n)` int64; K for rows that must not count.
            classes: `(n, m)` integers, distinct within a row; -1 for none.
            sums: `(n, m)`, not negative.
        """
        for start in range(0, len(labels), MERGED_ROWS):
            part = slice(start, start + MERGED_ROWS)
            self._merge(labels[part], classes[part], sums[part])

    def _merge(self, labels: Tensor, classes: Tensor, sums: Tensor) -> None:
        num_classes, slots = len(self.sums) - 1, self.sums.shape[1]
        ordered = labels.sort().values
        # What a touched label has kept so far takes part once.
        owners = torch.where(_starts(ordered), ordered, num_classes)
        old_keys = _keys(owners, self.classes.index_select(0, owners), num_classes)
        keys = torch.cat([old_keys, _keys(labels, classes, num_classes)])
        values = torch.cat([self.sums.index_select(0, owners).flatten(), sums.flatten()])
        values = torch.where(keys < num_classes**2, values, 0)
        keys, order = keys.sort(stable=True)
        run = _starts(keys).cumsum(0) - 1
        totals = torch.zeros_like(values).index_add_(0, run, values[order])
        keys = torch.full_like(keys, num_classes**2).scatter_(0, run, keys)
        # A float that is not negative is ordered as its bits are: largest first within a label.
        bits = totals.float().view(torch.int32).long()
        order = (((keys // num_classes + 1) << 31) - bits).sort(stable=True).indices
        owners = keys[order] // num_classes
        position = torch.arange(len(owners), device=owners.device)
        first = torch.where(_starts(owners), position, 0).cummax(0).values
        rank = position - first
        fits = (owners < num_classes) & (rank < slots)
        place = torch.where(fits, owners * slots + rank, num_classes * slots)
        self.classes.view(-1).scatter_(0, place, (keys[order] % num_classes).int())
        self.sums.view(-1).scatter_(0, place, totals[order])
        self.classes[-1].fill_(-1)
        self.sums[-1].zero_()


def _starts(ordered: Tensor) -> Tensor:
    return pad(ordered[1:] != ordered[:-1], (1, 0), value=True)


def _keys(labels: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """One number per (label, class); K^2, the largest, where either is none."""
    labels = labels.unsqueeze(-1)
    used = (labels < num_classes) & (classes >= 0)
    return torch.where(used, labels * num_classes + classes, num_classes**2).flatten()


@final
class TopKSums(AbstractSums):
    """The largest sums of each label and how many samples it had.

    A sample adds its `slots` largest probabilities. What finds no slot is forgotten but for the
    count, so a kept sum is at most the true one, and count minus kept sums is all the rest.

    Attributes:
        num_classes: K.
        slots: S, how many classes a label keeps.
        local: this rank's slots since the last `sync()`.
    """

    def __init__(self, num_classes: int, slots: int) -> None:
        self.num_classes = num_classes
        self.slots = slots
        self.local = Slots.empty(num_classes, slots, torch.zeros(()))
        # Integers: float32 would stop counting at 16.7 million.
        self._local_counts = torch.zeros(num_classes, dtype=torch.int64)
        self._shared: Slots | None = None
        self._shared_counts = torch.zeros_like(self._local_counts)

    def add(self, observed: Observed) -> None:
        probs, classes = observed.probs.topk(self.slots)
        labels, keep = observed.labels, observed.keep
        counted = torch.ones_like(labels) if keep is None else keep.long()
        owners = labels if keep is None else torch.where(keep, labels, self.num_classes)
        dtype = torch.promote_types(probs.dtype, self.local.dtype)
        self.local = self.local.to(probs.device, dtype)
        self._local_counts = self._local_counts.to(probs.device)
        self.local.merge(owners, classes, probs.to(dtype))
        self._local_counts.index_add_(0, labels, counted)

    def addends(self, like: Tensor) -> None:
        """Return None: which classes find a slot depends on all that came before."""

    def counts(self) -> Tensor:
        local = self._local_counts
        return self._shared_counts.to(local) + local

    def sync(self, device: torch.device) -> None:
        if not several_ranks():
            return
        local = self.local.to(device, self.local.dtype)
        shared = self._begun_shared(device)
        for start in range(0, self.num_classes, MERGED_ROWS):
            part = slice(start, min(start + MERGED_ROWS, self.num_classes))
            labels = torch.arange(part.start, part.stop, device=device)
            classes = _gathered(local.classes[part])
            sums = _gathered(local.sums[part].to(torch.float64))
            # In the order of the ranks on every rank: all get the same to the last bit.
            for each_classes, each_sums in zip(classes, sums, strict=True):
                shared.merge(labels, each_classes, each_sums.to(shared.sums.dtype))
        counts = self._local_counts.to(device, copy=True)
        dist.all_reduce(counts)
        self._shared, self._shared_counts = shared, self._shared_counts.to(device) + counts
        self._clear_local()

    def _begun_shared(self, device: torch.device) -> Slots:
        local, shared = self.local, self._shared
        if shared is None:
            return Slots.empty(self.num_classes, self.slots, local.sums).to(device, local.dtype)
        return shared.to(device, torch.promote_types(local.dtype, shared.dtype))

    def merged(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return `(K, S)` classes and sums over both parts; before `clear()` alone."""
        kept = self.local.to(device, self.local.dtype)
        if self._shared is not None:
            local, kept = kept, self._begun_shared(device)
            _merge_all(kept, local)
        return kept.classes[: self.num_classes], kept.sums[: self.num_classes]

    def clear(self) -> None:
        self._shared = None
        self._shared_counts = torch.zeros_like(self._local_counts)
        self._clear_local()

    def _clear_local(self) -> None:
        self.local.classes.fill_(-1)
        self.local.sums.zero_()
        self._local_counts = torch.zeros_like(self._local_counts)

    def state(self) -> dict[str, Any]:
        return {
            "slots": self.local.state(),
            "counts": self._local_counts.to("cpu", copy=True),
            "shared_slots": None if self._shared is None else self._shared.state(),
            "shared_counts": self._shared_counts.to("cpu", copy=True),
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        shared = state["shared_slots"]
        self.local = Slots.restored(state["slots"], device)
        self._local_counts = state["counts"].to(device, copy=True)
        self._shared = None if shared is None else Slots.restored(shared, device)
        self._shared_counts = state["shared_counts"].to(device, copy=True)
        if several_ranks():
            # Every rank restores the same file: what its writer saw must not count for each.
            self._shared = self._begun_shared(device)
            _merge_all(self._shared, self.local)
            self._shared_counts += self._local_counts
            self._clear_local()


def _gathered(tensor: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return parts


def _merge_all(into: Slots, other: Slots) -> None:
    """Merge all labels of `other`, but for its bin."""
    num_classes = len(other.sums) - 1
    labels = torch.arange(num_classes, device=other.sums.device)
    sums = other.sums[:num_classes].to(into.dtype)
    into.merge(labels, other.classes[:num_classes], sums)
