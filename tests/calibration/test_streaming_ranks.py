"""Two processes, one of them without a sample at first: the numbers of one process."""

import importlib.util
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from softtargets.calibration import StreamingCalibration

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")

K, N = 4, 50
HAS_TORCHMETRICS = importlib.util.find_spec("torchmetrics") is not None


def batch(number):
    generator = torch.Generator().manual_seed(number)
    logits = torch.randn(N, K, generator=generator, dtype=torch.float64)
    return torch.randint(K, (N,), generator=generator), logits


def by_torchmetrics(rank):
    from softtargets.integrations.torchmetrics import (
        AreaUnderRiskCoverage,
        ClasswiseCalibrationError,
    )

    values = {}
    for kind in (AreaUnderRiskCoverage, ClasswiseCalibrationError):
        metric = kind(K, of="logits")
        for number in ((0, 1), (2,))[rank]:
            labels, logits = batch(number)
            metric.update(logits, labels)
        values[kind.__name__] = float(metric.compute())
    return values


def work(rank, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    torch.set_num_threads(1)
    stream, history = StreamingCalibration(K, class_wise=True), []
    for round_ in range(2):
        for number in range(2):
            if rank == 0 or round_ == 1:
                labels, logits = batch(4 * round_ + 2 * rank + number)
                stream.update(labels, logits=logits)
        stream.sync()
        stream.sync()  # nothing new, nothing changes
        history.append(stream.state_dict())
    restored = StreamingCalibration(K, class_wise=True)
    restored.load_state_dict(history[-1])
    restored.sync()
    history.append(restored.state_dict())
    torch.save(history, f"{folder}/rank{rank}.pt")
    torch.save(by_torchmetrics(rank) if HAS_TORCHMETRICS else {}, f"{folder}/metrics{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    # gloo's threads may abort an ordinary exit.
    os._exit(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    context = mp.spawn(work, (str(path),), nprocs=2, join=False)
    for process in context.processes:
        process.join(120)
        process.kill() if process.is_alive() else None
    return path


def alone(numbers):
    stream = StreamingCalibration(K, class_wise=True)
    for number in numbers:
        labels, logits = batch(number)
        stream.update(labels, logits=logits)
    return stream


def test_two_ranks_equal_one(folder):
    expected = [alone(numbers).state_dict() for numbers in ([0, 1], [0, 1, 4, 5, 6, 7])]
    for rank in (0, 1):
        history = torch.load(folder / f"rank{rank}.pt")
        for found, sums in zip(history, [*expected, expected[-1]], strict=True):
            for name, part in sums.items():
                torch.testing.assert_close(found[name], part)
            assert torch.equal(found["ranked"], sums["ranked"])


@pytest.mark.skipif(not HAS_TORCHMETRICS, reason="torchmetrics is not installed")
def test_torchmetrics_reduces_over_ranks(folder):
    expected = alone([0, 1, 2]).compute()
    for rank in (0, 1):
        found = torch.load(folder / f"metrics{rank}.pt")
        assert found["AreaUnderRiskCoverage"] == pytest.approx(expected.area_under_risk_coverage)
        wanted = expected.classwise_calibration_error
        assert found["ClasswiseCalibrationError"] == pytest.approx(wanted)
