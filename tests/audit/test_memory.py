"""A file is read in constant memory: what is kept grows by a few numbers per row."""

import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import resource, sys
from pathlib import Path
from softtargets.audit.files import open_predictions
from softtargets.audit.naming import Keys
from softtargets.audit.run import read
folder = Path(sys.argv[1])


def peak(folder):
    read(open_predictions(folder / "logits.npy", Keys(labels=str(folder / "y.npy"))))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak(folder / "small")
print(peak(folder) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured as Linux reports it")
def test_200_mb_are_read_in_little_memory(tmp_path):
    rows, classes = 200_000, 250
    (tmp_path / "small").mkdir()
    np.save(tmp_path / "y.npy", np.arange(rows) % classes)
    np.save(tmp_path / "small" / "y.npy", np.arange(500) % classes)
    np.save(tmp_path / "small" / "logits.npy", np.zeros((500, classes), np.float32))
    # Zeros that are never written take no place on disk.
    np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float32, (rows, classes)).flush()
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    # 50 MB are the sample's, 10 MB the numbers per row.
    assert float(result.stdout) < 120
