"""Pairs of images and masks in a folder or a tar archive, found by name; nothing is passed over."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from softtargets.lab.data.folder import SUFFIXES
from softtargets.lab.errors import LabError, reason

PARTS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
_PIECE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Files by their path below a root.

    Attributes:
        root: the folder or archive.
        names: paths of all files below it, sorted, hidden ones left out.
        read: returns the content of one.
    """

    root: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]

    def path(self, name: str) -> str:
        """Return what an error calls a file."""
        return f"{self.root}/{name}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Where an image and its mask are, below the root of their tree."""

    image: str
    mask: str


def tree(path: Path) -> Tree:
    """Return the files of a folder or of a tar archive, compressed or not.

    Raises:
        LabError: there is no such folder or archive, or it cannot be read.
    """
    if path.is_dir():
        # Links that lead nowhere too: they fail when they are read, and are listed if they are not.
        files = [
            each.relative_to(path).as_posix()
            for each in path.rglob("*")
            if each.is_file() or (each.is_symlink() and not each.exists())
        ]
        return _shown(path, files, lambda name: _bytes(path / name))
    if not path.is_file():
        raise LabError(
            f"{path} is neither a folder nor a tar archive; name the one that holds train, val and "
            "test"
        )
    try:
        with tarfile.open(path) as archive:
            held = {
                member.name.removeprefix("./"): _content(archive, member)
                for member in archive
                if not member.isdir()
            }
            _check_end(archive)
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise LabError(f"{path} cannot be read as a tar archive ({reason(error)})") from error
    return _shown(path, held, held.__getitem__)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return what is in a file, or in the one that a link leads to."""
    try:
        file = archive.extractfile(member)
    except KeyError as error:
        raise tarfile.ReadError(f"{member.name} is a link to a file that is not there") from error
    if file is None:
        raise tarfile.ReadError(f"{member.name} is no file; pack what it leads to, or leave it out")
    with file:
        return file.read()


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise unless a block of zeros says that no file is missing after the last.

    In a damaged archive zeros may stand elsewhere too: its checksum is behind the last byte.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if len(archive.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends without its end mark; copy it again")
    while archive.fileobj.read(_PIECE):
        pass


def pairs(files: Tree) -> tuple[dict[str, list[Pair]], tuple[str, ...]]:
    """Return the pairs of each part, sorted by name, and the files that belong to none.

    A part is two folders, `PART` and `PARTannot` or `PART/images` and `PART/masks`, in which an
    image and its mask have the same name but for the ending.

    Raises:
        LabError: a part is missing or empty, an image has no mask, a mask no image, or two files
            have one name.
    """
    below: dict[str, list[str]] = {}
    for name in files.names:
        below.setdefault(str(PurePosixPath(name).parent), []).append(name)
    found: dict[str, list[Pair]] = {}
    used: set[str] = set()
    for part, names in PARTS.items():
        images, masks = _folders(files, below, part, names)
        found[part] = _matched(files, _by_stem(files, below[images]), below[masks], masks)
        used.update(name for pair in found[part] for name in (pair.image, pair.mask))
    return found, tuple(name for name in files.names if name not in used)


def _shown(root: Path, names: Iterable[str], read: Callable[[str], bytes]) -> Tree:
    kept = sorted(
        name for name in names if not any(x.startswith(".") for x in PurePosixPath(name).parts)
    )
    # An archive often holds one folder that holds the rest.
    top = {PurePosixPath(name).parts[0] for name in kept}
    if len(top) == 1 and not top & {"train"} and all("/" in name for name in kept):
        prefix = f"{top.pop()}/"
        inner = tuple(name.removeprefix(prefix) for name in kept)
        return Tree(root=root, names=inner, read=lambda name: read(prefix + name))
    return Tree(root=root, names=tuple(kept), read=read)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabError(f"{path} cannot be read ({reason(error)}); copy it again") from error


def _folders(
    files: Tree, below: Mapping[str, list[str]], part: str, names: tuple[str, ...]
) -> tuple[str, str]:
    """Return the folders of images and masks of a part."""
    layouts = [
        pair
        for name in names
        for pair in ((name, f"{name}annot"), (f"{name}/images", f"{name}/masks"))
    ]
    there = [pair for pair in layouts if pair[0] in below and pair[1] in below]
    if len(there) == 1:
        return there[0]
    if there:
        listed = " and ".join(pair[0] for pair in there)
        raise LabError(
            f"{files.root} has {part} images twice, in {listed}; leave one of them there"
        )
    for images, masks in layouts:
        for one, other, kind in ((images, masks, "masks"), (masks, images, "images")):
            if one in below:
                raise LabError(
                    f"{files.root} has {one} but no {kind} for it; put them into {other}"
                )
    wanted = " or ".join(f"{images} with {masks}" for images, masks in layouts[:2])
    raise LabError(f"{files.root} has no {part} part: no folders {wanted}; make them")


def _by_stem(files: Tree, names: Iterable[str]) -> dict[str, str]:
    """Return the pictures of a folder by their names without ending."""
    found: dict[str, str] = {}
    for name in names:
        if PurePosixPath(name).suffix.lower() not in SUFFIXES:
            continue
        stem = PurePosixPath(name).stem
        if stem in found:
            raise LabError(
                f"{files.path(found[stem])} and {files.path(name)} have one name; rename one, and "
                "its partner with it"
            )
        found[stem] = name
    return found


def _matched(
    files: Tree, images: Mapping[str, str], mask_names: Iterable[str], folder: str
) -> list[Pair]:
    masks = _by_stem(files, mask_names)
    for stem, name in images.items():
        if stem not in masks:
            raise LabError(
                f"{files.path(name)} has no mask; put one named {stem} into "
                f"{files.path(folder)}, or take the image out"
            )
    for stem, name in masks.items():
        if stem not in images:
            raise LabError(
                f"{files.path(name)} is the mask of no image; add the image {stem}, or take the "
                "mask out"
            )
    if not images:
        raise LabError(
            f"{files.path(folder)} holds no pictures; their names must end in {', '.join(SUFFIXES)}"
        )
    return [Pair(images[stem], masks[stem]) for stem in sorted(images)]
