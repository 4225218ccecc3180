"""`check_penalty`: what must hold for every penalty."""

from collections.abc import Callable

import torch
from torch import Tensor

from softtargets.engine import LossOptions
from softtargets.losses import AbstractPenalty, CrossEntropyLoss
from softtargets.smoothing.schedule import step_schedules
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


def check_penalty(
    make_penalty: Callable[[], AbstractPenalty],
    num_classes: int,
    *,
    compiles: bool = True,
    seed: int = 0,
) -> None:
    """Check a penalty by itself and in the loss, on labels.

    Half precision, ignored rows, masked classes, renaming of classes, batch shapes, copies; mixed
    labels and one-hot rows, which it may refuse with a `TypeError`; class weights, reused logits
    and eval mode of the loss it is added to.

    Args:
        make_penalty: returns a fresh penalty.
        num_classes: K, at least 3.
        compiles: whether it must run under `torch.compile(fullgraph=True, backend="aot_eager")`.
        seed: of logits and labels.

    Raises:
        AssertionError: with what does not hold.

    Example:
        >>> import softtargets as st
        >>> from softtargets import testing
        >>> testing.check_penalty(st.MarginPenalty, num_classes=5)
    """
    penalty = tried("`make_penalty`", "when it was called", make_penalty)
    require(isinstance(penalty, AbstractPenalty), "a penalty must extend `AbstractPenalty`")
    logits = random_logits((_ROWS, num_classes), torch.float64, seed)
    labels = random_labels((_ROWS,), num_classes, seed)
    target = Target.from_labels(labels, num_classes, dtype=torch.float64)
    name = type(penalty).__name__
    values = tried(name, "on labels", lambda: penalty(logits, target))
    require(values.shape == labels.shape, f"one value per sample, got shape {tuple(values.shape)}")
    require(bool(values.isfinite().all()), "a value of finite logits is not finite")
    checks: dict[str, Callable[[], None]] = {
        "in float16 or bfloat16": lambda: _check_dtypes(penalty, logits, target),
        "on ignored rows of NaN": lambda: _check_ignored(penalty, logits, labels),
        "on masked classes": lambda: _check_masked(penalty, logits, labels, seed),
        "on renamed classes or label maps": lambda: _check_order(penalty, logits, labels),
        "on copies": lambda: _check_copies(make_penalty, logits, target),
        "on mixed labels or one-hot rows": lambda: _check_forms(penalty, logits, labels),
        "in the loss": lambda: _check_loss(make_penalty, logits, labels),
    }
    if compiles:
        checks["under torch.compile"] = lambda: _check_compiles(penalty, logits, target)
    for when, check in checks.items():
        tried(name, when, check)


