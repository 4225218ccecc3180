"""What the files of a comparison say, as values to compare."""

import hashlib
import json
from pathlib import Path

import numpy as np


def numbers(folder: Path) -> dict[str, object]:
    """Everything a comparison recorded, but for the time it took."""
    found = {}
    for path in sorted((folder / "runs").iterdir()):
        record = json.loads((path / "record.json").read_text())
        for own in ("seconds", "peak_memory", "content_sha256"):
            del record[own]
        with np.load(path / "arrays.npz") as arrays:
            digests = {name: hashlib.sha256(arrays[name]).hexdigest() for name in arrays.files}
        found[path.name] = (record, digests, sorted(each.name for each in path.iterdir()))
    return found
