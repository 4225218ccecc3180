"""Where the data of the claims are: bundled, below a folder the user names, or made of these."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from softtargets.lab import data as datasets
from softtargets.lab.data import DataSet
from softtargets.lab.spec import RunSpec

FASHION = Path("fashion_mnist") / "fashion_mnist_29k.npz.xz"
KEPT = 6  # classes a network of the scene "part" is trained on; the others are for its features


class MissingDataError(Exception):
    """The data of a claim are not here; the message says which and how to give them."""


class Sources:
    """Loads data sets by name, each once.

    Args:
        root: folder of the data that are not bundled, or None.
        output: folder for the files that are made of them.
    """

    def __init__(self, root: Path | None, output: Path) -> None:
        self._root, self._output = root, output
        self._loaded: dict[str, tuple[str, DataSet]] = {}

    def located(self, name: str) -> tuple[str, DataSet]:
        """Return the source as a run spec has it, and the data.

        Raises:
            MissingDataError: the data are not below the root.
            LabError: they are, but cannot be read.
        """
        if name not in self._loaded:
            source = _MADE[name](self)
            self._loaded[name] = source, datasets.load(source)
        return self._loaded[name]

    def of(self, spec: RunSpec) -> tuple[str, DataSet]:
        """Return the data of a spec of these sources."""
        return next(found for found in self._loaded.values() if found[1].digest == spec.data_hash)

    def path(self, relative: Path) -> Path:
        """Return a path below the root, where there is a file or folder."""
        if self._root is None:
            raise MissingDataError(f"it needs {relative}; name its folder with --data-root")
        path = self._root / relative
        if not path.exists():
            raise MissingDataError(f"{path} is not there; put the data set there")
        return path

    def arrays(self, name: str, make: Callable[[], dict[str, Any]]) -> str:
        """Return the path of an npz file in the output folder, made if it is not there."""
        path = self._output / "data" / f"{name}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".writing.npz")
            np.savez(temporary, **make())
            temporary.replace(path)
        return str(path)


def _read(path: Path) -> dict[str, Any]:
    import lzma

    with lzma.open(path) as file, np.load(file) as archive:
        return {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}


def _fashion_5000(sources: Sources) -> str:
    path = sources.path(FASHION)

    def make() -> dict[str, Any]:
        arrays = _read(path)
        return {
            name: array[:5000] if name.endswith("train") else array
            for name, array in arrays.items()
        }

    return sources.arrays("fashion-5000", make)


def _fashion_part(sources: Sources) -> str:
    whole = _fashion_5000(sources)
    return sources.arrays("fashion-part", lambda: kept(dict(np.load(whole))))


def _digits_part(sources: Sources) -> str:
    return sources.arrays("digits-part", lambda: kept(_digits()))


def kept(arrays: dict[str, Any], *, others: bool = False) -> dict[str, Any]:
    """Return the samples of the first `KEPT` classes, or those of the others.

    Args:
        arrays: x_train, y_train, x_test, y_test.
        others: the other classes, numbered from 0.
    """
    found = {}
    for part in ("train", "test"):
        labels = arrays[f"y_{part}"].astype(np.int64)
        chosen = (labels >= KEPT) if others else (labels < KEPT)
        found[f"x_{part}"] = arrays[f"x_{part}"][chosen]
        found[f"y_{part}"] = labels[chosen] - (KEPT if others else 0)
    return found


def _digits() -> dict[str, Any]:
    """The digits as arrays; a third of them for the test, as in `softtargets.lab.data`."""
    digits = datasets.load("digits")
    train = [digits.train, digits.validation]
    return {
        "x_train": np.concatenate([part.inputs.numpy() for part in train]),
        "y_train": np.concatenate([part.labels.numpy() for part in train]),
        "x_test": digits.test.inputs.numpy(),
        "y_test": digits.test.labels.numpy(),
    }


_MADE: dict[str, Callable[[Sources], str]] = {
    "digits": lambda sources: "digits",
    "digits-part": _digits_part,
    "fashion-5000": _fashion_5000,
    "fashion-part": _fashion_part,
}
