"""What torchvision reads, and fetches where that is asked for."""

from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab.data.assembly import Part
from softtargets.lab.errors import LabError, reason

_CLASSES = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}


def torchvision_parts(kind: str, folder: Path, *, download: bool) -> tuple[Part, Part]:
    """Return training part and test part; images as uint8 `(N, 28, 28)` or `(N, 3, 32, 32)`.

    The files are torchvision's, and so are their check sums and the code that unpacks them.

    Args:
        kind: `"mnist"`, `"fashion-mnist"`, `"cifar10"` or `"cifar100"`.
        folder: that holds them or is to.
        download: whether to fetch what is missing.

    Raises:
        LabError: torchvision is missing or does not fit torch, a download failed, files are
            missing or damaged.
    """
    loader = getattr(_datasets(kind, folder), _CLASSES[kind])
    try:
        train, test = (
            loader(root=str(folder), train=part, download=download) for part in (True, False)
        )
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        what = "could not be downloaded" if download else "cannot be read by torchvision"
        raise LabError(
            f"{kind}: {folder} {what} ({reason(error)}); what is whole stays there, so the same "
            "command goes on, or put the official files there yourself"
        ) from error
    return _part(train), _part(test)


def _datasets(kind: str, folder: Path) -> Any:
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is of another build of torch
        raise LabError(
            f"{kind}: {folder} can only be downloaded or unpacked by a torchvision that fits the "
            f"torch that is installed ({reason(error)}); install it, or put the official idx or "
            "binary files there"
        ) from error
    return datasets


def _part(loaded: Any) -> Part:
    images = np.asarray(loaded.data)
    if images.ndim == 4:
        images = images.transpose(0, 3, 1, 2)
    return Part(inputs=np.ascontiguousarray(images), labels=np.asarray(loaded.targets))
