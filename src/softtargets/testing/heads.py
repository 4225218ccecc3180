"""`check_head`: what must hold for every loss of logits and labels."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from softtargets.target import Target
from softtargets.testing.compare import (
    poisoned,
    random_alive,
    random_labels,
    random_logits,
    require,
    require_close,
    tried,
)
from softtargets.testing.copies import copies

_ROWS = 12


def check_head(
    make_head: Callable[[], nn.Module],
    num_classes: int,
    *,
    compiles: bool = True,
    seed: int = 0,
) -> None:
    """Check a loss head that is called as `head(logits, target)` and returns a mean.

    Labels, one-hot rows and a `Target` give the same, mixed labels what their rows give; half
    precision, ignored rows, masked classes, renaming of classes, label maps, copies; that
    `.eval()` takes a smoothed `Target` as it was given.

    Args:
        make_head: returns a fresh module in training mode, classes in dimension 1.
        num_classes: K, at least 3.
        compiles: whether it must run under `torch.compile(fullgraph=True, backend="aot_eager")`.
        seed: of logits and labels.

    Raises:
        AssertionError: with what does not hold.

    Example:
        >>> import softtargets as st
        >>> from softtargets import testing
        >>> testing.check_head(lambda: st.FocalLoss(smoothing=0.1), num_classes=4)
    """
    head = tried("`make_head`", "when it was called", make_head)
    name = type(head).__name__
    logits = random_logits((_ROWS, num_classes), torch.float64, seed)
    labels = random_labels((_ROWS,), num_classes, seed)
    expected = tried(name, "on labels", lambda: _run(head, logits, labels))
    require(expected[0].dim() == 0, f"the mean is no scalar but {tuple(expected[0].shape)}")
    target = Target.from_labels(labels, num_classes, dtype=torch.float64)
    checks: dict[str, Callable[[], None]] = {
        "on a `Target` or one-hot rows": lambda: _check_forms(head, logits, target, expected),
        "in float16 or bfloat16": lambda: _check_dtypes(head, logits, labels),
        "on ignored rows of NaN": lambda: _check_ignored(head, logits, labels),
        "on masked classes": lambda: _check_masked(head, logits, labels, seed),
        "on renamed classes or label maps": lambda: _check_order(head, logits, labels),
        "on mixed labels": lambda: _check_mixed(head, logits, labels),
        "in eval mode": lambda: _check_eval(make_head(), logits, target),
        "on copies": lambda: _check_copies(make_head, head, logits, labels),
    }
    if compiles:
        checks["under torch.compile"] = lambda: _check_compiles(
            make_head(), logits, labels, expected
        )
    for when, check in checks.items():
        tried(name, when, check)


def _check_forms(
    head: nn.Module, logits: Tensor, target: Target, expected: tuple[Tensor, Tensor]
) -> None:
    for name, form in (("a `Target`", target), ("one-hot rows", target.dense())):
        _same(_run(head, logits, form), expected, f"of {name} instead of labels")


def _check_copies(
    make_head: Callable[[], nn.Module], head: nn.Module, logits: Tensor, labels: Tensor
) -> None:
    for name, other in copies(head, make_head):
        _same(_run(other, logits, labels), _run(copy.deepcopy(head), logits, labels), f"of {name}")


def _check_compiles(
    head: nn.Module, logits: Tensor, labels: Tensor, expected: tuple[Tensor, Tensor]
) -> None:
    torch.compiler.reset()
    compiled: Any = torch.compile(head, fullgraph=True, backend="aot_eager")
    _same(_run(compiled, logits, labels), expected, "when compiled")


def _run(head: Any, logits: Tensor, target: Tensor | Target) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    loss = head(leaf, target)
    (gradient,) = torch.autograd.grad(loss, leaf)
    require(bool(gradient.isfinite().all()), "the gradient is not finite")
    return loss.detach(), gradient


def _same(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], what: str) -> None:
    require_close(actual[0], expected[0], 1e-10, f"loss {what}")
    require_close(actual[1], expected[1], 1e-10, f"gradient {what}")


def _check_dtypes(head: nn.Module, logits: Tensor, labels: Tensor) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        low = logits.to(dtype)
        actual, wide = _run(head, low, labels), _run(head, low.float(), labels)
        require(actual[0].dtype == torch.float32, f"the loss of {dtype} is {actual[0].dtype}")
        require_close(actual[0], wide[0], 1e-5, f"loss of {dtype} logits, computed in float32")
        rounding = 2 * torch.finfo(dtype).eps
        require_close(actual[1], wide[1], rounding, f"gradient of {dtype} logits")


def _check_ignored(head: nn.Module, logits: Tensor, labels: Tensor) -> None:
    ignored = labels == -100
    expected = _run(head, logits[~ignored], labels[~ignored])
    fillings = (poisoned(logits, ignored, emptied) for emptied in (False, True))
    for filled in (logits, *fillings):
        loss, gradient = _run(head, filled, labels)
        require(bool((gradient[ignored] == 0).all()), "an ignored row has a gradient")
        _same((loss, gradient[~ignored]), expected, "beside ignored rows")
    loss, gradient = _run(head, logits, torch.full_like(labels, -100))
    require(float(loss) == 0, f"the mean over ignored rows alone is {float(loss)}")
    require(bool((gradient == 0).all()), "ignored rows alone have a gradient")


def _check_masked(head: nn.Module, logits: Tensor, labels: Tensor, seed: int) -> None:
    alive = random_alive(labels, logits.shape[-1], seed + 1)
    masked = logits.masked_fill(~alive, -torch.inf)
    loss, gradient = _run(head, masked, labels)
    require(bool(loss.isfinite()), "the loss beside masked classes is not finite")
    require(bool((gradient[~alive] == 0).all()), "a masked class has a gradient")
    masked[0] = -torch.inf
    left = labels.clone()
    left[0] = -100
    _same(_run(head, masked, labels), _run(head, masked, left), "of a row without classes")


def _check_mixed(head: nn.Module, logits: Tensor, labels: Tensor) -> None:
    size = logits.shape[-1]
    turned = torch.where(labels == -100, labels, (labels + 1) % size)
    given, other = (
        Target.from_labels(each, size, dtype=torch.float64) for each in (labels, turned)
    )
    mixed = given.mix(other, 0.3)
    expected = _run(head, logits, mixed.dense())
    _same(_run(head, logits, mixed), expected, "of mixed labels and of their rows")


def _check_eval(head: nn.Module, logits: Tensor, target: Target) -> None:
    head.eval()
    expected = _run(head, logits, target)
    actual = _run(head, logits, target.smooth(0.2))
    _same(actual, expected, "in eval mode depends on the smoothing:")


def _check_order(head: nn.Module, logits: Tensor, labels: Tensor) -> None:
    size = logits.shape[-1]
    loss, gradient = _run(head, logits, labels)
    turned = torch.where(labels == -100, labels, (labels + 1) % size)
    other = _run(head, logits.roll(1, -1), turned)
    _same((other[0], other[1].roll(-1, -1)), (loss, gradient), "of renamed classes")
    maps = logits.reshape(3, -1, size).movedim(-1, 1)
    shaped = _run(head, maps, labels.reshape(3, -1))
    flat = shaped[1].movedim(1, -1).reshape(logits.shape)
    _same((shaped[0], flat), (loss, gradient), "of label maps")