def _run(
    penalty: AbstractPenalty, logits: Tensor, target: Target, alive: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    values = penalty(leaf, target, alive)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    require(bool(gradient.isfinite().all()), "the gradient is not finite")
    return values.detach(), gradient


def _check_dtypes(penalty: AbstractPenalty, logits: Tensor, target: Target) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        low = logits.to(dtype)
        values, gradient = _run(penalty, low, target)
        wide, _ = _run(penalty, low.float(), target)
        require(values.dtype == torch.float32, f"values of {dtype} logits are {values.dtype}")
        require(gradient.dtype == dtype, f"the gradient of {dtype} logits is {gradient.dtype}")
        require_close(values, wide, 0.0, f"values of {dtype} logits, computed in float32")


def _check_ignored(penalty: AbstractPenalty, logits: Tensor, labels: Tensor) -> None:
    size = logits.shape[-1]
    ignored = labels == -100
    clean = _run(penalty, logits[~ignored], Target.from_labels(labels[~ignored], size))
    fillings = (poisoned(logits, ignored, emptied) for emptied in (False, True))
    for filled in (logits, *fillings):
        values, gradient = _run(penalty, filled, Target.from_labels(labels, size))
        require(bool((values[ignored] == 0).all()), "an ignored row has a value")
        require(bool((gradient[ignored] == 0).all()), "an ignored row has a gradient")
        require_close(values[~ignored], clean[0], 1e-12, "values beside ignored rows")
        require_close(gradient[~ignored], clean[1], 1e-12, "gradient beside ignored rows")


def _check_masked(penalty: AbstractPenalty, logits: Tensor, labels: Tensor, seed: int) -> None:
    size = logits.shape[-1]
    alive = random_alive(labels, size, seed + 1)
    target = Target.from_labels(labels, size, dtype=torch.float64)
    masked = logits.masked_fill(~alive, -torch.inf)
    values, gradient = _run(penalty, masked, target)
    require(bool(values.isfinite().all()), "a value beside masked classes is not finite")
    require(bool((gradient[~alive] == 0).all()), "a masked class has a gradient")
    for filling in (-torch.inf, 1e4):
        other = _run(penalty, logits.masked_fill(~alive, filling), target, alive)
        require_close(other[0], values, 1e-12, "values where `alive` masks the classes")
        require_close(other[1], gradient, 1e-12, "gradient where `alive` masks the classes")
    dead = torch.full_like(logits, -torch.inf)
    values, gradient = _run(penalty, dead, target)
    require(bool((values == 0).all() and (gradient == 0).all()), "a row without classes counts")


def _check_order(penalty: AbstractPenalty, logits: Tensor, labels: Tensor) -> None:
    size = logits.shape[-1]
    values, gradient = _run(penalty, logits, Target.from_labels(labels, size))
    turned = torch.where(labels == -100, labels, (labels + 1) % size)
    other = _run(penalty, logits.roll(1, -1), Target.from_labels(turned, size))
    require_close(other[0], values, 1e-12, "values of renamed classes")
    require_close(other[1].roll(-1, -1), gradient, 1e-12, "gradient of renamed classes")
    square = Target.from_labels(labels.reshape(3, -1), size)
    shaped, _ = _run(penalty, logits.reshape(3, -1, size), square)
    require_close(shaped.reshape(-1), values, 1e-12, "values of another batch shape")


def _check_copies(
    make_penalty: Callable[[], AbstractPenalty], logits: Tensor, target: Target
) -> None:
    penalty = make_penalty()
    for _ in range(2):
        values, _ = _run(penalty, logits, target)
        for name, other in copies(penalty, make_penalty):
            require_close(_run(other, logits, target)[0], values, 0.0, f"values after {name}")
        step_schedules(penalty)


def _check_forms(penalty: AbstractPenalty, logits: Tensor, labels: Tensor) -> None:
    size = logits.shape[-1]
    turned = torch.where(labels == -100, labels, (labels + 1) % size)
    given, other = (
        Target.from_labels(each, size, dtype=torch.float64) for each in (labels, turned)
    )
    forms = {
        "of mixed labels": given.mix(other, 0.3),
        "of a label mixed with itself": given.mix(given, 0.3),
        "of one-hot rows": Target.from_probs(given.dense()),
    }
    expected = _run(penalty, logits, given)
    for name, target in forms.items():
        try:
            values, gradient = _run(penalty, logits, target)
        except TypeError:
            continue
        require(bool(values.isfinite().all()), f"a value {name} is not finite")
        if name != "of mixed labels":
            require_close(values, expected[0], 1e-12, f"values {name}")
            require_close(gradient, expected[1], 1e-12, f"gradient {name}")


def _check_loss(
    make_penalty: Callable[[], AbstractPenalty], logits: Tensor, labels: Tensor
) -> None:
    weight = torch.linspace(0.5, 2, logits.shape[-1], dtype=torch.float64)
    target = Target.from_labels(labels, logits.shape[-1], dtype=torch.float64)
    added = target.mass(weight) * make_penalty()(logits, target)
    gradients = []
    for reuse in (False, True):
        options = LossOptions(reuse_logits=reuse)
        plain, criterion = (
            CrossEntropyLoss(0.1, weight=weight, reduction="none", penalty=each, options=options)
            for each in (None, make_penalty())
        )
        leaf = logits.clone().requires_grad_()
        losses = criterion(leaf * 1, labels)
        require_close(losses - plain(logits, labels), added, 1e-10, "what the loss is raised by")
        gradients.append(torch.autograd.grad(losses.sum(), leaf)[0])
        criterion.eval()
        plain.eval()
        require_close(criterion(logits, labels), plain(logits, labels), 0.0, "loss in eval mode")
    require_close(gradients[1], gradients[0], 1e-12, "gradient with `reuse_logits`")


def _check_compiles(penalty: AbstractPenalty, logits: Tensor, target: Target) -> None:
    expected = _run(penalty, logits, target)
    torch.compiler.reset()
    compiled = torch.compile(penalty, fullgraph=True, backend="aot_eager")
    leaf = logits.clone().requires_grad_()
    values = compiled(leaf, target)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    require_close(values, expected[0], 1e-12, "compiled values")
    require_close(gradient, expected[1], 1e-12, "compiled gradient")
