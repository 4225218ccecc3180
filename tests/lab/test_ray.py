"""Studies on Ray: the same records as in one process, also where a worker dies."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import msgspec
import pytest

from softtargets.lab import compare
from softtargets.lab.errors import LabError
from softtargets.lab.execution import Progress, on_ray
from softtargets.lab.execution.pool import Work
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


class Cluster:
    """A Ray of some nodes, (processors, GPUs, alive), that notes what actors ask for."""

    def __init__(self, *nodes):
        self.listed = [
            {"Alive": alive, "Resources": {"memory": 1e9, "CPU": processors, "GPU": gpus}}
            for processors, gpus, alive in nodes
        ]
        for node in self.listed:  # Ray leaves out what a node has none of
            node["Resources"] = {name: each for name, each in node["Resources"].items() if each}
        self.asked, self.closed = {}, 0
        self.ray, self.name, self.folder = self, "the cluster", None

    def nodes(self):
        return self.listed

    def remote(self, **asked):
        self.asked = asked
        return lambda worker: worker

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("nodes", "threads", "gpus", "size", "asked"),
    [
        # Four GPUs, and processors beside them for two workers; those of another node do not help.
        ([(16, 0, True), (8, 4, True), (32, 8, False)], 3, True, 2, (3, 1)),
        ([(16, 1, True), (16, 1, True)], 1, True, 2, (1, 1)),
        ([(1, 1, True)], 4, True, 1, (1, 1)),
        ([(16, 1, True), (32, 8, False)], 1, False, 5, (1, 0)),
        # A worker is on one node, so two places and not three.
        ([(3, 0, True), (3, 2, True)], 2, False, 2, (2, 0)),
        ([(0, 0, True), (2, 0, True)], 4, False, 1, (2, 0)),
    ],
)
def test_actors_ask_for_what_their_runs_need(monkeypatch, nodes, threads, gpus, size, asked):
    cluster = Cluster(*nodes)
    monkeypatch.setattr(on_ray, "RaySession", lambda address: cluster)
    pool = on_ray.RayPool(Work(root=None, data={}, threads=threads, gpus=gpus), None, 5)
    assert pool.size == size
    assert (cluster.asked["num_cpus"], cluster.asked["num_gpus"]) == asked


def test_runs_for_a_gpu_need_a_cluster_that_has_one(tmp_path, monkeypatch):
    cluster = Cluster((16, 0, True), (16, 4, False))
    monkeypatch.setattr(on_ray, "RaySession", lambda address: cluster)
    settings = replace(SETTINGS, training=compare.Training(device="cuda"))
    with pytest.raises(LabError, match="needs a GPU for each worker, and the cluster has none"):
        compare.compare(settings, tmp_path, on="ray")
    assert cluster.closed == 1
    assert not list(tmp_path.glob("runs/*/*"))
