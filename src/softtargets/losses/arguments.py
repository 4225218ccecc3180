"""Arguments of the losses: torch's layout made class-last, anything categorical made a `Target`."""

from dataclasses import replace

import torch
from torch import Tensor

from softtargets import checks
from softtargets.target import Target
from softtargets.terms import DenseRows, Entries


def class_last(tensor: Tensor, class_dim: int, name: str = "logits") -> Tensor:
    """Return a view with the class dimension last; `(K,)` needs no class_dim.

    Args:
        tensor: logits in the caller's layout.
        class_dim: see `cross_entropy`.
        name: of the tensor in errors.
    """
    checks.check_floating(tensor, name)
    checks.check_whole(tensor, name)
    if tensor.dim() == 0:
        raise ValueError(f"`{name}` must have shape (K,), (N, K) or (N, K, d1, ...), got a scalar")
    return _move(tensor, class_dim, name)


def _move(tensor: Tensor, class_dim: int, name: str) -> Tensor:
    class_dim = checks.check_integer(class_dim, "class_dim")
    dims = tensor.dim()
    if dims == 1:
        return tensor
    if not -dims <= class_dim < dims:
        raise ValueError(
            f"`class_dim` must be a dimension of `{name}`, which has {dims}, got {class_dim}"
        )
    last = class_dim in (-1, dims - 1)
    return tensor if last else tensor.movedim(class_dim, -1)


def as_target(
    logits: Tensor,
    target: Tensor | Target,
    *,
    class_dim: int,
    ignore_index: int,
    validate: bool | None,
) -> Target:
    """Return labels, probabilities or a `Target` as a `Target` that fits the logits.

    Args:
        logits: `(*batch, K)`, classes last.
        target: integers `(*batch)`; floats of the shape the logits came in; or a `Target`.
        class_dim: where the class dimension of a probability tensor is.
        ignore_index: label without loss. A value that is a class also removes that class's mass
            from soft targets, so that a one-hot row and its label mean the same.
        validate: see `LossOptions`.
    """
    *batch, num_classes = logits.shape
    dtype = torch.promote_types(logits.dtype, torch.float32)
    if isinstance(target, Target):
        _check_fits(logits, target)
        if target.dtype != dtype and dtype == torch.float64:
            target = target.to(dtype)
        if validate:
            for term in target.given.others:
                if isinstance(term, DenseRows) and term.through is None:
                    counted = (term.weights != 0).unsqueeze(-1)
                    checks.check_probs(torch.where(counted, term.values, 0), "target")
        return _without_class(target, ignore_index)
    if not isinstance(target, Tensor):
        way_out = "make a tensor of it with `torch.as_tensor(labels)`"
        if isinstance(getattr(target, "labels", None), Tensor):
            way_out = "pass its `.labels`"
        raise TypeError(
            "`target` must be integer labels, probabilities of the logits' shape or a `Target`, "
            f"got {type(target).__name__}; {way_out}"
        )
    if target.device != logits.device:
        raise ValueError(
            f"`target` must be on the logits' device {logits.device}, got {target.device}; move it "
            "with `.to(logits.device)`"
        )
    if not target.is_floating_point():
        checks.check_labels_dtype(target, "target")
        if list(target.shape) != batch:
            way_out = "check `class_dim`; one-hot rows must be floating point"
            if target.shape == logits.shape and not batch:
                way_out = (
                    f"logits of shape ({num_classes},) are one sample of {num_classes} classes; "
                    "for a yes-or-no logit per sample use `BCEWithLogitsLoss` and `labels.float()`"
                )
            raise ValueError(
                f"`target` must hold labels of shape {tuple(batch)} for these logits, got "
                f"{tuple(target.shape)}; {way_out}"
            )
        return Target.from_labels(target, num_classes, ignore_index, dtype=dtype, validate=validate)
    probs = _move(target, class_dim, "target") if target.dim() == logits.dim() else target
    if probs.shape != logits.shape:
        raise ValueError(
            f"`target` must hold probabilities of the logits' shape (classes last: "
            f"{tuple(logits.shape)}), got {tuple(probs.shape)}; labels must be integers"
        )
    built = Target.from_probs(probs, dtype=dtype, validate=validate is True)
    return _without_class(built, ignore_index)


def _check_fits(logits: Tensor, target: Target) -> None:
    *batch, num_classes = logits.shape
    if list(target.batch_shape) != batch or target.num_classes != num_classes:
        raise ValueError(
            f"`target` must have batch shape {tuple(batch)} and {num_classes} classes for these "
            f"logits, got {tuple(target.batch_shape)} and {target.num_classes}"
        )
    if target.device != logits.device:
        raise ValueError(
            f"`target` must be on the logits' device {logits.device}, got {target.device}; move it "
            "with `.to(logits.device)`"
        )


def _without_class(target: Target, ignore_index: int) -> Target:
    """Take away the mass of class `ignore_index`, if there is such a class."""
    if not 0 <= ignore_index < target.num_classes:
        return target
    if target.smoothed or any(not isinstance(term, DenseRows) for term in target.others):
        raise ValueError(
            f"`ignore_index={ignore_index}` is a class and cannot be taken out of a target that "
            "is smoothed or structured already; give `ignore_index` to `Target.from_labels` and "
            "leave it at -100 here"
        )
    entries = target.entries
    weights = entries.weights.masked_fill(entries.classes == ignore_index, 0)
    others = tuple(
        DenseRows(_zeroed(term.values, ignore_index), term.weights)
        for term in target.others
        if isinstance(term, DenseRows)
    )
    return replace(target, entries=Entries(entries.classes, weights), others=others)


def _zeroed(values: Tensor, index: int) -> Tensor:
    return values.index_fill(-1, torch.tensor([index], device=values.device), 0)


def check_weight(
    weight: Tensor | None, num_classes: int | None = None, name: str = "weight"
) -> None:
    """Raise unless `weight` is None or one floating point number per class (None: of any K)."""
    if weight is None:
        return
    checks.check_floating(weight, name)
    if weight.dim() != 1 or num_classes not in (None, len(weight)):
        raise ValueError(
            f"`{name}` must have shape ({num_classes or 'K'},), one number per class, got "
            f"{tuple(weight.shape)}"
        )


def as_class_mask(mask: Tensor | None, logits: Tensor, class_dim: int) -> Tensor | None:
    """Return the class mask with classes last, expanded to the logits' shape.

    Args:
        mask: bool, of the shape the logits came in, or `(K,)` for every row alike.
        logits: `(*batch, K)`, classes last.
        class_dim: as for the logits.
    """
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"`class_mask` must be a bool tensor, True for a living class, got {kind}")
    moved = mask if mask.dim() == 1 else _move(mask, class_dim, "class_mask")
    if moved.shape not in (logits.shape, logits.shape[-1:]):
        raise ValueError(
            f"`class_mask` must have the logits' shape or ({logits.shape[-1]},), got "
            f"{tuple(mask.shape)}"
        )
    return moved.expand(logits.shape)
