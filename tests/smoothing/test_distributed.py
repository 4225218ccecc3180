"""Online label smoothing on two processes learns what one process learns."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import softtargets as st

K = 4
# The ranks have batches of different sizes and numbers; class 3 is seen by rank 1 alone.
PLAN = {0: [(0, 5), (1, 9), (2, 3)], 1: [(3, 12)]}

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")


def steps(rank, epoch):
    for seed, n in PLAN[rank]:
        generator = torch.Generator().manual_seed(100 * epoch + seed)
        logits = torch.randn(n, K, generator=generator)
        labels = torch.randint(K if rank else K - 1, (n,), generator=generator)
        logits[torch.arange(n), labels] += 1
        yield logits, labels


def counts_of(policy):
    state = policy.get_extra_state()
    return state["counts"] + state["shared_counts"]


def work(rank, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    torch.set_num_threads(1)
    policy = st.OnlineLabelSmoothing(K)
    criterion = st.CrossEntropyLoss(policy)
    history = []
    for epoch in range(2):
        for i, (logits, labels) in enumerate(steps(rank, epoch)):
            criterion(logits, labels)
            if i == 0:
                policy.sync()
        history.append(counts_of(policy))
        policy.sync()
        history.append(counts_of(policy))
        restored = st.OnlineLabelSmoothing(K)
        restored.load_state_dict(policy.state_dict())
        policy.end_epoch()
        restored.end_epoch()
        history += [policy.matrix, restored.matrix]
    # Every rank restores what one rank wrote without a sync: it counts once, not per rank.
    writer = st.OnlineLabelSmoothing(K)
    st.CrossEntropyLoss(writer)(*next(iter(steps(0, 0))))
    reader = st.OnlineLabelSmoothing(K)
    reader.load_state_dict(writer.state_dict())
    reader.sync()
    history += [counts_of(writer), counts_of(reader)]
    torch.save(history, f"{folder}/rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    # gloo's threads may abort an ordinary exit.
    os._exit(0)


def single():
    policy = st.OnlineLabelSmoothing(K)
    criterion = st.CrossEntropyLoss(policy)
    history = []
    for epoch in range(2):
        for rank in PLAN:
            for logits, labels in steps(rank, epoch):
                criterion(logits, labels)
        history.append(counts_of(policy))
        policy.end_epoch()
        history.append(policy.matrix)
    return history


def test_two_ranks_equal_one(tmp_path):
    context = mp.spawn(work, (str(tmp_path),), nprocs=2, join=False)
    for process in context.processes:
        process.join(120)
        process.kill() if process.is_alive() else None
    results = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    counts, matrix, later_counts, later = single()
    for history in results:
        written, read = history.pop(-2), history.pop(-1)
        assert written.sum() > 0
        assert torch.equal(read, written)
        assert torch.equal(history[1], counts)
        assert torch.equal(history[5], later_counts)
        for got in history[2:4]:
            torch.testing.assert_close(got, matrix)
        for got in history[6:8]:
            torch.testing.assert_close(got, later)
    for a, b in zip(results[0][1::4], results[1][1::4], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(results[0][2], results[1][2])
    assert counts[3] > 0


STORAGES = [{"storage": "bfloat16"}, {"storage": "top_k", "top_k": 1}, {"storage": "top_k"}]


def work_small(rank, folder):
    """Rank 1 sees nothing in the second epoch; sums are shared once in the middle of each."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    torch.set_num_threads(1)
    results = []
    for arguments in STORAGES:
        policy = st.OnlineLabelSmoothing(K, **arguments)
        criterion = st.CrossEntropyLoss(policy)
        history = []
        for epoch in range(2):
            for i in range(2):
                batches = list(steps(rank, epoch))[i::2] if rank == 0 or epoch == 0 else []
                for logits, labels in batches:
                    criterion(logits, labels)
                history.append(counts_of(policy))
                policy.sync()
                history.append(counts_of(policy))
            restored = st.OnlineLabelSmoothing(K, **arguments)
            # As from rank 0's file, which all ranks read, before and after more was learned.
            saved = [policy.state_dict()]
            dist.broadcast_object_list(saved)
            restored.load_state_dict(saved[0])
            for each in (policy, restored):
                each.end_epoch()
                history += each._rows()
        writer, reader = (st.OnlineLabelSmoothing(K, **arguments) for _ in range(2))
        st.CrossEntropyLoss(writer)(*next(iter(steps(0, 0))))
        reader.load_state_dict(writer.state_dict())
        reader.sync()
        assert torch.equal(counts_of(reader), counts_of(writer))
        results.append(history)
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


def test_small_storages_agree_on_all_ranks_and_with_one(tmp_path):
    context = mp.spawn(work_small, (str(tmp_path),), nprocs=2, join=False)
    for process in context.processes:
        process.join(120)
        process.kill() if process.is_alive() else None
    results = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    for arguments, *histories in zip(STORAGES, *results, strict=True):
        policy = st.OnlineLabelSmoothing(K, **arguments)
        criterion = st.CrossEntropyLoss(policy)
        for epoch in range(2):
            # What a sync leaves, and the rows of the policy and of its restored twin.
            mine, other = ([h[8 * epoch + i] for i in (1, 3, 4, 5, 6, 7)] for h in histories)
            for a, b in zip(mine, other, strict=True):
                assert torch.equal(a, b)
            assert all(torch.equal(mine[i], mine[i + 2]) for i in (2, 3))
            for rank in PLAN if epoch == 0 else (0,):
                for logits, labels in steps(rank, epoch):
                    criterion(logits, labels)
            assert torch.equal(counts_of(policy), mine[1])
            policy.end_epoch()
            if arguments.get("top_k") != 1:
                for a, b in zip(policy._rows(), mine[2:4], strict=True):
                    torch.testing.assert_close(a, b)
