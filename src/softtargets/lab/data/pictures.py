"""Pillow, where a data set is made of picture files."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab.errors import LabError, reason


def pillow(path: Path) -> Any:
    """Return Pillow's modules `Image` and `ImageOps`.

    Args:
        path: for which it is needed.

    Raises:
        LabError: Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise LabError(
            f"{path}: picture files need Pillow; pip install 'softtargets[images]'"
        ) from error
    return Image, ImageOps


def read_picture(path: Path, size: int | None = None) -> Any:
    """Return a picture as uint8 `(H, W, 3)`, upright.

    Args:
        path: of the file.
        size: then the middle square, scaled to this many pixels on each side.

    Raises:
        LabError: Pillow is missing, or cannot read the file.
    """
    image_module, operations = pillow(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            with image_module.open(path) as opened:
                if size is not None:
                    opened.draft("RGB", (2 * size, 2 * size))
                upright = operations.exif_transpose(opened).convert("RGB")
        if size is not None:
            upright = operations.fit(upright, (size, size), image_module.Resampling.BICUBIC)
        return np.asarray(upright)
    except (
        OSError,
        SyntaxError,
        ValueError,
        image_module.DecompressionBombWarning,
        image_module.DecompressionBombError,
    ) as error:
        raise LabError(
            f"{path} cannot be read as a picture ({reason(error)}); mend it, or take it out of the "
            "folder"
        ) from error
