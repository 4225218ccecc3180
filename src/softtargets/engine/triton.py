"""The Triton engine: one pass over the logits forward and one backward, for every `Target`.

The forward pass keeps a running maximum and sum per lane (online softmax) and, beside them, the
sums that the terms of a target need; the scalars that depend on masked classes are formed after
the loop and saved for the backward pass, which writes the whole gradient at once. Any number of
entries, table rows and dense rows is fused: the kernels are compiled per number of terms.

An observer that only adds up softmax rows by label is served by the forward kernel, which goes a
second time through the rows that teach. Its atomic additions come in any order, so these sums are
the same from run to run only up to rounding, unless `torch.use_deterministic_algorithms` is on:
then the observer is shown blocks, as any other.

A tile is rows x classes, so that small K, strided classes `(N, K, H, W)` and vocabularies share
one kernel; logits, masks and dense rows are read by strides. This file imports Triton and is
imported only when asked for. `TRITON_INTERPRET=1`, set before that, runs it on a CPU, for tests.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import triton
import triton.language as tl
from torch import Tensor

from softtargets import arithmetic
from softtargets.engine import blocks, formula, triton_kernels
from softtargets.engine.frame import AbstractEngine, Call, Forward
from softtargets.engine.observer import Observer, Statistics, statistics_of
from softtargets.terms import DenseRows, Entries, TableRows, Uniform

# Elements of a tile: 16 per thread of 8 warps; halved for each term that needs registers.
TILE_ELEMENTS = 4096
# Rows of a tile: neighbours in memory where classes are strided, else only to fill a tile.
STRIDED_ROWS = 128
CONTIGUOUS_ROWS = 32

_INTERPRETED = bool(triton.knobs.runtime.interpret)


def unavailable(device: torch.device) -> str | None:
    """Return why tensors on `device` cannot be served, or None if they can."""
    if device.type == "cuda" or (device.type == "cpu" and _INTERPRETED):
        return None
    return f"it runs on CUDA devices, the logits are on {device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operands:
    """What the kernels read of a call, per sample in the computing dtype.

    Attributes:
        uniform: `(*batch)` uniform mass, or None.
        entries: classes and weights, `(*batch, J)` each, or None.
        tables: tables `(R, K)`, their rows and the weights of these, `(*batch)` each.
        dense: values `(*batch, K)` and weights `(*batch)`.
        weight: `(K,)` class weights, or None.
        mask: `(*batch, K)` uint8, or None.
    """

    uniform: Tensor | None
    entries: tuple[Tensor, Tensor] | None
    tables: list[tuple[Tensor, Tensor, Tensor]]
    dense: list[tuple[Tensor, Tensor]]
    weight: Tensor | None
    mask: Tensor | None


def _operands(call: Call) -> _Operands:
    logits, class_mask, weight = call.logits, call.class_mask, call.weight
    dtype = formula.compute_dtype(logits)
    uniform = entries = None
    tables: list[tuple[Tensor, Tensor, Tensor]] = []
    dense: list[tuple[Tensor, Tensor]] = []
    for term in call.target.terms:
        match term:
            case Entries():
                classes, weights = term.classes.detach(), term.weights.detach().to(dtype)
                if classes.shape[-1] > 1:
                    # On a dead class the weights have to meet before they meet -inf.
                    weights = arithmetic.accumulated(classes, weights)
                entries = classes, weights
            case Uniform():
                uniform = term.weights if uniform is None else uniform + term.weights
            case TableRows():
                table = term.table.detach()
                columns = zip(term.rows.unbind(-1), term.weights.detach().unbind(-1), strict=True)
                tables += [(table, rows, weights.to(dtype)) for rows, weights in columns]
            case DenseRows():
                values = term.values.detach()
                if term.through is not None:
                    alive = formula.masked_logits(logits.detach(), class_mask) != -torch.inf
                    values = term.living_values(alive).detach()
                dense.append((values, term.weights.detach().to(dtype)))
            case _:
                raise TypeError(f'`impl="triton"` knows no term {type(term).__name__}')
    return _Operands(
        uniform=None if uniform is None else uniform.detach().to(dtype),
        entries=entries,
        tables=tables,
        dense=dense,
        weight=None if weight is None else weight.detach().to(dtype).contiguous(),
        mask=None if class_mask is None else class_mask.expand(logits.shape).view(torch.uint8),
    )


class _Views:
    """Tensors `(*batch, K)` with their batch dimensions merged as far as all strides allow.

    Attributes:
        sizes: the merged batch dimensions, at least two: the last two make the grid of a launch,
            a launch is made for each index into those before.
    """

    def __init__(self, shape: Sequence[int], matrices: list[Tensor | None]) -> None:
        tensors = [tensor for tensor in matrices if tensor is not None]
        sizes: list[int] = []
        dims: list[int] = []
        for dim in reversed(range(len(shape))):
            if shape[dim] == 1:
                continue
            if dims and all(t.stride(dim) == sizes[0] * t.stride(dims[0]) for t in tensors):
                sizes[0] *= shape[dim]
                continue
            sizes.insert(0, shape[dim])
            dims.insert(0, dim)
        self._missing = max(2 - len(sizes), 0)
        self.sizes = [1] * self._missing + sizes
        self._dims = dims
        self._batch_dims = len(shape)

    def matrix(self, tensor: Tensor | None, at: tuple[int, ...]) -> tuple[Any, ...] | None:
        """Return the part `(outer, inner, K)` of one launch, the same memory, and its strides."""
        if tensor is None:
            return None
        strides = [0] * self._missing + [tensor.stride(dim) for dim in self._dims]
        whole = tensor.as_strided(
            (*self.sizes, tensor.shape[-1]), (*strides, tensor.stride(-1)), tensor.storage_offset()
        )
        return (whole[at], *whole[at].stride())

    def samples(self, tensor: Tensor | None, at: tuple[int, ...]) -> Tensor | None:
        """Return the part `(outer, inner, ...)` of a small tensor `(*batch, ...)`, contiguous."""
        if tensor is None:
            return None
        return tensor.contiguous().view(*self.sizes, *tensor.shape[self._batch_dims :])[at]

    def launches(self) -> Iterator[tuple[int, ...]]:
        """Yield the index of each launch."""
        return itertools.product(*(range(size) for size in self.sizes[:-2]))


def _tile(logits: Tensor, views: _Views, sums: int) -> dict[str, int]:
    """Choose the tile and its warps by K and by what is contiguous: classes or rows.

    Args:
        logits: `(*batch, K)`.
        views: of them.
        sums: terms that hold sums of their own in registers.
    """
    num_classes, strided = logits.shape[-1], logits.stride(-1) != 1
    elements = max(TILE_ELEMENTS >> (sums + (logits.dtype == torch.float64)), 1)
    limit = min(STRIDED_ROWS if strided and num_classes > 1 else CONTIGUOUS_ROWS, elements)
    columns = min(triton.next_power_of_2(num_classes), elements // limit if strided else elements)
    rows = min(elements // columns, limit, triton.next_power_of_2(views.sizes[-1]))
    return {"ROWS": rows, "COLS": columns, "num_warps": min(max(rows * columns // 256, 1), 8)}


def _constants(
    logits: Tensor, operands: _Operands, matrices: list[Tensor | None], views: _Views
) -> dict[str, Any]:
    """What the kernels are compiled for beside the number of terms."""
    num_classes, tables = logits.shape[-1], [table for table, _, _ in operands.tables]
    furthest = max(t.stride(-1) for t in [*matrices, *tables] if t is not None) * num_classes
    constants: dict[str, Any] = {
        **_tile(logits, views, sums=len(operands.tables) + len(operands.dense)),
        "ACC": tl.float64 if logits.dtype == torch.float64 else tl.float32,
        "WIDE": furthest >= 1 << 31,
        "SINGLES": 1,
    }
    if operands.entries is not None:
        count = triton.next_power_of_2(operands.entries[0].shape[-1])
        constants["SINGLES"] = min(count, max(64, constants["COLS"]))
    return constants


def _terms(operands: _Operands, views: _Views, at: tuple[int, ...]) -> dict[str, Any]:
    """The terms of a target, for one launch."""
    entries = None
    if operands.entries is not None:
        classes, weights = operands.entries
        entries = (views.samples(classes, at), views.samples(weights, at), classes.shape[-1])
    return {
        "entries": entries,
        "tables": tuple(
            (table, len(table), *table.stride(), *(views.samples(t, at) for t in (rows, weights)))
            for table, rows, weights in operands.tables
        ),
        "dense": tuple(
            (*(views.matrix(values, at) or ()), views.samples(weights, at))
            for values, weights in operands.dense
        ),
    }


def _launch(
    kernel: Any,
    logits: Tensor,
    operands: _Operands,
    results: tuple[Tensor, ...],
    *,
    gradient: tuple[Tensor, Tensor] | None = None,
    statistics: Statistics | None = None,
) -> None:
    """Run a kernel over all samples.

    Args:
        kernel: forward (`gradient` None) or backward.
        logits: `(*batch, K)`.
        operands: of the target.
        results: losses, log-partition, scalars and chosen logits of the forward kernel.
        gradient: incoming `(*batch)` and outgoing `(*batch, K)` gradient, or None.
        statistics: what the forward kernel adds up beside the losses, or None.
    """
    outgoing = None if gradient is None else gradient[1]
    matrices = [logits, operands.mask, outgoing, *(values for values, _ in operands.dense)]
    views = _Views(logits.shape[:-1], matrices)
    constants = _constants(logits, operands, matrices, views)
    for at in views.launches():
        own: dict[str, Any]
        if gradient is None:
            own = {
                "uniform": views.samples(operands.uniform, at),
                "LOWEST": torch.finfo(results[0].dtype).min,
                "statistics": None,
                "CORRECT_ONLY": statistics is not None and statistics.correct_only,
            }
            if statistics is not None:
                labels = views.samples(statistics.labels, at)
                own["statistics"] = (labels, statistics.sums, statistics.counts)
        else:
            own = {"incoming": views.samples(gradient[0], at), "grad": views.matrix(outgoing, at)}
        outer, inner = views.sizes[-2:]
        kernel[(outer * math.ceil(inner / constants["ROWS"]),)](
            logits=views.matrix(logits, at),
            mask=views.matrix(operands.mask, at),
            weight=operands.weight,
            results=tuple(views.samples(result, at) for result in results),
            inner_size=inner,
            num_classes=logits.shape[-1],
            **_terms(operands, views, at),
            **own,
            **constants,
        )


def _results(logits: Tensor, operands: _Operands) -> tuple[Tensor, ...]:
    """Room for losses, log-partition, the scalars of each sample, and the chosen logits."""
    batch, dtype = logits.shape[:-1], formula.compute_dtype(logits)
    singles = 0 if operands.entries is None else operands.entries[0].shape[-1]
    tails = ((), (), (3 + len(operands.tables),), (singles,))
    return tuple(logits.new_empty((*batch, *tail), dtype=dtype) for tail in tails)


def _statistics(call: Call, observer: Observer | None) -> Statistics | None:
    """What the forward kernel adds up for the observer, or None."""
    if not call.logits.numel() or torch.are_deterministic_algorithms_enabled():
        return None
    statistics = statistics_of(observer, call.logits)
    if statistics is not None:
        assert statistics.sums.is_contiguous()
        assert statistics.counts.is_contiguous()
        assert statistics.labels.shape == call.logits.shape[:-1]
    return statistics


@final
class TritonEngine(AbstractEngine):
    """See the module."""

    def forward(self, call: Call, observer: Observer | None) -> Forward:
        """Run the forward kernel, which serves the observer too if it can."""
        operands, statistics = _operands(call), _statistics(call, observer)
        losses, partition, *kept = results = _results(call.logits, operands)
        if call.logits.numel():
            with torch.cuda.device_of(call.logits):  # type: ignore[no-untyped-call]
                _launch(
                    triton_kernels.forward_kernel,
                    call.logits,
                    operands,
                    results,
                    statistics=statistics,
                )
        if observer is not None and statistics is None:
            blocks.show(observer, call.logits, call.class_mask)
        return Forward(losses, partition, tuple(kept))

    def gradient_(self, out: Tensor, call: Call, forward: Forward, incoming: Tensor) -> None:
        """Run the backward kernel."""
        if not call.logits.numel():
            return
        partition = forward.logsumexp
        # The kernel does not read the losses again.
        results = (partition, partition, *forward.kept)
        gradient = (incoming.to(partition.dtype), out)
        with torch.cuda.device_of(call.logits):  # type: ignore[no-untyped-call]
            _launch(
                triton_kernels.backward_kernel,
                call.logits,
                _operands(call),
                results,
                gradient=gradient,
            )
