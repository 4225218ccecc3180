"""Augmentation of whole batches."""

import torch
from torch import Tensor
from torch.nn import functional

from softtargets.lab.errors import LabError

AUGMENTATIONS = {
    "none": "inputs as they are",
    "flip": "half of the pictures mirrored",
    "shift": "pictures moved by up to 2 pixels each way, edges repeated",
    "crop-flip": "pictures moved by up to 4 pixels each way, edges reflected, half mirrored",
}
_SHIFTS = {"shift": (2, "replicate"), "crop-flip": (4, "reflect")}


def augment(name: str, batch: Tensor, generator: torch.Generator) -> Tensor:
    """Return a batch of pictures, each changed by its own draw.

    Args:
        name: one of `AUGMENTATIONS`.
        batch: `(B, C, H, W)` or `(B, H, W)`.
        generator: on the CPU, whatever the device of the batch.

    Returns:
        A tensor of the same shape; for `"none"` the batch itself.

    Raises:
        LabError: an unknown name, or samples that are no pictures or too small.

    Example:
        >>> picture = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> moved = augment("shift", picture, torch.Generator().manual_seed(1))
        >>> moved.shape
        torch.Size([1, 1, 3, 3])
    """
    check_augmentation(name, tuple(batch.shape[1:]))
    if name in _SHIFTS:
        batch = _shifted(batch, *_SHIFTS[name], generator)
    if name in ("flip", "crop-flip"):
        mirrored = torch.rand(len(batch), generator=generator) < 0.5
        chosen = mirrored.to(batch.device).view(-1, *[1] * (batch.ndim - 1))
        batch = torch.where(chosen, batch.flip(-1), batch)
    return batch


def check_augmentation(name: str, shape: tuple[int, ...]) -> None:
    """Raise `LabError` unless samples of this shape can be augmented so.

    Args:
        name: one of `AUGMENTATIONS`.
        shape: of a sample.
    """
    if name not in AUGMENTATIONS:
        raise LabError(f"unknown augmentation {name!r}: choose from {', '.join(AUGMENTATIONS)}")
    if name == "none":
        return
    if len(shape) == 3 and shape[-1] in (1, 3) and shape[0] not in (1, 3):
        raise LabError(
            f"augmentation {name!r} needs channels first, (C, H, W), got samples of shape {shape}; "
            "save the arrays so, as numpy.moveaxis(x, -1, 1), or choose none"
        )
    least = _SHIFTS[name][0] + 1 if name in _SHIFTS else 1
    if len(shape) not in (2, 3) or min(shape[-2:]) < least:
        raise LabError(
            f"augmentation {name!r} is for pictures of shape (C, H, W) or (H, W) with sides of "
            f"{least} or more, got samples of shape {shape}; choose none"
        )


def _shifted(batch: Tensor, most: int, border: str, generator: torch.Generator) -> Tensor:
    """Cut a window of the same size out of each padded picture."""
    height, width = batch.shape[-2:]
    planes = batch if batch.ndim == 4 else batch.unsqueeze(1)
    padded = functional.pad(planes, (most, most, most, most), mode=border)
    offsets = torch.randint(2 * most + 1, (2, len(batch), 1), generator=generator)
    rows = (offsets[0] + torch.arange(height)).to(batch.device)
    columns = (offsets[1] + torch.arange(width)).to(batch.device)
    down = padded.gather(2, _spread(rows[:, None, :, None], planes.shape[1], padded.shape[-1]))
    across = columns[:, None, None, :].expand(-1, planes.shape[1], height, -1)
    return down.gather(3, across).reshape(batch.shape)


def _spread(rows: Tensor, channels: int, width: int) -> Tensor:
    return rows.expand(-1, channels, -1, width)
