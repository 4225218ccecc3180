"""What online label smoothing adds up in an epoch: probabilities by label, over several ranks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, final

import torch
import torch.distributed as dist
from torch import Tensor

# 8 MiB in float64: what a table of any size needs beside itself at the end of an epoch.
BLOCK_ELEMENTS = 1 << 20


class Observed(NamedTuple):
    """Samples to learn from.

    Attributes:
        probs: `(n, K)` float32 or float64, 0 for samples that must not count.
        labels: `(n)` int64.
        keep: `(n)` bool, False for samples that must not count; None where all do.
    """

    probs: Tensor
    labels: Tensor
    keep: Tensor | None


def several_ranks() -> bool:
    """Whether sums have to be added up over processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Cut `rows` rows of `columns` numbers into slices of bounded size."""
    step = max(BLOCK_ELEMENTS // max(columns, 1), 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


class AbstractSums(ABC):
    """Running sums of one epoch, in two parts: shared by all ranks, and this rank's since then.

    They are no buffers: DDP would overwrite them with rank 0's, `.half()` would round them.
    """

    @abstractmethod
    def add(self, observed: Observed) -> None:
        """Add the samples' probabilities to the sums of their labels."""

    @abstractmethod
    def addends(self, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return sums `(K, K)` and counts `(K)` that a kernel may add to, None without such.

        Args:
            like: what is added has its device, and its dtype or a wider one.
        """

    @abstractmethod
    def counts(self) -> Tensor:
        """Return `(K)`, how many samples of each label were added."""

    @abstractmethod
    def sync(self, device: torch.device) -> None:
        """Move what every rank added since the last time into the shared part; collective."""

    @abstractmethod
    def clear(self) -> None:
        """Begin a new epoch."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return copies of all tensors, on the CPU, both parts apart."""

    @abstractmethod
    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Take over what `state` returned; with several ranks all of it is shared."""


@final
class DenseSums(AbstractSums):
    """All `(K, K)` sums in float32, or in float64 once float64 samples came.

    Attributes:
        num_classes: K.
        local: `(K, K)`, row y = the sum of the probabilities of label y.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.local = torch.zeros(num_classes, num_classes, dtype=torch.float32)
        self._local_counts = torch.zeros(num_classes, dtype=torch.float32)
        # Made by the first `sync()`: one process never needs it.
        self._shared: Tensor | None = None
        self._shared_counts = torch.zeros_like(self._local_counts)

    def add(self, observed: Observed) -> None:
        probs, labels, keep = observed
        counted = torch.ones_like(labels) if keep is None else keep
        sums, counts = self.addends(probs)
        sums.index_add_(0, labels, probs.to(sums.dtype))
        counts.index_add_(0, labels, counted.to(counts.dtype))

    def addends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(like.dtype, self.local.dtype)
        self.local = self.local.to(like.device, dtype)
        self._local_counts = self._local_counts.to(like.device, dtype)
        return self.local, self._local_counts

    def counts(self) -> Tensor:
        return self._shared_counts.to(self._local_counts) + self._local_counts

    @property
    def dtype(self) -> torch.dtype:
        """What `total` is exact in."""
        shared = self.local.dtype if self._shared is None else self._shared.dtype
        return torch.promote_types(self.local.dtype, shared)

    def total(self, part: slice, like: Tensor) -> Tensor:
        """Return rows of the sums over both parts, with the dtype and device of `like`."""
        local = self.local[part].to(like)
        return local if self._shared is None else self._shared[part].to(like) + local

    def sync(self, device: torch.device) -> None:
        if not several_ranks():
            return
        local, dtype = self.local.to(device), self.dtype
        shared = local if self._shared is None else self._shared.to(device, dtype)
        for part in row_blocks(*local.shape):
            total = local[part].to(torch.float64)
            dist.all_reduce(total)
            shared[part] = total if self._shared is None else shared[part].to(total) + total
        counts = self._local_counts.to(device, torch.float64)
        dist.all_reduce(counts)
        self._shared_counts = (self._shared_counts.to(counts) + counts).to(dtype)
        # Fresh zeros take no memory before they are written to, on a CPU.
        self.local = torch.zeros_like(shared) if shared is local else local.zero_()
        self._local_counts = torch.zeros_like(self._shared_counts)
        self._shared = shared

    def clear(self) -> None:
        self._shared = None
        self.local.zero_()
        self._local_counts.zero_()
        self._shared_counts = torch.zeros_like(self._local_counts)

    def state(self) -> dict[str, Any]:
        shared = self._shared
        return {
            "sums": self.local.to("cpu", copy=True),
            "counts": self._local_counts.to("cpu", copy=True),
            "shared_sums": None if shared is None else shared.to("cpu", copy=True),
            "shared_counts": self._shared_counts.to("cpu", copy=True),
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        shared = state["shared_sums"]
        self.local = state["sums"].to(device, copy=True)
        self._local_counts = state["counts"].to(device, copy=True)
        self._shared = None if shared is None else shared.to(device, copy=True)
        self._shared_counts = state["shared_counts"].to(device, copy=True)
        if several_ranks():
            # Every rank restores the same file: what its writer saw must not count for each.
            local, counts = self.local, self._local_counts
            self._shared = local if self._shared is None else self._shared.to(local) + local
            self._shared_counts = self._shared_counts.to(counts) + counts
            self.local, self._local_counts = torch.zeros_like(local), torch.zeros_like(counts)
