"""Where the data of the claims are: bundled, below a folder the user names, or made of these."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softtargets.lab import data as datasets
from softtargets.lab.data import Scale, Split
from softtargets.lab.data.arrays import npz_contents
from softtargets.lab.errors import LabError
from softtargets.lab.execution.pool import key_of, key_of_data
from softtargets.lab.kinds import AnySpec, kind_named
from softtargets.lab.output import made
from softtargets.lab.records import write_atomically

KEPT = 6  # classes a network of the scene "part" is trained on; the others are for its features
PROBED = 3000  # samples of the other classes that a probe is fitted on


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
        self._loaded: dict[str, tuple[str, Any]] = {}

    def located(self, name: str, kind: str = "classification") -> tuple[str, Any]:
        """Return the source as a spec has it, and the data.

        Args:
            name: a word for the kind's data, with `{root}` for the folder of the data; or
                `PART:WORD` for some classes of a file of arrays.
            kind: of runs.

        Raises:
            MissingDataError: the data are not below the root, or a library for such runs is not
                installed.
            LabError: they are, but cannot be read.
        """
        if name not in self._loaded:
            source, runs = self._source(name), kind_named(kind)
            if runs.missing:
                raise MissingDataError(runs.missing)
            self._loaded[name] = source, runs.load(source)
        return self._loaded[name]

    def of(self, spec: AnySpec) -> Any:
        """Return the data of a spec that was made of these sources."""
        return next(data for _, data in self._loaded.values() if key_of_data(data) == key_of(spec))

    def others(self, name: str) -> tuple[Split, Split]:
        """Return training and test samples of the classes that `PART:WORD` leaves out."""
        _, data = self.located(name)
        arrays = kept(self._arrays(name), others=True)
        scale = Scale(mean=data.mean, deviation=data.deviation)
        return tuple(  # type: ignore[return-value]
            Split(
                inputs=torch.from_numpy(np.asarray(arrays[f"x_{part}"][:most], dtype=np.float32)),
                labels=torch.from_numpy(arrays[f"y_{part}"][:most]),
                scale=scale,
            )
            for part, most in (("train", PROBED), ("test", None))
        )

    def _source(self, name: str) -> str:
        if not name.startswith("PART:"):
            return self._below(name)
        label, _, options = name.removeprefix("PART:").partition("?")
        path = self._output / "data" / f"{Path(label).name.partition('.')[0]}-part.npz"
        if not path.exists():
            buffer = io.BytesIO()
            np.savez(buffer, **kept(self._arrays(name)))
            write_atomically(made(path.parent) / path.name, buffer.getvalue())
        return f"{path}?{options}" if options else str(path)

    def _arrays(self, name: str) -> dict[str, Any]:
        """The arrays that a part is made of."""
        word = name.removeprefix("PART:").partition("?")[0]
        if word == "digits":
            return _digits()
        contents = npz_contents(Path(self._below(word)))
        joined = [contents.train, contents.validation]
        return {
            "x_train": np.concatenate([part.inputs for part in joined]),
            "y_train": np.concatenate([part.labels for part in joined]),
            "x_test": contents.test.inputs,
            "y_test": contents.test.labels,
        }

    def _below(self, name: str) -> str:
        """Put the root into the word, if something is there."""
        if "{root}" not in name:
            return name
        word, _, options = name.partition("?")
        relative = word.partition("{root}/")[2]
        if self._root is None:
            raise MissingDataError(f"it needs {relative}; name its folder with --data-root")
        labels = options.partition("noisy_labels=")[2].partition(":")[0]
        for path in (self._root / relative, self._root / relative / labels):
            if not path.exists():
                raise MissingDataError(f"it needs {path}, which is not there")
        return name.replace("{root}", str(self._root))


def kept(arrays: dict[str, Any], *, others: bool = False) -> dict[str, Any]:
    """Return the samples of the first `KEPT` classes, or those of the others.

    Args:
        arrays: x_train, y_train, x_test, y_test.
        others: the other classes, numbered from 0.

    Raises:
        LabError: there are no other classes.
    """
    found = {}
    for part in ("train", "test"):
        labels = arrays[f"y_{part}"].astype(np.int64)
        chosen = (labels >= KEPT) if others else (labels < KEPT)
        if not chosen.any():
            raise LabError(f"the data must have more than {KEPT} classes; use others")
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
