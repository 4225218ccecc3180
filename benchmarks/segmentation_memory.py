"""What losses of label maps need in memory: 32 x 12 x 360 x 480 logits, 265 MB in float32.

Each case is a forward and a backward pass in a process of its own, its peak less what was there
before: the gradient, and whatever else. Before it is measured, loss and gradient of a small batch
with void pixels are compared with the plain formulas of the dense target in float64.

    python -m benchmarks.segmentation_memory
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import softtargets as st
from benchmarks import readme
from benchmarks.costs import RECORDS, read
from softtargets.bench import record
from softtargets.bench.memory import extra_bytes
from softtargets.lab.segmentation.methods import METHODS

PAGE = readme.ROOT / "docs" / "segmentation.md"
SHAPE = (32, 12, 360, 480)
GATED = (2, 12, 36, 48)
VOID, TOLERANCE = 255, 1e-5
TORCH: dict[str, Callable[[], nn.Module]] = {
    "torch, hard": lambda: nn.CrossEntropyLoss(ignore_index=VOID),
    "torch, LS": lambda: nn.CrossEntropyLoss(ignore_index=VOID, label_smoothing=0.1),
}
CASES = ("copy", *TORCH, *METHODS)


def criterion(name: str) -> nn.Module:
    """Return the loss of a case."""
    if name in TORCH:
        return TORCH[name]()
    return METHODS[name].build(METHODS[name].parameters, SHAPE[1], VOID)


def problem(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Return logits and labels: squares of one class, a twentieth of the pixels void."""
    count, classes, height, width = shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(classes, (count, height // 12, width // 12), generator=generator)
    labels = coarse.repeat_interleave(12, 1).repeat_interleave(12, 2).contiguous()
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = VOID
    return torch.randn(shape, generator=generator), labels


def dense_target(name: str, labels: Tensor, classes: int, policy: nn.Module | None) -> Tensor:
    """Return `(N, H, W, K)` float64, by the definition of each kind of target."""
    void = (labels == VOID).unsqueeze(-1)
    hard = functional.one_hot(labels.masked_fill(labels == VOID, 0), classes).double()
    hard = hard.masked_fill(void, 0)
    if name.endswith("-ls") or name == "torch, LS":
        return (0.9 * hard + 0.1 / classes).masked_fill(void, 0)
    if name.endswith("-ols"):
        assert isinstance(policy, st.OnlineLabelSmoothing)
        return 0.5 * hard + 0.5 * hard @ policy.matrix.double()
    if not name.endswith("-spatial"):
        return hard
    padded = functional.pad(hard.movedim(-1, 1), (1, 1, 1, 1), mode="replicate").movedim(1, -1)
    height, width = labels.shape[1:]
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    sizes = [torch.tensor(-(i * i + j * j) / 2, dtype=torch.float64).exp() for i, j in offsets]
    found = 0.5 * hard
    for (i, j), size in zip(offsets, sizes, strict=True):
        beside = padded[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width]
        beside = torch.where(beside.sum(-1, keepdim=True) > 0, beside, hard)
        found = found + 0.5 * size / sum(sizes) * beside
    return found.masked_fill(void, 0)


def plain_loss(name: str, logits: Tensor, labels: Tensor, q: Tensor) -> Tensor:
    """Return the loss by its formula, in float64."""
    p, counted = logits.movedim(1, -1).softmax(-1), labels != VOID
    parts = name.partition("-")[0].split("+") if name in METHODS else ["ce"]
    total = logits.new_zeros(())
    if "ce" in parts:
        total = total - (q * p.log()).sum(-1)[counted].mean()
    if "dice" in parts:
        p = p * counted.unsqueeze(-1)
        pixels = (1, 2)
        sizes = p.square().sum(pixels) + q.square().sum(pixels)
        total = total + (1 - (2 * (p * q).sum(pixels) + 1e-5) / (sizes + 1e-5)).mean()
    return total


def gate(name: str) -> float:
    """Return the largest relative error of loss and gradient, or end if it is too large."""
    logits, labels = problem(GATED)
    loss = criterion(name)
    policy = next((m for m in loss.modules() if isinstance(m, st.AbstractSmoothing)), None)
    if isinstance(policy, st.OnlineLabelSmoothing):
        for each in loss.modules():
            if isinstance(each, st.OnlineLabelSmoothing):
                right = 4 * functional.one_hot(labels.clamp(max=SHAPE[1] - 1), SHAPE[1])
                each(st.Target.from_labels(labels, SHAPE[1], VOID), right + logits.movedim(1, -1))
                each.end_epoch()
    leaf, wide = logits.clone().requires_grad_(), logits.double().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    q = dense_target(name, labels, SHAPE[1], policy)
    expected = plain_loss(name, wide, labels, q)
    expected.backward()
    assert leaf.grad is not None
    assert wide.grad is not None
    void = (labels == VOID).unsqueeze(1).expand(leaf.shape)
    if bool((leaf.grad[void] != 0).any()):
        raise SystemExit(f"{name}: void pixels have a gradient; nothing is measured")
    gradient = (leaf.grad - wide.grad).abs().max() / wide.grad.abs().max()
    worst = max(abs(float(value.detach() / expected.detach()) - 1), float(gradient))
    if not worst <= TOLERANCE:
        raise SystemExit(f"{name}: loss or gradient are off by {worst:g}; nothing is measured")
    return worst


def measure(name: str) -> dict[str, object]:
    """Return what a case takes; for a process of its own."""
    torch.set_num_threads(1)
    error = None if name == "copy" else float(f"{gate(name):.1g}")
    logits, labels = problem(SHAPE)
    logits.requires_grad_()
    loss = None if name == "copy" else criterion(name)

    def prepare() -> None:
        logits.grad = None

    def run() -> None:
        if loss is None:
            logits.grad = logits.detach().clone()
        else:
            loss(logits, labels).backward()

    used, method = extra_bytes(run, prepare)
    prepare()
    began = time.process_time()
    run()
    return {
        "megabytes": round(used / 1e6, 1),
        "x logits": round(used / (4 * logits.numel()), 3),
        "processor seconds": round(time.process_time() - began, 2),
        "largest error": error,
        "method": method,
    }


def table(content: dict[str, object]) -> str:
    """Return the record as the page shows it."""
    machine, results = content["machine"], content["results"]
    assert isinstance(machine, dict)
    assert isinstance(results, dict)
    lines = [
        f"`{content['command']}`, 1 thread of {machine['processor']}, torch {machine['torch']}, "
        f"load {machine['load'][0]} before the run:",
        "",
        "| forward and backward | MB | x logits | more than with hard labels | processor s |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in results.items():
        title = METHODS[name].title if name in METHODS else name
        shown = ""
        if name in METHODS and METHODS[name].targets != "hard":
            shown = f"{found['x logits'] - results[METHODS[name].loss]['x logits']:+.2f}"
        lines.append(
            f"| {title} | {found['megabytes']:,.0f} | {found['x logits']:.2f} | {shown} | "
            f"{found['processor seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the table of the record."""
    return readme.filled(text, "memory", table(read("segmentation_memory")))


def main() -> None:
    """Measure each case in a process of its own; write the record and the table of the page."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    where, results = record.machine(), {}
    # With a fixed threshold glibc hands every large piece back to the system when it is freed.
    glibc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    for name in CASES:
        command = [sys.executable, "-m", "benchmarks.segmentation_memory", name]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, check=True, env={**os.environ, **glibc}
        )
        results[name] = json.loads(done.stdout)
        print(name, done.stdout.decode().strip(), file=sys.stderr, flush=True)
    content = {
        "command": "python -m benchmarks.segmentation_memory",
        "machine": where,
        "problem": {"shape": list(SHAPE), "dtype": "float32", "void": 0.05, "threads": 1},
        "results": results,
    }
    record.write(RECORDS, "segmentation_memory.json", content)
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
