"""Where a run is computed: its device, its processes, its precision. Losses never look at ranks.

With several processes, rank 0 leads: it alone plans, reads and writes; the others take part in the
runs it announces. Each has the whole data, makes the same batches and computes its share of each.
"""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.spec import RunSpec, given

# The leader may wait for the lock of another process, or compute a teacher, while others stand by.
PATIENCE = timedelta(days=1)

Value = TypeVar("Value")


class DivergedError(Exception):
    """Training left the finite numbers; the message says where."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a run needs to know of where it is computed.

    Attributes:
        device: of this process.
        precision: of the forward passes in training.
        rank: number of this process.
        ranks: how many there are.
    """

    device: torch.device
    precision: torch.dtype = torch.float32
    rank: int = 0
    ranks: int = 1

    @classmethod
    def of(cls, spec: RunSpec) -> "Session":
        """Return the session of a run.

        Raises:
            LabError: there is no such device, or another number of processes.
        """
        joined = distributed.is_available() and distributed.is_initialized()
        ranks = distributed.get_world_size() if joined else 1
        if ranks != given(spec.ranks, 1):
            raise LabError(
                f"{spec.run_id} is for {given(spec.ranks, 1)} ranks, got {ranks}; start as many "
                "with --ranks"
            )
        rank = distributed.get_rank() if joined else 0
        device = torch.device(given(spec.device, "cpu"))
        if device.type == "cuda":
            local = int(os.environ.get("LOCAL_RANK", 0)) if joined else 0
            if local >= torch.cuda.device_count():
                raise LabError(
                    f"--device cuda needs a CUDA device for each process, this machine has "
                    f"{torch.cuda.device_count()}; leave it out to compute on the CPU"
                )
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        return cls(device, getattr(torch, given(spec.precision, "float32")), rank, ranks)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reads and writes."""
        return self.rank == 0

    def place(self, data: DataSet) -> DataSet:
        """Return the data on the device; inputs stay where they are if they would fill it."""
        if self.device.type == "cpu":
            return data
        if 2 * data.memory > torch.cuda.mem_get_info(self.device)[0]:
            return data
        parts = (data.train, data.validation, data.test)
        train, validation, test = (part.to(self.device) for part in parts)
        return replace(data, train=train, validation=validation, test=test)

    def parts(self, samples: int, count: int) -> list[slice]:
        """Return which samples of a batch this process computes, in so many parts.

        Every process gets as many parts; where there are more processes than samples, empty ones.

        Args:
            samples: in the batch.
            count: parts for each process.
        """
        if self.ranks == count == 1:
            return [slice(0, samples)]
        pieces = self.ranks * count
        ends = [samples * number // pieces for number in range(pieces + 1)]
        own = range(self.rank * count, (self.rank + 1) * count)
        return [slice(ends[number], ends[number + 1]) for number in own]

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def scaler(self) -> torch.amp.GradScaler | None:
        """Return what keeps float16 gradients from vanishing, if they could."""
        return torch.amp.GradScaler("cuda") if self.precision == torch.float16 else None

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return the model to train: with several processes, one that averages gradients."""
        if self.ranks == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def total(self, values: Tensor) -> Tensor:
        """Return the sums over all processes."""
        if self.ranks > 1:
            distributed.all_reduce(values)
        return values

    def from_leader(self, make: Callable[[], Value]) -> Value:
        """Return what the leader makes, to all; or raise where it finds that a run diverged."""
        if self.ranks == 1:
            return make()
        made: list[Any] = [None]
        if self.leads:
            try:
                made = [make()]
            except DivergedError as error:
                made = [error]
        distributed.broadcast_object_list(made)
        if isinstance(made[0], DivergedError):
            raise made[0]
        value: Value = made[0]
        return value

    def announce(self, job: object) -> None:
        """Tell the other processes what to take part in."""
        if self.ranks > 1:
            distributed.broadcast_object_list([job])


def announced() -> Any:
    """Return what the leader announces next; None for the end."""
    job: list[Any] = [None]
    distributed.broadcast_object_list(job)
    return job[0]


@contextmanager
def without_leader() -> Iterator[None]:
    """Turn what breaks when the leader has ended into one line; the leader has said why it did.

    Raises:
        LabError: the leader is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if "onnection" not in str(error):
            raise
        raise LabError("rank 0 has ended, and this process with it; see what rank 0 says") from None


def launched() -> int:
    """Return how many processes torchrun has started beside and including this one; 0 for none."""
    return int(os.environ.get("WORLD_SIZE", "0"))


@contextmanager
def processes(ranks: int) -> Iterator[int]:
    """Join the processes that torchrun has started, yield this one's rank, and leave in order.

    gloo aborts a process at its exit if a parallel model is left when its group is destroyed, so
    all wait for each other, and what has no name any more is collected first.

    Args:
        ranks: how many there must be.

    Raises:
        LabError: there is another number of them.
    """
    if max(launched(), 1) != ranks:
        raise LabError(
            f"torchrun has started {launched()} processes, --ranks says {ranks}; make them equal"
        )
    if ranks == 1:
        yield 0
        return
    threading.Thread(target=_follow_launcher, args=(os.getppid(),), daemon=True).start()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield distributed.get_rank()
        if distributed.get_rank() == 0:
            distributed.broadcast_object_list([None])
        distributed.barrier()
    finally:
        gc.collect()
        distributed.destroy_process_group()


def _follow_launcher(launcher: int) -> None:
    """End when torchrun has ended, also if it was killed; nobody would end this process then."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)
