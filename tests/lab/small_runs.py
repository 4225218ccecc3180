"""One small run of given options, and what it recorded."""

import json
from functools import partial

import pytest

from softtargets import calibration
from softtargets.lab import compare, data
from softtargets.lab.options import Training
from softtargets.lab.records import RunFolder
from softtargets.lab.train import run


def planned(options, *, method="ls", epochs=3):
    """The data set and the spec of a run."""
    digits = data.load("digits")
    settings = compare.Settings(
        methods=(method,), seeds=1, epochs=epochs, training=Training(**options)
    )
    return digits, compare.plan(settings, digits)[-1]


def computed(folder, options, *, method="ls", epochs=3, teacher=None, on_epoch=lambda epoch: None):
    """The folder and the record of a run; its intervals are of no interest and left coarse."""
    compare.use_threads(1)
    digits, spec = planned(options, method=method, epochs=epochs)
    found = RunFolder(folder, spec.run_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "evaluate", partial(calibration.evaluate, bootstrap=2))
        run(spec, digits, found, teacher, on_epoch)
    return found, found.record()


def numbers(folder):
    """What a run recorded, but for time and memory."""
    record = json.loads((folder.path / "record.json").read_text())
    for own in ("seconds", "peak_memory", "arrays_sha256", "content_sha256"):
        del record[own]
    arrays = {name: array.tobytes() for name, array in folder.arrays().items()}
    return record, arrays, sorted(each.name for each in folder.path.iterdir())
