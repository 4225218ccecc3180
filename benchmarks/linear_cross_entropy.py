"""The fused output layer beside full logits and torch's own chunked form, smoothed.

Every case runs in fresh processes, in turn, so that its peak memory is its own and a drifting
machine moves all of them. Behind a gate: loss and gradients equal those of float64 full logits.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

import softtargets as st
from benchmarks import record

SAMPLES, WIDTH, CLASSES, RATE, ROUNDS = 4096, 256, 64000, 0.1, 5

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def prior(num_classes: int, dtype: torch.dtype) -> Tensor:
    counts = 1 / torch.arange(1, num_classes + 1, dtype=torch.float64)
    return (counts / counts.sum()).to(dtype)


def fused_prior(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    policy = st.LabelSmoothing(RATE, prior=prior(len(weight), hidden.dtype))
    return st.linear_cross_entropy(hidden, weight, labels, smoothing=policy)


CASES: dict[str, Loss] = {
    "torch, full logits": lambda h, w, y: functional.cross_entropy(
        h @ w.T, y, label_smoothing=RATE
    ),
    "softtargets, full logits": lambda h, w, y: st.cross_entropy(h @ w.T, y, smoothing=RATE),
    "softtargets, linear_cross_entropy": lambda h, w, y: st.linear_cross_entropy(
        h, w, y, smoothing=RATE
    ),
    "softtargets, linear_cross_entropy, prior": fused_prior,
}


def inputs(samples: int, width: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(samples, width, generator=generator).requires_grad_()
    weight = (torch.randn(classes, width, generator=generator) / width**0.5).requires_grad_()
    return hidden, weight, torch.randint(classes, (samples,), generator=generator)


def check(name: str, loss: Loss) -> None:
    """Compare with full logits in float64 on a smaller problem, or raise."""
    hidden, weight, labels = inputs(300, 32, 3000)
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    target = (1 - RATE) * functional.one_hot(labels, 3000).double()
    target += RATE * (prior(3000, torch.float64) if "prior" in name else 1 / 3000)
    expected = -(target * (exact[0] @ exact[1].T).log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(loss(hidden, weight, labels).double(), expected, rtol=1e-5, atol=0)
    ours = torch.autograd.grad(loss(hidden, weight, labels), (hidden, weight))
    for one, other in zip(ours, torch.autograd.grad(expected, exact), strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def run(name: str) -> dict[str, float]:
    """One forward and backward pass: seconds, and megabytes beyond the inputs."""
    torch.set_num_threads(2)
    check(name, CASES[name])
    hidden, weight, labels = inputs(SAMPLES, WIDTH, CLASSES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    CASES[name](hidden, weight, labels).backward()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "megabytes": (after - before) / 1024}


def main() -> None:
    """Measure all cases in turn and write the record."""
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1])))
        return
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, results in measured.items():
            command = [sys.executable, "-m", "benchmarks.linear_cross_entropy", name]
            done = subprocess.run(command, capture_output=True, check=True)
            results.append(json.loads(done.stdout))
    reference = [result["seconds"] for result in measured["torch, full logits"]]
    summary = {
        name: {
            "ratio of time to torch": record.spread(
                [r["seconds"] / base for r, base in zip(results, reference, strict=True)]
            ),
            "seconds": record.spread([r["seconds"] for r in results]),
            "extra megabytes": record.spread([r["megabytes"] for r in results]),
        }
        for name, results in measured.items()
    }
    shape = {"samples": SAMPLES, "width": WIDTH, "classes": CLASSES, "threads": 2}
    record.write(
        "linear_cross_entropy",
        "python -m benchmarks.linear_cross_entropy",
        {"problem": shape, "cases": summary},
    )


if __name__ == "__main__":
    main()
