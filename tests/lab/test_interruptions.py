"""Killed at the worst moments, out of disk: nothing lost, nothing doubled, the same numbers."""

import errno
import os
import signal
import warnings
from functools import partial

import pytest
import torch

from softtargets import calibration
from softtargets.cli.app import run as command
from softtargets.lab import compare, epoch, networks, records
from softtargets.lab.errors import LabError
from softtargets.lab.records import RunFolder
from softtargets.lab.train import check_checkpoint
from tests.lab.small_runs import computed, numbers, planned

# Everything that a checkpoint has to hold, on a network that draws by itself.
OPTIONS = {
    "augment": "shift",
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "average": 0.9,
    "patience": 3,
    "clip": 1.0,
    "accumulate": 2,
}


def build(name, shape, num_classes, seed, hidden, words):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(64, 32),
            torch.nn.BatchNorm1d(32),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(32, num_classes),
        )


@pytest.fixture(autouse=True, scope="module")
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "build", build)
        # Intervals are of no interest here, and would take most of the time.
        patch.setattr(calibration, "evaluate", partial(calibration.evaluate, bootstrap=2))
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder, _ = computed(tmp_path_factory.mktemp("whole"), OPTIONS, method="ols")
    return numbers(folder)


def at_call(number, call, action):
    """The function, but before that call of it (from 0) something happens."""
    calls = iter(range(10**6))

    def changed(*arguments, **named):
        if next(calls) == number:
            action()
        return call(*arguments, **named)

    return changed


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killed(folder, target, name, number):
    """Compute in a process of its own that is killed at that call of the target's function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are no threads to be lost
        child = os.fork()
    if child == 0:
        setattr(target, name, at_call(number, getattr(target, name), die))
        computed(folder, OPTIONS, method="ols")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("target", "name", "number", "left"),
    [
        (epoch, "learning_rate", 8, []),
        (epoch, "learning_rate", 15 + 8, ["checkpoint.pt"]),
        (epoch, "end_epoch", 1, ["checkpoint.pt"]),
        (os, "fsync", 0, [".checkpoint.pt"]),
        (os, "fsync", 2, [".checkpoint.pt", "checkpoint.pt"]),
        (os, "fsync", 3, [".arrays.npz", "checkpoint.pt"]),
        (os, "fsync", 4, [".model.pt", "arrays.npz", "checkpoint.pt"]),
        (os, "fsync", 5, [".record.json", "arrays.npz", "checkpoint.pt", "model.pt"]),
    ],
)
def test_a_run_killed_at_any_moment_goes_on_to_the_same_numbers(
    target, name, number, left, uninterrupted, tmp_path
):
    torn = tmp_path / "torn"
    assert killed(torn, target, name, number)
    found = sorted(each.name for each in torn.glob("*/*"))
    # A temporary file has the number of its process at the end.
    assert [each.rpartition(".")[0] if each[0] == "." else each for each in found] == left
    digits, spec = planned(OPTIONS, method="ols")
    folder = RunFolder(torn, spec.run_id)
    check_checkpoint(spec, digits, folder)
    folder.sweep()
    folder, _ = computed(torn, OPTIONS, method="ols")
    assert numbers(folder) == uninterrupted


SETTINGS = compare.Settings(methods=("hard", "ls"), seeds=1, epochs=2)


def all_numbers(output):
    paths = sorted(output.glob("runs/*"))
    return [numbers(RunFolder(path.parent, path.name)) for path in paths]


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roomy")
    compare.compare(SETTINGS, folder)
    return all_numbers(folder)


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6, 10])
def test_a_full_disk_loses_nothing(number, roomy, tmp_path, monkeypatch):
    """The study is written first, then two checkpoints, arrays, weights, record, twice."""
    with monkeypatch.context() as patch:
        patch.setattr(records.os, "fsync", at_call(number, os.fsync, full))
        with pytest.raises(LabError, match=r"cannot write .* \(No space left on device\)"):
            compare.compare(SETTINGS, tmp_path)
    found = sorted(each.name for each in tmp_path.rglob("*") if each.is_file())
    assert not [name for name in found if name.startswith(".") and "lock" not in name]
    before = {each: each.read_bytes() for each in tmp_path.rglob("record.json")}
    assert len(before) == (number >= 6)
    planned = []
    progress = compare.Progress(planned=lambda specs, done: planned.append((len(specs), done)))
    compare.compare(SETTINGS, tmp_path, progress)
    assert planned == [(2 - len(before), len(before))]
    assert all(each.read_bytes() == content for each, content in before.items())
    assert all_numbers(tmp_path) == roomy


def test_a_full_disk_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records.os, "fsync", at_call(1, os.fsync, full))
    assert command(["compare", "--methods", "hard", "--epochs", "2", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("softtargets: cannot write ")
    assert error.count("\n") == 1


def test_a_checkpoint_of_another_run_or_version_is_named(tmp_path):
    digits, spec = planned(OPTIONS, method="ols")
    folder, other = RunFolder(tmp_path, spec.run_id), planned(OPTIONS | {"clip": 2.0})[1]

    def stop(count):
        if count == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        computed(tmp_path, OPTIONS, method="ols", on_epoch=stop)
    saved = folder.checkpoint()
    for change in ({"run": other.run_id}, {"format": 0}, {"averaged": None}):
        folder.save_checkpoint(saved | change)
        with pytest.raises(LabError, match=r"checkpoint\.pt is of another kind of run or version"):
            check_checkpoint(spec, digits, folder)
    folder.save_checkpoint(saved)
    check_checkpoint(spec, digits, folder)
