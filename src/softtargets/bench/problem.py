"""A problem: how large, in which dtype, on which device; and the tensors of one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softtargets.lab.errors import LabError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SCALE = 3.0
MOST_CLASSES = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is measured.

    Attributes:
        rows: N, samples or tokens.
        classes: K.
        width: D of the layer before the logits; None where logits are given.
        dtype: a name in `DTYPES`.
        device: `"cpu"` or `"cuda"`.
    """

    rows: int
    classes: int
    width: int | None = None
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def title(self) -> str:
        """The shape in words, `"1,024 x 1,000"`."""
        sizes = (self.rows, self.width, self.classes)
        return " x ".join(f"{size:,}" for size in sizes if size is not None)

    @property
    def logits_bytes(self) -> int:
        """Bytes of the logits, whether or not they ever exist."""
        return self.rows * self.classes * DTYPES[self.dtype].itemsize


def parse_shape(text: str, linear: bool) -> tuple[int, int | None, int]:
    """Return `(rows, width, classes)` of `"NxK"`, or of `"NxDxK"` for the fused output layer.

    Raises:
        LabError: it is not written so, or a size is not positive.
    """
    form, count = ("NxDxK", 3) if linear else ("NxK", 2)
    parts = text.lower().split("x")
    if len(parts) != count or not all(part.isascii() and part.isdigit() for part in parts):
        raise LabError(f"--shape must be {form} in whole numbers, got {text!r}")
    sizes = [int(part) for part in parts]
    if min(sizes) < 1 or sizes[-1] < 2 or max(sizes) >= MOST_CLASSES:
        raise LabError(
            f"--shape needs sizes from 1 (classes: 2) to {MOST_CLASSES - 1}, got {text!r}"
        )
    return sizes[0], sizes[1] if linear else None, sizes[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The tensors of a problem; cases share them.

    Attributes:
        problem: what they are of.
        tensors: leaves that require a gradient: `(logits,)`, or `(hidden, weight)`.
        labels: `(N,)`.
        shared: what several cases need and is built once, by name.
    """

    problem: Problem
    tensors: tuple[Tensor, ...]
    labels: Tensor
    shared: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def predictions(self) -> Tensor:
        """The largest logit's class of every row, `(N,)`."""
        size = max(1, (1 << 24) // self.problem.classes)
        weight = self.tensors[1].T if len(self.tensors) > 1 else None
        found = []
        for first in range(0, len(self.labels), size):
            block = self.tensors[0][first : first + size]
            found.append((block if weight is None else block @ weight).argmax(-1))
        return torch.cat(found)

    def head(self, rows: int) -> "Inputs":
        """The first rows alone."""
        first = self.tensors[0].detach()[:rows].clone().requires_grad_()
        return Inputs(
            problem=self.problem,
            tensors=(first, *self.tensors[1:]),
            labels=self.labels[:rows],
            shared=self.shared,
        )


def make_inputs(problem: Problem) -> Inputs:
    """Draw the tensors of a problem; the same ones every time on one kind of device."""
    generator = torch.Generator(problem.device).manual_seed(0)
    dtype, device = DTYPES[problem.dtype], problem.device

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        drawn = torch.randn(rows, columns, generator=generator, dtype=dtype, device=device)
        return drawn.mul_(scale).requires_grad_()

    tensors: tuple[Tensor, ...]
    if problem.width is None:
        tensors = (normal(problem.rows, problem.classes, SCALE),)
    else:
        hidden = normal(problem.rows, problem.width, 1.0)
        tensors = (hidden, normal(problem.classes, problem.width, problem.width**-0.5))
    labels = torch.randint(problem.classes, (problem.rows,), generator=generator, device=device)
    return Inputs(problem=problem, tensors=tensors, labels=labels)


def free_bytes(device: str) -> int | None:
    """Return how much memory is free, or None where that cannot be known."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None
