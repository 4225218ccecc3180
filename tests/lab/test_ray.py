"""Studies on Ray: the same records as in one process, also where a worker dies."""

import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec

import msgspec
import pytest

from softtargets.lab import compare
from softtargets.lab.errors import LabError
from softtargets.lab.execution import Progress
from softtargets.lab.records import RunFolder, environment
from softtargets.lab.sealing import seal

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="needs Ray: pip install 'softtargets[ray]'"
)
SETTINGS = compare.Settings(methods=("hard", "ils"), seeds=1, epochs=60)


def sealed(folder):
    """By run, the hash of all that a record holds but for when, where and in what memory."""
    here = environment()
    records = [RunFolder(folder / "runs", path.name).record() for path in folder.glob("runs/*")]
    return {
        record.spec.run_id: seal(
            msgspec.structs.replace(
                record, seconds=0.0, environment=here, peak_memory=msgspec.UNSET
            )
        ).content_sha256
        for record in records
    }


def processes():
    """Identifier, parent and command of every process."""
    listed = subprocess.run(
        ["ps", "-wweo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        pid, parent, state, *command = line.split()
        if not state.startswith("Z"):
            yield int(pid), int(parent), " ".join(command)


def own_workers():
    """Processes of actors of a Ray that this process has started."""
    found = list(processes())
    raylets = {
        pid for pid, parent, command in found if parent == os.getpid() and "raylet" in command
    }
    return [pid for pid, parent, command in found if parent in raylets and "ray::Worker" in command]


@needs_ray
def test_records_are_the_same_and_a_worker_that_dies_is_replaced(tmp_path, monkeypatch):
    from softtargets.lab.execution import on_ray

    monkeypatch.setattr(on_ray, "_KEPT_EVERY", 0.0)
    compare.compare(SETTINGS, tmp_path / "inline")
    notes, killed, begun = [], [], []

    def epoch(spec, count):
        begun.append(count)
        if count >= 2 and not killed:
            killed.extend(own_workers())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    progress = Progress(epoch=epoch, note=notes.append)
    compare.compare(SETTINGS, tmp_path / "ray", progress, on="ray")
    assert killed
    assert notes[0].startswith("workers on a Ray of this machine: ")
    assert "retry 1 of 3" in notes[1]
    assert sealed(tmp_path / "ray") == sealed(tmp_path / "inline")
    assert not list(tmp_path.glob("ray/runs/*/checkpoint.pt"))
    assert own_workers() == []
    assert "RAY_AUTH_TOKEN" not in os.environ


@needs_ray
@pytest.mark.parametrize("listening", [False, True])
def test_an_address_without_ray_is_one_line_within_seconds(
    tmp_path, capsys, monkeypatch, listening
):
    from softtargets.cli.app import run
    from softtargets.lab.execution import ray_session

    monkeypatch.setattr(ray_session, "_ANSWERS_IN", 0.5)
    command = ["compare", "--methods", "hard", "--seeds", "1", "--out", str(tmp_path)]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        address = f"ray://127.0.0.1:{silent.getsockname()[1]}"
        assert run([*command, "--on", address]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"softtargets: no Ray at {address} (")
    assert not list(tmp_path.glob("runs/*/*"))


def test_without_ray_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LabError, match=r"needs Ray; pip install 'softtargets\[ray\]'"):
        compare.compare(SETTINGS, tmp_path, on="ray")
