"""Smoothed cross-entropy, forward and backward, beside torch's own, in one process.

Every timing stands behind a gate: loss and gradient are compared with a dense float64 reference
first. Pairs are timed in turn, so that a drifting machine moves both; the median ratio counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

import softtargets as st
from benchmarks import record

SHAPES = ((256, 10), (1024, 1000), (1024, 8000), (1024, 32000))
RATE = 0.1

Step = Callable[[Tensor, Tensor], Tensor]


def torch_step(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, label_smoothing=RATE)


def uniform_step(logits: Tensor, labels: Tensor) -> Tensor:
    return st.cross_entropy(logits, labels, smoothing=RATE)


def online_step(num_classes: int) -> Step:
    return st.CrossEntropyLoss(st.OnlineLabelSmoothing(num_classes))


def check(step: Step, target: Tensor, logits: Tensor, labels: Tensor) -> None:
    """Compare loss and gradient with the dense formula in float64, or raise."""
    few = min(len(logits), max(1, 200_000 // logits.shape[1]))
    ours, exact = logits[:few].clone().requires_grad_(), logits[:few].double().requires_grad_()
    loss = step(ours, labels[:few])
    expected = -(target[:few] * exact.log_softmax(-1)).sum(-1).mean()
    (gradient,) = torch.autograd.grad(loss, ours)
    (expected_gradient,) = torch.autograd.grad(expected, exact)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    scale = expected_gradient.abs().max()
    assert (gradient - expected_gradient).abs().max() <= 1e-5 * scale


def seconds(step: Step, logits: Tensor, labels: Tensor, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        logits.grad = None
        step(logits, labels).backward()
    return (time.perf_counter() - began) / repeats


def compare(shape: tuple[int, int], pairs: int) -> dict[str, object]:
    """Time the steps in turn and return ratios to torch's."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator) * 3
    labels = torch.randint(shape[1], shape[:1], generator=generator)
    onehot = functional.one_hot(labels, shape[1]).double()
    check(uniform_step, (1 - RATE) * onehot + RATE / shape[1], logits, labels)
    online = online_step(shape[1])
    check(online, 0.5 * onehot + 0.5 / shape[1], logits, labels)
    steps = {"torch": torch_step, "uniform": uniform_step, "online": online}
    logits.requires_grad_()
    repeats = max(1, 2_000_000 // logits.numel())
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(pairs + 1):
        for name, step in steps.items():
            times[name].append(seconds(step, logits, labels, repeats))
    ratios = {
        name: record.spread(
            [a / b for a, b in zip(times[name][1:], times["torch"][1:], strict=True)]
        )
        for name in ("uniform", "online")
    }
    torch_ms = round(statistics.median(times["torch"][1:]) * 1000, 3)
    return {"shape": shape, "torch milliseconds": torch_ms, "ratio to torch": ratios}


def main() -> None:
    """Measure all shapes and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = [compare(shape, arguments.pairs) for shape in SHAPES]
    flags = f"--threads {arguments.threads} --pairs {arguments.pairs}"
    command = f"python -m benchmarks.cross_entropy {flags}"
    record.write("cross_entropy", command, results)


if __name__ == "__main__":
    main()
