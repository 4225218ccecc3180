"""Where a data set comes from, and which part of it is wanted, as one word on a command line."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from softtargets.lab.errors import LabError

EMBEDDED = ("digits", "two-gaussians")
DOWNLOADED = ("mnist", "fashion-mnist", "cifar10", "cifar100")
KINDS = (*EMBEDDED, *DOWNLOADED, "folder", "text", "arrays")
LARGEST_SIDE = 1024
_WHOLE = {"samples": 1, "seed": 0, "size": 4, "words": 1}  # from which number on
_NAMES = ("noisy_labels", "text", "label")
_OPTIONS = (*_WHOLE, "imbalance", *_NAMES, "download")
_ONLY = {"size": ("folder", "pictures in a folder")}
_ONLY |= dict.fromkeys(("text", "label", "words"), ("text", "tables of texts"))


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data set by kind and path, as a whole or in part.

    Written `KIND`, `KIND:PATH` or `KIND:PATH?option=value&option=value`; the path of a file
    alone is of kind `arrays`. `str` writes what `parse` reads.

    Attributes:
        name: one of `KINDS`.
        path: file or folder, for all kinds but `digits` and `two-gaussians`.
        samples: how many training samples to keep, as many of each class as of any other.
        imbalance: or a long tail: class k of K keeps `n_min * imbalance ** (-k / (K - 1))`
            training samples, where n_min is the size of the smallest class.
        noisy_labels: file of training labels, `PATH` or `PATH:NAME`; looked for beside the data
            too.
        seed: decides which training samples are kept, which samples of a folder without parts
            or of one table of texts are for testing, and the draw of `two-gaussians`.
        size: pixels per side of pictures in a folder.
        text: column of texts, where its name does not say so.
        label: column of their labels.
        words: how many words of a text are read, the first ones; all unless set.
        download: whether torchvision may fetch what is missing.

    Raises:
        LabError: an unknown kind, a missing path, an option that is out of range or means nothing
            for this kind.

    Example:
        >>> source = Source.parse("cifar10:data/cifar?samples=1000&seed=2")
        >>> source.name, source.path, source.samples, str(source)
        ('cifar10', 'data/cifar', 1000, 'cifar10:data/cifar?samples=1000&seed=2')
    """

    name: str
    path: str | UnsetType = UNSET
    samples: int | UnsetType = UNSET
    imbalance: float | UnsetType = UNSET
    noisy_labels: str | UnsetType = UNSET
    seed: int = 0
    size: int | UnsetType = UNSET
    text: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    words: int | UnsetType = UNSET
    download: bool = False

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise LabError(f"unknown kind of data {self.name!r}: choose from {', '.join(KINDS)}")
        if self.name in EMBEDDED and self.path is not UNSET:
            raise LabError(f"{self.name} has no path, got {self.path!r}; leave it out")
        if self.name not in EMBEDDED and not self.path:
            raise LabError(f"{self.name} needs a path, as {self.name}:PATH")
        _check_numbers(self)
        _check_options(self)
        if _split(str(self))[0] != self._place:
            raise LabError(f"{self.path}: a path must not end as options do; rename it")

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Return the source that a word names.

        Args:
            text: `KIND`, `KIND:PATH`, or the path of a file of arrays, with options.

        Raises:
            LabError: it names none.
        """
        place, options = _split(text)
        kind, colon, path = place.partition(":")
        if not place:
            raise LabError(
                f"`data` must name a data set, got {text!r}; give digits, the path of an .npz or "
                ".parquet file, or KIND:PATH, as folder:PATH"
            )
        if colon and kind in KINDS:
            fields: dict[str, Any] = {"name": kind, "path": path}
        elif place in EMBEDDED:
            fields = {"name": place}
        elif place in KINDS:
            raise LabError(f"{place} needs a path, as {place}:PATH")
        else:
            fields = {"name": "arrays", "path": place}
        return cls(**fields, **{name: _value(name, value) for name, value in options.items()})

    @property
    def _place(self) -> str:
        if self.path is UNSET:
            return self.name
        bare = self.name == "arrays" and self.path.partition(":")[0] not in KINDS
        return self.path if bare else f"{self.name}:{self.path}"

    def __str__(self) -> str:
        written = []
        for name in _OPTIONS:
            value = getattr(self, name)
            if value is UNSET or value in (0, False):
                continue
            written.append(f"{name}={'yes' if value is True else value}")
        return self._place + ("?" + "&".join(written) if written else "")

    @property
    def location(self) -> Path:
        """The path, which is set."""
        assert self.path is not UNSET
        return Path(self.path)


def _check_numbers(source: Source) -> None:
    for name, least in _WHOLE.items():
        value = getattr(source, name)
        if value is not UNSET and (isinstance(value, bool) or value < least):
            raise LabError(f"`{name}` of the data must be {least} or more, got {value}")
    if source.imbalance is not UNSET and not 1 < source.imbalance <= 1e6:
        raise LabError(
            "`imbalance` of the data must be above 1 and up to 1e6, how many times the largest "
            f"class is as large as the smallest, got {source.imbalance}"
        )
    if source.size is not UNSET and source.size > LARGEST_SIDE:
        raise LabError(f"`size` of the data must be up to {LARGEST_SIDE}, got {source.size}")


def _check_options(source: Source) -> None:
    """Raise where an option would do nothing, or two contradict each other."""
    kept = source.samples is not UNSET or source.imbalance is not UNSET
    if source.samples is not UNSET and source.imbalance is not UNSET:
        raise LabError(
            "`samples` and `imbalance` of the data exclude each other: one keeps as many of each "
            "class, the other makes a long tail; leave one of them out"
        )
    if source.seed and not (kept or source.name in ("two-gaussians", "folder", "text")):
        raise LabError(f"`seed` decides nothing of {source.name} without samples or imbalance")
    for option, (kind, what) in _ONLY.items():
        if getattr(source, option) is not UNSET and source.name != kind:
            raise LabError(f"`{option}` is for {what}, not for {source.name}; leave it out")
    if source.download and source.name not in DOWNLOADED:
        raise LabError(
            f"`download` is for {', '.join(DOWNLOADED)}, not for {source.name}; leave it out"
        )


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Split off options, if what follows the last question mark has their form."""
    place, mark, tail = text.rpartition("?")
    pairs = [part.partition("=") for part in tail.split("&")]
    if not mark or not all(equals and name.isidentifier() for name, equals, _ in pairs):
        return text, {}
    options = {name: value for name, _, value in pairs}
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown or len(options) < len(pairs):
        raise LabError(
            f"{text}: options of the data must be {', '.join(_OPTIONS)}, each once, got {tail}"
        )
    return place, options


def _value(name: str, text: str) -> Any:
    """Read the value of an option."""
    if name in _NAMES:
        return text
    if name == "download":
        if text not in ("yes", "no"):
            raise LabError(f"`download` of the data must be yes or no, got {text!r}")
        return text == "yes"
    whole = name in _WHOLE
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        kind = "a whole number" if whole else "a number"
        raise LabError(f"`{name}` of the data must be {kind}, got {text!r}") from error
