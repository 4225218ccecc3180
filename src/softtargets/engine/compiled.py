"""The compiled engine: the formula as fused kernels that TorchInductor writes for the device.

One kernel reads the logits for the losses, one reads them again and writes the gradient, into the
logits themselves where that was asked for. Kernels are made at the first call for each kind of
target, dtype and number of classes (seconds), and kept by TorchInductor's cache on disk.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar, final

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import GPUTooOldForTriton, InductorError, TritonMissing

from softtargets.engine import blocks, formula
from softtargets.engine.frame import AbstractEngine, Call, Forward
from softtargets.engine.observer import Observer

# Each kind of target, dtype and number of classes is a kernel of its own.
KERNELS = 256

_P = ParamSpec("_P")
_R = TypeVar("_R")


@final
class CompiledEngine(AbstractEngine):
    """See the module."""

    def forward(self, call: Call, observer: Observer | None) -> Forward:
        """Return the values; on a CPU masks are left out until a loss is not finite."""
        call = _detached(call)
        masked = not call.logits.is_cpu
        values = _run(_values, call, masked)
        if not masked and not math.isfinite(float(values.losses.sum())):
            masked, values = True, _run(_values, call, True)
        if observer is not None:
            blocks.show(observer, call.logits, call.class_mask)
        return Forward(values.losses, values.logsumexp, (values.mass,), masked)

    def gradient_(self, out: Tensor, call: Call, forward: Forward, incoming: Tensor) -> None:
        """Write the gradient in one pass."""
        (mass,) = forward.kept
        saved = (forward.logsumexp, mass, incoming)
        elsewhere = None if out is call.logits else out
        _run(_gradient_, elsewhere, call, saved, forward.masked)


def _detached(call: Call) -> Call:
    """The same logits for training and evaluation, which would be compiled apart."""
    return replace(call, logits=call.logits.detach())


def _write_values(call: Call, masked: bool) -> formula.Values:
    logits = formula.masked_logits(call.logits, call.class_mask)
    return formula.values(logits, call.target, call.weight, masked=masked)


def _write_gradient(
    out: Tensor | None, call: Call, saved: tuple[Tensor, Tensor, Tensor], masked: bool
) -> None:
    logits = formula.masked_logits(call.logits, call.class_mask)
    grad = formula.gradient(logits, call.target, call.weight, saved, masked=masked)
    if call.class_mask is not None:
        grad = torch.where(call.class_mask, grad, 0)
    (call.logits if out is None else out).copy_(grad)


def compiled(function: Callable[_P, _R], **options: str) -> Callable[_P, _R]:
    """Return `function` as kernels that are made when they are first called for."""
    # torch's stubs do not have the limit yet.
    return torch.compile(  # type: ignore[call-overload, no-any-return]
        function, fullgraph=True, recompile_limit=KERNELS, **options
    )


_values = compiled(_write_values)
_gradient_ = compiled(_write_gradient)


def _run(kernel: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    try:
        return kernel(*args, **kwargs)
    except (BackendCompilerFailed, InductorError, TritonMissing, GPUTooOldForTriton) as error:
        raise ValueError(
            f'`impl="compiled"` is not available: TorchInductor failed ({error}); it needs a C++ '
            'compiler on a CPU and Triton on a GPU; pass `impl="eager"`, or leave it at None'
        ) from error
