"""Pictures in folders by class, decoded once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab.data.assembly import Contents, Part, stratified, with_validation
from softtargets.lab.data.pictures import pillow, read_picture
from softtargets.lab.errors import LabError

SIZE = 64
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif")
_TEST_SHARE = 1 / 5
_TEST_NAMES = ("test", "val", "validation")


def folder_contents(root: Path, size: int = SIZE, seed: int = 0) -> Contents:
    """Return the pictures of a folder as uint8 `(N, 3, size, size)`.

    `ROOT/train/CLASS/*` with `ROOT/test/CLASS/*` (or `val`), or one `ROOT/CLASS/*` of which a
    fifth of every class is for testing. A seventh of the training part becomes validation data.
    Each picture is turned upright, cut to its middle square and scaled. All of them are held in
    memory: `N * 3 * size ** 2` bytes, 12 KiB per picture of 64 pixels.

    Args:
        root: the folder.
        size: pixels per side.
        seed: decides which pictures of a folder without parts are for testing.

    Raises:
        LabError: no such folder, no or too few pictures in it, one that cannot be read (named), or
            more than memory holds.
    """
    if not root.is_dir():
        raise LabError(f"{root} is no folder; pictures are looked for in {root}/CLASS")
    pillow(root)
    parts = [root / "train", *(root / name for name in _TEST_NAMES if (root / name).is_dir())]
    if not parts[0].is_dir():
        return _divided(root, size, seed)
    if len(parts) < 2:
        raise LabError(f"{root} has a folder train and none named {', '.join(_TEST_NAMES)}; add it")
    names = _classes(parts[0])
    if _classes(parts[1]) != names:
        odd = sorted(set(names) ^ set(_classes(parts[1])))
        raise LabError(f"{parts[0]} and {parts[1]} must hold the same classes, {odd[0]} is in one")
    listed = [_listed(part, names) for part in parts[:2]]
    _check_memory(root, sum(len(paths) for paths, _ in listed), size)
    _check_counts(parts[0], listed[0][1], names, 2)
    train, test = (Part(inputs=_decoded(paths, size), labels=labels) for paths, labels in listed)
    return with_validation(root.resolve().name, train, test, class_names=names)


def _divided(root: Path, size: int, seed: int) -> Contents:
    """A folder without parts: keep a fifth of every class for testing."""
    names = _classes(root)
    paths, labels = _listed(root, names)
    _check_counts(root, labels, names, 4)
    _check_memory(root, len(paths), size)
    rest, test = stratified(np.arange(len(labels)), labels, _TEST_SHARE, seed)
    whole = Part(inputs=_decoded(paths, size), labels=labels)
    return with_validation(
        root.resolve().name + (f", seed {seed}" if seed else ""),
        whole.select(rest),
        whole.select(test),
        places=rest,
        total=len(labels),
        class_names=names,
    )


def _classes(folder: Path) -> tuple[str, ...]:
    found = sorted(
        each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")
    )
    if len(found) < 2:
        raise LabError(
            f"{folder} must hold a folder for each of at least 2 classes, got "
            f"{', '.join(found) or 'none'}"
        )
    return tuple(found)


def _listed(folder: Path, names: tuple[str, ...]) -> tuple[list[Path], Any]:
    """All pictures of a part, and their classes."""
    paths, labels = [], []
    for label, name in enumerate(names):
        own = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not own:
            raise LabError(
                f"{folder / name} holds no pictures; their names must end in {', '.join(SUFFIXES)}"
            )
        paths += own
        labels += [label] * len(own)
    return paths, np.array(labels)


def _check_counts(folder: Path, labels: Any, names: tuple[str, ...], least: int) -> None:
    """Every class needs pictures to train, to validate and, if need be, to test on."""
    counts = np.bincount(labels)
    few = int(counts.argmin())
    if counts[few] < least:
        raise LabError(
            f"{folder / names[few]} must hold {least} pictures or more, got {counts[few]}"
        )
    if len(labels) < 7 * len(names):
        raise LabError(
            f"{folder}: {len(labels)} pictures are too few for {len(names)} classes; a seventh of "
            "them must hold one of each, for validation"
        )


def _check_memory(root: Path, count: int, size: int) -> None:
    """Raise where the pictures are more than half of what the machine holds."""
    needed = 2 * count * 3 * size**2  # once as they are, once more while they are split
    there = physical_memory()
    if needed > there:
        raise LabError(
            f"{root}: {count:,} pictures of {size} x {size} need {needed / 2**30:.1f} GiB, this "
            f"machine has {there / 2**30:.1f} GiB; choose a smaller size, as ?size={size // 2}"
        )


def physical_memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _decoded(paths: list[Path], size: int) -> Any:
    """Decode in threads, as Pillow lets go of the interpreter."""
    pictures = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def fill(place: int) -> None:
        pictures[place] = read_picture(paths[place], size).transpose(2, 0, 1)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(len(paths))):
            pass
    return pictures
