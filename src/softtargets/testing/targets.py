"""`check_target`: what must hold for every target."""

import copy
import pickle

import torch
from torch import Tensor

from softtargets.engine import LossOptions
from softtargets.losses import cross_entropy
from softtargets.target import Target
from softtargets.testing.compare import (
    block_elements,
    poisoned,
    poisoned_memory,
    random_logits,
    require,
    require_close,
    tolerance_of,
)
from softtargets.testing.oracle import dense_cross_entropy, dense_target

_ROUNDING = {torch.float64: 0.0, torch.float32: 4e-5, torch.float16: 4e-5, torch.bfloat16: 4e-5}
_GRADIENT = {torch.float64: 0.0, torch.float32: 4e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def check_target(target: Target, *, seed: int = 0) -> None:
    """Check everything a loss and a user rely on, against the dense oracle.

    Values and gradients for all float dtypes, masked classes, class weights, NaN and infinities in
    ignored rows, blocks of any size and poisoned memory; `dense`, `mass`, `dot`, `add_to`; the
    algebra, selection, renaming of classes, `to`, pickle, deepcopy, entropy.

    Args:
        target: any target on the CPU, of any batch shape, that asks for no gradient.
        seed: of the logits it is tried on.

    Raises:
        AssertionError: with what differs, where, and by how much.

    Example:
        >>> import torch, softtargets as st
        >>> from softtargets import testing
        >>> testing.check_target(st.Target.from_labels(torch.tensor([2, 0]), 4).smooth(0.1))
    """
    check_parts(target, seed)
    check_algebra(target)
    check_selection(target)
    check_copies(target)
    check_entropy(target)
    check_losses(target, seed)
    check_ignored(target, seed)
    check_engine(target, seed)


def _shape(target: Target) -> tuple[int, ...]:
    return (*target.batch_shape, target.num_classes)


def _settled(target: Target, values: Tensor) -> Tensor:
    """Where values can be compared: terms of both signs may leave NaN where a sum is infinite."""
    signed = any(bool((part < 0).any()) for term in target.terms for part in term.floats())
    return values.isfinite() if signed else torch.ones_like(values, dtype=torch.bool)


def _class_weights(target: Target) -> Tensor:
    return torch.linspace(0.5, 2.0, target.num_classes, dtype=torch.float64)


def check_parts(target: Target, seed: int = 0) -> None:
    """Check `dense`, `mass`, `dot`, `add_to` and `ignored`, with and without masked classes.

    Args:
        target: any target.
        seed: of the logits.
    """
    tolerance, weight = tolerance_of(target), _class_weights(target)
    for dead in (0.0, 0.3):
        logits = random_logits(_shape(target), torch.float64, seed, dead=dead)
        # What a row without a living class is worth is the loss's matter: it ignores the row.
        logits = logits.masked_fill((logits == -torch.inf).all(-1, keepdim=True), 0)
        alive = logits != -torch.inf if dead else None
        name = f"with masked classes (seed {seed})" if dead else "without masked classes"
        expected = dense_target(target, alive)
        require_close(target.dense(alive), expected, tolerance, f"dense {name}")
        require_close(target.mass(None, alive), expected.sum(-1), tolerance, f"mass {name}")
        weighted = weight * expected
        require_close(
            target.mass(weight, alive), weighted.sum(-1), tolerance, f"weighted mass {name}"
        )
        products = torch.where(weighted == 0, 0.0, weighted * logits)
        dot = target.dot(logits, weight, alive)
        products = products.sum(-1)
        rows = _settled(target, products)
        require_close(dot[rows], products[rows], 32 * tolerance, f"dot {name}")
        require(dot.dtype == torch.float64, f"dot of float64 logits is {dot.dtype}")
        scale = torch.linspace(-1, 1, target.batch_shape.numel(), dtype=torch.float64)
        scale = scale.reshape(target.batch_shape)
        out = torch.ones(_shape(target)[::-1], dtype=torch.float64).permute(
            *range(len(_shape(target)))[::-1]
        )
        target.add_to(out, scale, alive)
        require_close(out, 1 + scale.unsqueeze(-1) * expected, tolerance, f"add_to {name}")
    zero = (dense_target(target) == 0).all(-1)
    require(bool((zero | ~target.ignored()).all()), "a row with mass counts as ignored")


def check_algebra(target: Target) -> None:
    """Check that `dense` is linear: factors, sums, differences, mixes, smoothing, `map_classes`.

    Args:
        target: any target.
    """
    dense, tolerance = dense_target(target), tolerance_of(target)
    factor = torch.linspace(0, 1, target.batch_shape.numel()).reshape(target.batch_shape)
    turned = target.map_classes(torch.eye(target.num_classes, dtype=target.dtype).roll(1, -1))
    per_class = factor.double().unsqueeze(-1)
    cases = {
        "2 * t": (2 * target, 2 * dense),
        "t * 0.5 - t": (target * 0.5 - target, -0.5 * dense),
        "t + t": (target + target, 2 * dense),
        "t * factor": (target * factor, per_class * dense),
        "t.mix(2 t, factor)": (target.mix(target * 2, factor), (2 - per_class) * dense),
        "t.map_classes(turn)": (turned, dense.roll(1, -1)),
        "(t + t).map_classes(turn)": (
            (target + target).map_classes(torch.eye(target.num_classes).roll(1, -1)),
            2 * dense.roll(1, -1),
        ),
    }
    mass = dense.sum(-1, keepdim=True)
    smooth = target.smooth(0.25, again=True)
    cases["t.smooth(0.25)"] = (smooth, 0.75 * dense + 0.25 * mass / target.num_classes)
    for name, (actual, expected) in cases.items():
        require_close(actual.dense(), expected, 4 * tolerance, f"dense of {name}")
        require_close(actual.mass(), expected.sum(-1), 4 * tolerance, f"mass of {name}")
        require(actual.num_classes == target.num_classes, f"{name} has other classes")
    require(smooth.smoothed, "smooth() does not mark its result")
    require_close(
        (2 * smooth).given.dense(), 2 * dense_target(target.given), 4 * tolerance, "given of 2 * t"
    )


def check_selection(target: Target) -> None:
    """Check `t[...]` against the same index into the dense tensor.

    Args:
        target: any target.
    """
    dense, tolerance = dense_target(target), tolerance_of(target)
    dims = len(target.batch_shape)
    keys: list[object] = [..., None, (None, ...)]
    if dims and target.batch_shape[0]:
        first = torch.arange(target.batch_shape[0]).flip(0)
        keys += [0, slice(0, 1), slice(None, None, 2), first, [0], first % 2 == 0, (0, ...)]
    if dims > 1:
        keys += [(..., 0), (slice(None), 0), dense.sum(-1) > 0.5]
    for key in keys:
        full = (*key, slice(None)) if isinstance(key, tuple) else (key, slice(None))
        if key is ... or (isinstance(key, tuple) and ... in key):
            expected = dense[full]
        else:
            expected = dense[key]  # type: ignore[index]
        require_close(target[key].dense(), expected, tolerance, f"t[{key}]")
    try:
        target[(slice(None),) * (dims + 1)]
    except IndexError:
        return
    raise AssertionError("an index beyond the batch dimensions reaches into the classes")


def check_copies(target: Target) -> None:
    """Check `to`, pickle and deepcopy.

    Args:
        target: any target.
    """
    dense = target.dense()
    same = {
        "deepcopy": copy.deepcopy(target),
        "pickle": pickle.loads(pickle.dumps(target)),
        "to(device)": target.to(target.device),
    }
    for name, other in same.items():
        require(bool((other.dense() == dense).all()), f"{name} changes the values")
        require(other.smoothed == target.smoothed, f"{name} changes `smoothed`")
        require(other.dtype == target.dtype, f"{name} changes the dtype to {other.dtype}")
        require_close(other.given.dense(), target.given.dense(), 0.0, f"given of {name}")
    wide = target.to(torch.float64)
    require(wide.dense().dtype == torch.float64, "to(float64) leaves another dtype")
    require(wide.given.dtype == torch.float64, "to(float64) leaves `given` behind")
    require_close(wide.dense(), dense_target(target), 1e-12, "dense of to(float64)")


def check_entropy(target: Target) -> None:
    """Check the entropy, or that negative entries are refused.

    Args:
        target: any target.
    """
    dense = dense_target(target)
    if bool((dense < -1e-4).any()):
        try:
            target.entropy()
        except ValueError:
            return
        raise AssertionError("`entropy` accepts negative entries")
    clipped = dense.clamp(min=0)
    expected = -(clipped * clipped.clamp(min=1e-300).log()).sum(-1)
    require_close(target.entropy(), expected, 16 * tolerance_of(target), "entropy")


def check_losses(target: Target, seed: int = 0) -> None:
    """Check losses and gradients for each float dtype, masks and class weights.

    Args:
        target: any target.
        seed: of the logits.
    """
    mask = random_logits(_shape(target), torch.float64, seed + 1, dead=0.2) != -torch.inf
    for dtype in _ROUNDING:
        for dead in (0.0, 0.3):
            logits = random_logits(_shape(target), dtype, seed, dead=dead)
            for weight in (None, _class_weights(target)):
                for class_mask in (None, mask):
                    _check_loss(target, logits, weight, class_mask)


def _check_loss(
    target: Target, logits: Tensor, weight: Tensor | None, class_mask: Tensor | None
) -> None:
    case = f"{logits.dtype}, weights {weight is not None}, class_mask {class_mask is not None}"
    size = float(dense_target(target).abs().sum(-1).max()) if target.batch_shape.numel() else 1.0
    size = max(size, 1.0)
    tolerance = size * max(32 * tolerance_of(target), _ROUNDING[logits.dtype])
    wide = logits.double().clone().requires_grad_()
    own = logits.clone().requires_grad_()
    expected = dense_cross_entropy(
        wide, target, weight=weight, class_mask=class_mask, reduction="none"
    )
    losses = cross_entropy(
        own, target, weight=weight, class_mask=class_mask, reduction="none", class_dim=-1
    )
    rows = _settled(target, expected)
    require_close(losses[rows], expected[rows], tolerance, f"losses ({case})")
    incoming = torch.linspace(0.5, 1.5, losses.numel()).reshape(losses.shape).to(losses)
    losses.backward(incoming)  # type: ignore[no-untyped-call]
    expected.backward(incoming.double())  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert wide.grad is not None
    require(bool(own.grad.isfinite().all()), f"gradient is not finite ({case})")
    if class_mask is not None:
        require(bool((own.grad[~class_mask] == 0).all()), f"masked classes have one ({case})")
    # On a class of logit -inf the gradient is -q, as torch's; the loss is infinite there.
    living = logits != -torch.inf
    tolerance = size * max(32 * tolerance_of(target), _GRADIENT[logits.dtype])
    require_close(own.grad[living], wide.grad[living], tolerance, f"gradient ({case})")
    silent = target.ignored()
    require(bool((losses[silent] == 0).all()), f"ignored rows have a loss ({case})")
    require(bool((own.grad[silent] == 0).all()), f"ignored rows have a gradient ({case})")


def check_ignored(target: Target, seed: int = 0) -> None:
    """Check that ignored rows may hold anything: no loss, no gradient, no effect on others.

    Args:
        target: any target.
        seed: of the logits.
    """
    silent = target.ignored()
    if not bool(silent.any()):
        return
    for dtype in (torch.float64, torch.float16):
        clean = random_logits(_shape(target), dtype, seed)
        expected = _run(clean, target)
        for emptied in (False, True):
            losses, gradient = _run(poisoned(clean, silent, emptied), target)
            require(bool((losses[silent] == 0).all()), "an ignored row of NaN or inf has a loss")
            zero = bool((gradient[silent] == 0).all())
            require(zero, "an ignored row of NaN or inf has a gradient")
            # With masks and without, sums are taken in another order.
            rounding = max(32 * tolerance_of(target), _ROUNDING[dtype])
            require_close(losses, expected[0], rounding, "losses beside an ignored row of NaN")
            rounding = max(rounding, _GRADIENT[dtype])
            require_close(gradient, expected[1], rounding, "gradient beside an ignored row of NaN")


def check_engine(target: Target, seed: int = 0) -> None:
    """Check that block size, fresh memory, reuse of the logits and the plain formula agree.

    Args:
        target: any target.
        seed: of the logits.
    """
    for dead in (0.0, 0.3):
        logits = random_logits(_shape(target), torch.float64, seed, dead=dead)
        with poisoned_memory():
            whole = _run(logits, target)
            reused = _run(logits, target, LossOptions(reuse_logits=True))
            with block_elements(2 * target.num_classes):
                cut = _run(logits, target)
        hooked = _run(logits, target, watched=True)
        for name, other in (("blocks", cut), ("reuse_logits", reused), ("the formula", hooked)):
            rows = _settled(target, whole[0])
            require_close(
                other[0][rows], whole[0][rows], 32 * tolerance_of(target), f"losses by {name}"
            )
            require_close(other[1], whole[1], 32 * tolerance_of(target), f"gradient by {name}")


def _run(
    logits: Tensor, target: Target, options: LossOptions | None = None, watched: bool = False
) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    weight = torch.ones(target.num_classes, dtype=torch.float64)
    # A gradient into the weights sends the loss through the plain formula.
    weight.requires_grad_(watched)
    losses = cross_entropy(
        leaf * 1.0, target, weight=weight if watched else None, reduction="none",
        class_dim=-1, options=options,
    )  # fmt: skip
    total = losses[losses.isfinite()].sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return losses, gradient
