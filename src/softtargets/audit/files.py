"""Opens a file of predictions by the ending of its name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from softtargets.audit.archives import npz_array, open_npz, open_safetensors, safetensors_array
from softtargets.audit.arrays import StoredArray, open_npy, reason
from softtargets.audit.errors import AuditError
from softtargets.audit.layouts import Layout
from softtargets.audit.naming import Keys, choose_labels, choose_scores, ungrouped
from softtargets.audit.pairing import paired
from softtargets.audit.parquet import open_parquet
from softtargets.audit.predictions import Predictions
from softtargets.audit.tables import open_csv

_ROWS = Layout()
ENDINGS = (".npz", ".npy", ".parquet", ".csv", ".tsv", ".safetensors")


def open_predictions(path: Path, keys: Keys, layout: Layout = _ROWS) -> Predictions:
    """Return the predictions that a file holds, and their labels.

    Args:
        path: an .npz, .npy, .parquet, .csv, .tsv or .safetensors file.
        keys: what the user says about the names in it.
        layout: what the user says about arrays of more than two dimensions.

    Raises:
        AuditError: the file is missing, damaged, of another kind, or does not say what it holds.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise AuditError(f"{path} must end in one of {', '.join(ENDINGS)}")
    _check_file(path)
    try:
        if ending in (".csv", ".tsv", ".parquet"):
            layout.refuse(str(path))
        if ending in (".csv", ".tsv"):
            return open_csv(path, keys)
        if ending == ".parquet":
            return open_parquet(path, keys)
        return _open_arrays(path, keys, layout)
    except OSError as error:
        raise _unreadable(path, error) from error


def _open_arrays(path: Path, keys: Keys, layout: Layout) -> Predictions:
    arrays = _arrays(path)
    names = list(arrays)
    where = str(path)
    names = ungrouped(where, names, keys)
    name, kind = choose_scores(where, names, keys)
    if keys.labels is not None and keys.labels.endswith(".npy"):
        beside = Path(keys.labels)
        _check_file(beside)
        labels = open_npy(beside)
    elif path.suffix.lower() == ".npy":
        raise AuditError(f"{where} holds no labels; name their file with --labels LABELS.npy")
    else:
        labels = arrays[choose_labels(where, names, keys, name)]()
    together = _together(arrays, keys)
    return paired(path, arrays[name](), labels, kind, keys=keys, names=together, layout=layout)


def _together(arrays: dict[str, Callable[[], StoredArray]], keys: Keys) -> StoredArray | None:
    if keys.column is None:
        return None
    if keys.column in arrays:
        return arrays[keys.column]()
    beside = Path(keys.column)
    _check_file(beside)
    return open_npy(beside)


def _arrays(path: Path) -> dict[str, Callable[[], StoredArray]]:
    """The arrays of a file by name, each to be called for."""
    ending = path.suffix.lower()
    if ending == ".npy":
        return {path.stem: partial(open_npy, path)}
    if ending == ".npz":
        return {name: partial(npz_array, path, name, each) for name, each in open_npz(path).items()}
    return {
        name: partial(safetensors_array, path, name, entry)
        for name, entry in open_safetensors(path).items()
    }


def _check_file(path: Path) -> None:
    """Raise unless there is a file with something in it that may be read."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if path.is_dir():
        raise AuditError(f"{path} is a folder; name a file")
    if size == 0:
        raise AuditError(f"{path} is empty")
    try:
        path.open("rb").close()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> AuditError:
    return AuditError(f"cannot read {path} ({reason(error)}); name a file that may be read")
