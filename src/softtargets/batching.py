"""Batch dimensions: one value per sample, selection, blocks of bounded size."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Size, Tensor


def per_sample(value: Tensor, batch_shape: Size, name: str) -> Tensor:
    """Return `value` expanded to the batch; its dimensions are aligned with the leading ones.

    Args:
        value: a scalar, or one value per sample: `(N,)` serves a batch `(N, H, W)` too.
        batch_shape: the shape to reach.
        name: what the error calls it.

    Returns:
        A float32 or float64 tensor of shape `batch_shape`, or a scalar.

    Raises:
        ValueError: the shapes do not fit.
    """
    value = value.to(torch.promote_types(value.dtype, torch.float32))
    if value.dim() == 0:
        return value
    missing = len(batch_shape) - value.dim()
    aligned = value.reshape(value.shape + (1,) * max(missing, 0))
    sizes = zip(aligned.shape, batch_shape, strict=False)
    if missing < 0 or any(have not in (1, want) for have, want in sizes):
        raise ValueError(
            f"`{name}` must be a number or hold one value per sample, batch shape "
            f"{tuple(batch_shape)}, got shape {tuple(value.shape)}"
        )
    return aligned.expand(batch_shape)


def batch_index(index: Any, batch_dims: int) -> tuple[Any, ...]:
    """Resolve an Ellipsis against the batch dimensions, so that the class dimension is not hit."""
    parts = index if isinstance(index, tuple) else (index,)
    used = sum(_consumed(part) for part in parts)
    if used > batch_dims:
        raise IndexError(f"too many indices for a target with {batch_dims} batch dimensions")
    for i, part in enumerate(parts):
        if part is Ellipsis:
            return (*parts[:i], *[slice(None)] * (batch_dims - used), *parts[i + 1 :])
    return parts


def _consumed(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    if isinstance(part, str | bytes | float | complex | dict | set):
        raise TypeError(
            "a target's index must be made of integers, slices, `...`, None, and tensors or lists "
            f"of integers or bools, got {type(part).__name__}; it selects samples, never classes"
        )
    return part.dim() if isinstance(part, Tensor) and part.dtype == torch.bool else 1


def blocks(shape: Size, max_elements: int) -> Iterator[tuple[slice, ...]]:
    """Cut a tensor into blocks of at most `max_elements`, along its leading dimensions.

    Args:
        shape: the whole shape; the last dimension is never cut.
        max_elements: elements in a block, where single rows allow it.

    Yields:
        Tuples of slices that cover the tensor once.
    """
    if len(shape) <= 1:
        yield ()
        return
    inner = max(shape[1:].numel(), 1)
    if inner > max_elements and len(shape) > 2:
        for i in range(shape[0]):
            for rest in blocks(shape[1:], max_elements):
                yield (slice(i, i + 1), *rest)
        return
    step = max(max_elements // inner, 1)
    for start in range(0, shape[0], step):
        yield (slice(start, start + step),)
