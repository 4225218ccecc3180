"""Corrupted test pictures: five kinds of damage, each at five severities, the same every time.

They are our own and not CIFAR-10-C: kinds and severities differ, so numbers cannot be compared.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from softtargets.lab import seeds
from softtargets.lab.data.dataset import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.models.pictures import channels_last

SEVERITIES = (1, 2, 3, 4, 5)
CORRUPTIONS = {
    "noise": "Gaussian noise, of a deviation of 0.05 to 0.3 of the range",
    "specks": "black and white pixels, 2 to 25 % of them",
    "blur": "a Gaussian blur, of 2 to 8 % of the shorter side",
    "pixelate": "fewer pixels, 80 to 30 % of each side",
    "contrast": "75 to 20 % of the contrast",
}
# By severity: deviation, share of pixels, share of the side, share of the side, factor.
_STRENGTHS = {
    "noise": (0.05, 0.1, 0.15, 0.2, 0.3),
    "specks": (0.02, 0.05, 0.1, 0.15, 0.25),
    "blur": (0.02, 0.03, 0.04, 0.06, 0.08),
    "pixelate": (0.8, 0.65, 0.5, 0.4, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.2),
}


def corrupt(name: str, pictures: Tensor, severity: int, numbers: Tensor) -> Tensor:
    """Return damaged pictures.

    What is drawn for a picture depends on the kind and the picture's number alone, so that it is
    the same at every severity, in every selection and at any time.

    Args:
        name: one of `CORRUPTIONS`.
        pictures: `(B, C, H, W)` float32 in [0, 1].
        severity: 1 to 5.
        numbers: `(B,)` integers, which picture each is.

    Returns:
        A tensor of the same shape, in [0, 1].

    Raises:
        LabError: an unknown name or severity.

    Example:
        >>> import torch
        >>> pictures = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
        >>> corrupt("contrast", pictures, 2, torch.tensor([0])).tolist()
        [[[[0.25, 0.75]]]]
    """
    if name not in CORRUPTIONS:
        raise LabError(f"unknown corruption {name!r}: choose from {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise LabError(f"a corruption has the severities 1 to 5, got {severity!r}")
    strength = _STRENGTHS[name][severity - 1]
    return _DAMAGE[name](pictures, strength, numbers).clamp(0, 1)


def corrupted(data: DataSet, name: str, severity: int, most: int | None = None) -> Tensor:
    """Return the test pictures of a data set, damaged and standardised.

    Black and white are the least and the largest number of the training pictures.

    Args:
        data: of pictures, `(H, W)`, `(C, H, W)` or `(H, W, C)`.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        most: the first so many pictures; None for all.

    Returns:
        `(N, *shape)` float32, as `data.test.take` returns them.

    Raises:
        LabError: an unknown name or severity, or samples that are no pictures.
    """
    if len(data.shape) not in (2, 3):
        raise LabError(
            f"only pictures, of shape (H, W), (C, H, W) or (H, W, C), are corrupted, got samples "
            f"of shape {data.shape}"
        )
    given = data.test.take(slice(most))
    low, high = (_raw(data, end) for end in torch.aminmax(data.train.inputs))
    mean, deviation = data.mean, data.deviation
    # `x = scale y + shift` takes standardised numbers y to [0, 1].
    scale, shift = (deviation / (high - low)).float(), ((mean - low) / (high - low)).float()
    pictures, last = given * scale + shift, channels_last(data.shape)
    if last:
        pictures = pictures.movedim(-1, 1)
    planes = pictures.reshape(len(given), -1, *pictures.shape[-2:])
    damaged = corrupt(name, planes, severity, torch.arange(len(given))).reshape(pictures.shape)
    return ((damaged.movedim(1, -1) if last else damaged) - shift) / scale


def _raw(data: DataSet, value: Tensor) -> Tensor:
    """A stored number of the training part, in the units of the source."""
    number = value.double()
    return number if data.train.scale is not None else number * data.deviation + data.mean


def _drawn(name: str, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return `(B, *shape)` even numbers in [0, 1), those of a picture from its own generator."""
    return torch.stack(
        [
            torch.rand(shape, generator=seeds.generator("corruption", name, number))
            for number in numbers.tolist()
        ]
    )


def _noise(pictures: Tensor, deviation: float, numbers: Tensor) -> Tensor:
    drawn = _drawn("noise", numbers, tuple(pictures.shape[1:]))
    made: Tensor = pictures + deviation * torch.special.ndtri(drawn.clamp(min=1e-7))
    return made


def _specks(pictures: Tensor, share: float, numbers: Tensor) -> Tensor:
    drawn = _drawn("specks", numbers, (1, *pictures.shape[-2:]))
    black = torch.where(drawn < share / 2, 0.0, pictures)
    return torch.where(drawn >= 1 - share / 2, 1.0, black)


def _blur(pictures: Tensor, share: float, numbers: Tensor) -> Tensor:
    width = share * min(pictures.shape[-2:])
    reach = math.ceil(4 * width)
    steps = torch.arange(-reach, reach + 1, dtype=pictures.dtype)
    weights = (-((steps / width) ** 2) / 2).exp()
    weights = (weights / weights.sum()).expand(pictures.shape[1], 1, 1, -1)
    padded = functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(padded, weights, groups=pictures.shape[1])
    return functional.conv2d(across, weights.transpose(-1, -2), groups=pictures.shape[1])


def _pixelate(pictures: Tensor, share: float, numbers: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    return _cells(height, share) @ pictures @ _cells(width, share)


def _cells(size: int, share: float) -> Tensor:
    """Return the matrix that replaces each of a row's pixels by the mean of its cell."""
    cells = max(1, round(share * size))
    cell = ((torch.arange(size) + 0.5) * cells / size).long()
    same = (cell.unsqueeze(-1) == cell).float()
    return same / same.sum(-1, keepdim=True)


def _contrast(pictures: Tensor, factor: float, numbers: Tensor) -> Tensor:
    means = pictures.mean((1, 2, 3), keepdim=True)
    return means + factor * (pictures - means)


_DAMAGE: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "noise": _noise,
    "specks": _specks,
    "blur": _blur,
    "pixelate": _pixelate,
    "contrast": _contrast,
}
