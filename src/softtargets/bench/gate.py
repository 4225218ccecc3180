"""The gate before every timing: loss and gradient against the dense formula in float64.

    loss = mean over n of -sum_k q_nk * log softmax(z_n)_k

Only some rows are compared, enough for the losses to work in several blocks. Then once more with
every fresh piece of memory filled with NaN, so that what is read before it is written shows.
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.bench.case import Built, Case, Rows, Unavailable
from softtargets.bench.problem import Inputs, free_bytes
from softtargets.bench.step import Step, make_room
from softtargets.testing.compare import poisoned_memory

# Entries of the logits that are compared: more than one block of either eager loss.
ELEMENTS = 1 << 22
ELEMENTS_LINEAR = 1 << 25
ELEMENTS_GPU = 1 << 27
# What the comparison itself needs of each, in float64, with room to spare.
BYTES_PER_ELEMENT = 64
BLOCK_ELEMENTS = 1 << 22
# Of float32: rounding of sums over many classes, far below what a missing term would make.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
# A float16 gradient is looked at as it is in training, under a loss scale.
FLOAT16_SCALE = 2.0**15


class GateError(Exception):
    """A case computes something else; the message says what."""


class Errors(NamedTuple):
    """Relative errors of the loss and of the gradient."""

    loss: float
    gradient: float


def check_case(case: Case, inputs: Inputs) -> Errors | None:
    """Compare a case with the dense formula.

    Args:
        case: the case.
        inputs: of the problem that will be timed; the first rows are compared.

    Returns:
        The errors, None for a case that computes no loss.

    Raises:
        GateError: loss or gradient are wrong, or it fails.
        Unavailable: the case cannot be run here.
    """
    rows = _compared_rows(inputs)
    head = inputs.head(rows)
    built = case.build(head)
    if built.target is None:
        return None
    expected = dense(head.tensors, built.target, rows)
    dtype, linear = head.tensors[0].dtype, len(head.tensors) > 1
    errors = compared(_computed(case, built, head), expected, dtype, linear)
    if not case.compiled:
        with warnings.catch_warnings(), poisoned_memory():
            warnings.simplefilter("ignore")  # of operations without a deterministic form
            again = _computed(case, built, head)
        try:
            compared(again, expected, dtype, linear)
        except GateError as error:
            raise GateError(f"it reads memory it has not written: {error}") from error
    return errors


def _compared_rows(inputs: Inputs) -> int:
    limit = ELEMENTS if len(inputs.tensors) == 1 else ELEMENTS_LINEAR
    if inputs.problem.device != "cpu":
        limit = min(ELEMENTS_GPU, (free_bytes(inputs.problem.device) or 0) // BYTES_PER_ELEMENT)
    return min(len(inputs.labels), max(2, limit // inputs.problem.classes))


class Computed(NamedTuple):
    """A loss and the gradients of the problem's tensors."""

    loss: Tensor
    gradients: tuple[Tensor, ...]


def _computed(case: Case, built: Built, inputs: Inputs) -> Computed:
    step = Step(built, inputs, make_room(inputs))
    step.prepare()
    try:
        loss = built.function(*step.tensors, built.labels)
        scale = FLOAT16_SCALE if inputs.problem.dtype == "float16" else 1.0
        gradients = torch.autograd.grad(loss, step.tensors, torch.full_like(loss, scale))
        return Computed(loss.detach(), tuple(x.detach().float() / scale for x in gradients))
    except Exception as error:  # whatever a peer, a compiler or a driver raises
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        if case.compiled and type(error).__module__.startswith(("torch._dynamo", "torch._induc")):
            raise Unavailable(f"torch.compile fails here: {reason}") from error
        raise GateError(f"it fails: {reason}") from error


def dense(tensors: tuple[Tensor, ...], target: Rows, rows: int) -> Computed:
    """Return the mean loss and its gradients in float64, a block of rows at a time.

    Args:
        tensors: `(logits,)` or `(hidden, weight)`.
        target: the dense target's rows.
        rows: how many there are.
    """
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in tensors)
    classes = exact[-1].shape[1] if len(exact) == 1 else len(exact[1])
    size = max(1, BLOCK_ELEMENTS // classes)
    total = torch.zeros((), dtype=torch.float64, device=exact[0].device)
    for first in range(0, rows, size):
        key = slice(first, min(first + size, rows))
        logits = exact[0][key] if len(exact) == 1 else exact[0][key] @ exact[1].T
        part = -(target(key) * logits.log_softmax(-1)).sum() / rows
        torch.autograd.backward(part)
        total += part.detach()
    return Computed(total, tuple(x.grad for x in exact if x.grad is not None))


def compared(computed: Computed, expected: Computed, dtype: torch.dtype, linear: bool) -> Errors:
    """Return the relative errors, or raise if one is beyond what the dtypes allow.

    The gradient's is the sum of the errors over the sum of its entries: a wrong small entry in
    every place shows there, and one wrong large entry too.

    Args:
        computed: by a case.
        expected: by `dense`.
        dtype: of the problem's tensors.
        linear: whether logits were multiplied out, and rounded, on the way.
    """
    allowed = _allowed(dtype if linear else computed.loss.dtype, LOSS_TOLERANCE, 2)
    found = float((computed.loss.double() - expected.loss).abs() / expected.loss.abs())
    if not found <= allowed:
        raise GateError(
            f"loss {float(computed.loss):.7g}, must be {float(expected.loss):.7g} "
            f"(relative error {found:.1g}, allowed {allowed:.1g})"
        )
    largest, allowed = 0.0, _allowed(dtype, GRADIENT_TOLERANCE, 16 if linear else 8)
    for ours, exact in zip(computed.gradients, expected.gradients, strict=True):
        if ours.shape != exact.shape:
            raise GateError(
                f"a gradient of shape {tuple(ours.shape)}, must be {tuple(exact.shape)}"
            )
        difference = (ours.double() - exact).abs()
        error = float(difference.sum() / exact.abs().sum())
        error = max(error, float(difference.max() / exact.abs().max()))
        if not error <= allowed:
            raise GateError(
                f"the gradient of shape {tuple(ours.shape)} has relative error {error:.1g}, "
                f"allowed {allowed:.1g}"
            )
        largest = max(largest, error)
    return Errors(found, largest)


def _allowed(dtype: torch.dtype, single: float, roundings: int) -> float:
    return single if dtype.itemsize >= 4 else roundings * torch.finfo(dtype).eps
