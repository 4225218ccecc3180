"""Images with a class for every pixel, decoded and scaled once; void pixels are counted."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softtargets.decoding import decoded
from softtargets.lab.data.folder import physical_memory
from softtargets.lab.data.pictures import pillow
from softtargets.lab.errors import LabError, reason
from softtargets.lab.segmentation.files import PARTS, Pair, Tree, pairs, tree

CAMVID = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
KINDS = ("camvid", "segmentation")
SIDES = (16, 4096)
OPTIONS = {"camvid": ("size",), "segmentation": ("size", "classes", "ignore")}
# What a mask is stored as; the others have colours instead of numbers.
_NUMBERS = ("1", "L", "P", "I", "I;16")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenes:
    """Images and their masks.

    Attributes:
        names: of the image files, below the data's path.
        images: `(N, 3, H, W)` uint8.
        masks: `(N, H, W)` uint8, a class or the ignored value at each pixel.
        void: how many pixels have the ignored value.
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor
    void: int

    def __len__(self) -> int:
        return len(self.images)

    def inputs(self, index: Tensor | slice) -> Tensor:
        """Return images as a network takes them: float32, in [-1, 1]."""
        return self.images[index].float().div_(127.5).sub_(1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentationData:
    """A segmentation data set in its three parts.

    Attributes:
        name: kind, place and size.
        class_names: K of them.
        ignore_index: the value of pixels that take no part in anything.
        digest: hash of all images, masks and names of classes, in their order.
        train: to learn from.
        validation: to fit temperatures on and to follow the training by.
        test: to measure on.
        left_out: files at the data's path that are in none of the parts.
    """

    name: str
    class_names: tuple[str, ...]
    ignore_index: int
    digest: str
    train: Scenes
    validation: Scenes
    test: Scenes
    left_out: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """K, without the ignored value."""
        return len(self.class_names)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        _, _, height, width = self.train.images.shape
        return height, width


def load(word: str) -> SegmentationData:
    """Return the data that a word names, `KIND:PATH` with options after a question mark.

    `camvid:PATH` has the 11 classes of CamVid and 11 as its ignored value. `segmentation:PATH` has
    any: `ignore` (255 unless set) is the ignored value, and the classes are the lines of a file
    `classes.txt`, or their number is `classes`, or one more than the largest value in the training
    masks. PATH is a folder or a tar archive, see `softtargets.lab.segmentation.files.pairs`. `size`
    scales images bilinearly and masks to the nearest pixel, as `size=240x180`, width first; without
    it all images must have one size.

    Args:
        word: as `camvid:camvid.tar?size=240x180`.

    Raises:
        LabError: the word cannot be read, a file is missing or cannot be decoded, image and mask
            differ in size, a mask holds a value that is no class, or memory does not suffice.
    """
    kind, path, options = _parsed(word)
    files = tree(path)
    found, left_out = pairs(files)
    size, ignore = options.get("size"), options.get("ignore", 255)
    names = CAMVID if kind == "camvid" else _named(files, options)
    if kind == "camvid":
        ignore = len(CAMVID)
    reader = _Reader(files=files, size=size, names=names, ignore=ignore)
    shape: tuple[int, int] = reader.read(found["train"][0])[1].shape
    _check_memory(path, sum(map(len, found.values())), shape)
    parts = {}
    for part, listed in found.items():
        images, masks = reader.decoded(listed, shape)
        if reader.names is None:
            names = _numbered_names(files, listed, masks, ignore)
            reader = replace(reader, names=names)
        _check_void(files, listed, masks, ignore)
        parts[part] = _scenes(listed, images, masks, ignore)
    assert names is not None
    return SegmentationData(
        name=f"{path.name}, {shape[1]} x {shape[0]}",
        class_names=names,
        ignore_index=ignore,
        digest=_digest(names, ignore, parts),
        left_out=tuple(each for each in left_out if each != "classes.txt"),
        **parts,
    )


def _parsed(word: str) -> tuple[str, Path, dict[str, Any]]:
    place, _, tail = word.partition("?")
    kind, _, path = place.partition(":")
    if kind not in KINDS or not path:
        raise LabError(
            f"segmentation data must be {' or '.join(f'{each}:PATH' for each in KINDS)}, got {word}"
        )
    options: dict[str, Any] = {}
    for option in filter(None, tail.split("&")):
        name, _, value = option.partition("=")
        if name not in OPTIONS[kind] or name in options:
            raise LabError(
                f"{word}: options of {kind} must be {', '.join(OPTIONS[kind])}, each once, got "
                f"{option}"
            )
        options[name] = _size(value) if name == "size" else _number(name, value)
    return kind, Path(path), options


def _size(text: str) -> tuple[int, int]:
    """Return width and height."""
    sides = text.split("x")
    if len(sides) != 2 or not all(x.isdecimal() and SIDES[0] <= int(x) <= SIDES[1] for x in sides):
        raise LabError(
            f"`size` of the data must be WIDTHxHEIGHT from {SIDES[0]} to {SIDES[1]}, as 240x180, "
            f"got {text!r}"
        )
    return int(sides[0]), int(sides[1])


def _number(name: str, text: str) -> int:
    lowest = 2 if name == "classes" else 0
    if not text.isdecimal() or not lowest <= int(text) <= 255:
        raise LabError(
            f"`{name}` of the data must be a whole number from {lowest} to 255, got {text!r}"
        )
    return int(text)


def _named(files: Tree, options: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the classes, or None where the masks have to tell their number."""
    count = options.get("classes")
    if "classes.txt" not in files.names:
        return None if count is None else tuple(f"class {k}" for k in range(count))
    text = decoded(files.path("classes.txt"), files.read("classes.txt"), LabError)
    names = tuple(line.strip() for line in text.splitlines())
    if not 2 <= len(names) <= 255 or not all(names) or len(set(names)) < len(names):
        raise LabError(
            f"{files.path('classes.txt')} must hold the names of 2 to 255 classes, one on each "
            f"line and none twice, got {len(names)} lines"
        )
    if count not in (None, len(names)):
        raise LabError(
            f"`classes` of the data is {count}, and {files.path('classes.txt')} has {len(names)} "
            "names; leave `classes` out"
        )
    return names


def _numbered_names(files: Tree, listed: list[Pair], masks: Any, ignore: int) -> tuple[str, ...]:
    """Return a name for each class up to the largest in the training masks."""
    _check_void(files, listed, masks, ignore)
    count = int(masks[masks != ignore].max()) + 1
    if count < 2:
        raise LabError(
            f"{files.path(listed[0].mask)} and all others of the training part hold one class, 0, "
            f"or are void ({ignore}); number the classes from 0, or set `ignore` or `classes` of "
            "the data"
        )
    seen = np.unique(masks[masks != ignore])
    if len(seen) < count:
        last = int(np.flatnonzero((masks == count - 1).reshape(len(masks), -1).any(1))[0])
        absent = ", ".join(str(k) for k in np.setdiff1d(np.arange(count), seen)[:5])
        raise LabError(
            f"{files.path(listed[last].mask)} holds the value {count - 1}, and no training mask "
            f"holds {absent}{' and others' if count - len(seen) > 5 else ''}: mend that mask, set "
            "`ignore` of the data if the value is void, or say how many classes there are by "
            "`classes`, or their names in classes.txt"
        )
    return tuple(f"class {k}" for k in range(count))


def _check_memory(path: Path, count: int, shape: tuple[int, int]) -> None:
    height, width = shape
    needed, there = 4 * count * height * width, physical_memory() // 2
    if needed > there:
        raise LabError(
            f"{path}: {count:,} images of {width} x {height} need {needed / 2**30:.1f} GiB, and "
            f"half of this machine's memory is {there / 2**30:.1f} GiB; choose a smaller size, as "
            f"?size={width // 2}x{height // 2}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Decodes pairs.

    Attributes:
        files: where they are.
        size: width and height to scale to; None for as they are.
        names: of the classes; None where they are not known yet.
        ignore: the value of void.
    """

    files: Tree
    size: tuple[int, int] | None
    names: tuple[str, ...] | None
    ignore: int

    def decoded(self, listed: list[Pair], shape: tuple[int, int]) -> tuple[Any, Any]:
        """Return images and masks, decoded in threads, as Pillow lets go of the interpreter."""
        height, width = shape
        images = np.empty((len(listed), 3, height, width), dtype=np.uint8)
        masks = np.empty((len(listed), height, width), dtype=np.uint8)

        def fill(place: int) -> None:
            image, mask = self.read(listed[place])
            if mask.shape != (height, width):
                raise LabError(
                    f"{self.files.path(listed[place].image)} is {mask.shape[1]} x {mask.shape[0]}, "
                    f"others are {width} x {height}; scale all to one size, as "
                    f"?size={width}x{height}"
                )
            images[place], masks[place] = image.transpose(2, 0, 1), mask

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(fill, range(len(listed))):
                pass
        return images, masks

    def read(self, pair: Pair) -> tuple[Any, Any]:
        """Return an image `(H, W, 3)` and its mask `(H, W)`, both uint8."""
        files = self.files
        image_module, operations = pillow(files.root)
        image = _opened(files, pair.image, lambda x: operations.exif_transpose(x).convert("RGB"))
        mask = _opened(files, pair.mask, lambda x: _numbered(files.path(pair.mask), x))
        if image.size != mask.size:
            raise LabError(
                f"{files.path(pair.image)} is {image.size[0]} x {image.size[1]} and its mask "
                f"{files.path(pair.mask)} {mask.size[0]} x {mask.size[1]}; they must have one "
                "size: mend one, or take both out"
            )
        # Before scaling, which might leave out the pixels that are wrong.
        self._check_values(pair.mask, np.asarray(mask))
        if self.size is not None:
            how = image_module.Resampling
            image, mask = image.resize(self.size, how.BILINEAR), mask.resize(self.size, how.NEAREST)
        return np.asarray(image), np.asarray(mask).astype(np.uint8)

    def _check_values(self, name: str, values: Any) -> None:
        most = 255 if self.names is None else len(self.names)
        wrong = ((values < 0) | (values >= most)) & (values != self.ignore)
        if wrong.any():
            raise LabError(
                f"{self.files.path(name)}: {int(wrong.sum()):,} pixels are no class, one has the "
                f"value {int(values[wrong].max())}; values must be 0 to {most - 1}, or "
                f"{self.ignore} for void; mend the mask, or set `classes` or `ignore` of the data"
            )


def _opened(files: Tree, name: str, change: Callable[[Any], Any]) -> Any:
    image_module, _ = pillow(files.root)
    bomb = image_module.DecompressionBombWarning, image_module.DecompressionBombError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", bomb[0])
            with image_module.open(io.BytesIO(files.read(name))) as opened:
                _check_frames(opened)
                opened.load()
                return change(opened)
    except (OSError, SyntaxError, ValueError, *bomb) as error:
        raise LabError(
            f"{files.path(name)} cannot be read as a picture ({reason(error)}); mend it, or take "
            "image and mask out"
        ) from error


def _check_frames(opened: Any) -> None:
    # What telephones add to a photograph (MPO) is no further picture of a sequence.
    count = getattr(opened, "n_frames", 1)
    if count > 1 and opened.format != "MPO":
        raise ValueError(f"it holds {count} frames, one is expected")


def _numbered(path: str, opened: Any) -> Any:
    if opened.mode not in _NUMBERS:
        raise LabError(
            f"{path} has colours (mode {opened.mode}) where a mask has the number of a class at "
            "each pixel; convert it to one channel, or to a palette in the order of the classes"
        )
    return opened.copy()


def _check_void(files: Tree, listed: list[Pair], masks: Any, ignore: int) -> None:
    if (masks == ignore).all():
        raise LabError(
            f"{files.path(listed[0].mask)} and all others of its part are void ({ignore}); give "
            "them labels, or set `ignore` of the data"
        )


def _scenes(listed: list[Pair], images: Any, masks: Any, ignore: int) -> Scenes:
    return Scenes(
        names=tuple(pair.image for pair in listed),
        images=torch.from_numpy(images),
        masks=torch.from_numpy(masks),
        void=int((masks == ignore).sum()),
    )


def _digest(names: tuple[str, ...], ignore: int, parts: dict[str, Scenes]) -> str:
    digest = hashlib.sha256("\n".join([str(ignore), *names]).encode())
    for part in PARTS:
        for array in (parts[part].images.numpy(), parts[part].masks.numpy()):
            digest.update(str(array.shape).encode())
            digest.update(array.data)
    return digest.hexdigest()[:16]
