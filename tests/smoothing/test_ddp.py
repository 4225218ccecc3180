"""Online label smoothing inside a DDP-wrapped module, on four processes, one without data.

DDP sends rank 0's buffers to all ranks before every forward pass: the running sums are none.
"""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import softtargets as st

K, WIDTH, RANKS = 4, 3, 4
# Sizes of each rank's batches; rank 3 has none, class 3 is seen by rank 2 alone.
PLAN = {0: (5, 9, 3), 1: (4,), 2: (7, 1), 3: ()}

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")


class Trained(nn.Module):
    """A model that returns its own loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(WIDTH, K)
        self.criterion = st.CrossEntropyLoss(st.OnlineLabelSmoothing(K))

    def forward(self, x, labels):
        return self.criterion(self.head(x), labels)


def batches(rank, epoch):
    for i, n in enumerate(PLAN[rank]):
        generator = torch.Generator().manual_seed(1000 * epoch + 10 * rank + i)
        x = torch.randn(n, WIDTH, generator=generator)
        yield x, torch.randint(K if rank == 2 else K - 1, (n,), generator=generator)


def state(model):
    extra = model.criterion.smoothing.get_extra_state()
    shared = extra["shared_sums"]
    sums = extra["sums"] if shared is None else extra["sums"] + shared
    return sums, extra["counts"] + extra["shared_counts"]


def work(rank, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS
    )
    torch.set_num_threads(1)
    model = Trained()
    wrapped = DistributedDataParallel(model)
    history = []
    for epoch in range(2):
        with wrapped.join():
            for x, labels in batches(rank, epoch):
                wrapped(x, labels).backward()
        policy = model.criterion.smoothing
        policy.sync()
        if rank == 0:
            torch.save(model.state_dict(), f"{folder}/checkpoint{epoch}.pt")
        dist.barrier()
        restored = Trained()
        restored.load_state_dict(torch.load(f"{folder}/checkpoint{epoch}.pt"))
        history += state(model)
        for each in (policy, restored.criterion.smoothing):
            each.end_epoch()
            history.append(each.matrix.clone())
    torch.save(history, f"{folder}/rank{rank}.pt")
    dist.barrier()
    # gloo's threads may abort an ordinary exit.
    os._exit(0)


def test_four_ranks_inside_ddp_equal_one_process(tmp_path):
    context = mp.spawn(work, (str(tmp_path),), nprocs=RANKS, join=False)
    for process in context.processes:
        process.join(120)
        process.kill() if process.is_alive() else None
    model = Trained()
    expected = []
    for epoch in range(2):
        for rank in PLAN:
            for x, labels in batches(rank, epoch):
                model(x, labels)
        expected += state(model)
        model.criterion.smoothing.end_epoch()
        expected += [model.criterion.smoothing.matrix] * 2
    assert expected[1][3] > 0
    for rank in range(RANKS):
        found = torch.load(tmp_path / f"rank{rank}.pt")
        for got, right in zip(found, expected, strict=True):
            torch.testing.assert_close(got, right)
    # One process restores what four wrote, and counts it once.
    alone = Trained()
    alone.load_state_dict(torch.load(tmp_path / "checkpoint1.pt"))
    torch.testing.assert_close(state(alone)[1], expected[5])
