"""Studies in several processes: none lost, none doubled, the same numbers, nobody left behind."""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import msgspec
import pytest

from softtargets.cli.app import run
from softtargets.lab import classification, compare, data
from softtargets.lab.errors import LabError
from softtargets.lab.execution import Progress, compute, locks, perform
from softtargets.lab.execution.place import Place
from softtargets.lab.execution.pool import InlinePool
from softtargets.lab.records import RunFolder
from tests.lab.files import numbers

SMALL = compare.Settings(methods=("hard", "ils"), seeds=2, epochs=6)
SCRIPT = """
import sys
from pathlib import Path
from softtargets.lab import compare, execution

compare.use_threads(1)
progress = execution.Progress(finished=lambda spec, elsewhere: print(spec.run_id, elsewhere))
settings = compare.Settings(methods=("hard", "ils"), seeds=2, epochs=6)
compare.compare(settings, Path(sys.argv[1]), progress, on=sys.argv[2])
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The numbers of one undisturbed process."""
    compare.use_threads(1)
    folder = tmp_path_factory.mktemp("reference")
    compare.compare(SMALL, folder)
    return numbers(folder)


def started(*command):
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What was started in the background ignores Ctrl-C, and so would its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def locked_runs(folder):
    return {path.parent.name for path in folder.glob("runs/*/.lock")}


def alive_in_session(leader):
    """Processes of the session that a process was started in, but not itself."""
    listed = subprocess.run(
        ["ps", "-s", str(leader), "-o", "pid=,stat="], capture_output=True, text=True, check=False
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid) for pid, state in rows if not state.startswith("Z")} - {leader}


def test_processes_compute_what_one_computes(reference, tmp_path):
    told = []
    progress = Progress(
        finished=lambda spec, elsewhere: told.append((spec.run_id, elsewhere)), note=told.append
    )
    compare.compare(SMALL, tmp_path, progress, on="processes:2")
    note, *runs = told
    assert note == "processes: 2, threads of torch in each: 1"
    assert sorted(runs) == [(name, False) for name in sorted(reference)]
    assert numbers(tmp_path) == reference
    assert multiprocessing.active_children() == []


def test_two_processes_share_a_study_and_compute_each_run_once(reference, tmp_path):
    both = [started("-c", SCRIPT, str(tmp_path), "inline") for _ in range(2)]
    printed = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert numbers(tmp_path) == reference
    computed = [
        line.removesuffix(" False")
        for out, _ in printed
        for line in out.splitlines()
        if line.endswith(" False")
    ]
    assert sorted(computed) == sorted(reference)


def test_runs_of_a_killed_process_are_taken_over(reference, tmp_path):
    first = started("-c", SCRIPT, str(tmp_path), "processes:2")
    wait_until(lambda: list(tmp_path.glob("runs/*/checkpoint.pt")), first)
    assert len(alive_in_session(first.pid)) >= 2
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    deadline = time.monotonic() + 20
    while alive_in_session(first.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive_in_session(first.pid) == set()
    assert locked_runs(tmp_path)  # which a dead process does not hold
    checkpoints = {path.parent for path in tmp_path.glob("runs/*/checkpoint.pt")}
    begun = {}
    progress = Progress(epoch=lambda spec, count: begun.setdefault(spec.run_id, count))
    unfinished = {path.name for path in checkpoints if not (path / "record.json").exists()}
    compare.compare(SMALL, tmp_path, progress)
    assert all(begun[name] > 0 for name in unfinished)
    assert numbers(tmp_path) == reference


def test_ctrl_c_leaves_no_process_and_no_lock(tmp_path):
    command = ["-m", "softtargets", "compare", "--methods", "hard", "--epochs", "300"]
    process = started(*command, "--on", "processes:1", "--out", str(tmp_path))
    wait_until(lambda: list(tmp_path.glob("runs/*/checkpoint.pt")), process)
    assert alive_in_session(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers as well
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("softtargets: interrupted")
    assert error.count("\n") == 1
    assert alive_in_session(process.pid) == set()
    assert locked_runs(tmp_path) == set()


def killing(times, notes):
    """Progress under which the worker is killed at an epoch, so many times."""
    killed = []

    def epoch(spec, count):
        if count >= 3 and len(killed) < times:
            [worker] = multiprocessing.active_children()
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()

    return Progress(epoch=epoch, note=notes.append)


def test_a_worker_that_dies_is_replaced_and_its_run_goes_on(reference, tmp_path):
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=6)
    notes = []
    compare.compare(settings, tmp_path, killing(1, notes), on="processes:1")
    [name] = [path.name for path in (tmp_path / "runs").iterdir()]
    assert numbers(tmp_path)[name] == reference[name]
    retried = [note for note in notes if f"the worker of {name} was killed by SIGKILL" in note]
    assert [note[-12:] for note in retried] == ["retry 1 of 3"]


def test_a_run_whose_worker_always_dies_is_named(tmp_path, monkeypatch):
    from softtargets.lab.execution import schedule

    monkeypatch.setattr(schedule, "RETRIES", 0)
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=100)
    with pytest.raises(LabError, match=r"^hard-seed0-\w+ cannot be computed: its worker died 1 t"):
        compare.compare(settings, tmp_path, killing(9, []), on="processes:1")
    assert multiprocessing.active_children() == []
    assert len(list(tmp_path.glob("runs/*/checkpoint.pt"))) == 1
    assert locked_runs(tmp_path) == set()


def test_errors_of_workers_are_those_of_the_run(tmp_path):
    [spec] = compare.plan(compare.Settings(methods=("hard",), seeds=1, epochs=1), load())
    diverging = msgspec.structs.replace(spec, learning_rate=1e30)
    messages = set()
    for on in ("inline", "processes:1"):
        with pytest.raises(LabError, match="diverged after 0 of 1 epochs") as error:
            compute([diverging], [load()], tmp_path / on[:6], on=on)
        messages.add(str(error.value))
    assert len(messages) == 1


def test_a_defect_in_a_worker_is_shown_with_its_trace(tmp_path, monkeypatch):
    def broken(*arguments):
        return {}["gone"]

    class Pool(InlinePool):
        def wait(self, handle, timeout):
            spec = self._specs.pop()
            handle(0, perform.outcome(spec, load(), tmp_path, lambda epochs: None))

    monkeypatch.setattr(classification, "run", broken)
    monkeypatch.setattr(Place, "pool", lambda self, work, most: Pool(work))
    with pytest.raises(
        RuntimeError, match=r"(?s)hard-seed0-\w+ failed in a worker:\nTraceback.*gone"
    ):
        compute(compare.plan(SMALL, load()), [load()], tmp_path)


def load():
    return data.load("digits")


def test_no_runs_need_no_data(tmp_path):
    assert compute([], ["digits"], tmp_path) == {}


def test_what_a_study_lacks_is_named(tmp_path):
    hard, ils = compare.plan(compare.Settings(methods=("hard", "ils"), seeds=1, epochs=1), load())
    with pytest.raises(LabError, match=rf"the teacher of {ils.run_id}, {hard.run_id}, is neither"):
        compute([ils], [load()], tmp_path)
    with pytest.raises(LabError, match=rf"{hard.run_id} is of data with the hash {hard.data_hash}"):
        compute([hard], [], tmp_path)
    compute([hard], ["digits"], tmp_path)
    assert list(compute([ils], ["digits"], tmp_path)) == [ils.run_id]


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("threads", "unknown --on threads: choose inline, processes:N, ray, or ray://HOST:PORT"),
        ("processes", "unknown --on processes"),
        ("processes:0", r"processes:N takes 1 to 1024, got 0"),
        ("ray://", "unknown --on ray://"),
        ("ray://host:port", "unknown --on ray://host:port"),
    ],
)
def test_an_unknown_place(tmp_path, on, message):
    with pytest.raises(LabError, match=message):
        compare.compare(SMALL, tmp_path / "out", on=on)
    assert not (tmp_path / "out").exists()


def test_a_run_has_one_lock(tmp_path):
    folder = RunFolder(tmp_path, "run")
    lock = locks.take(folder)
    assert locks.take(folder) is None
    locks.sweep(folder)
    assert locked_runs_of(folder) == [".lock"]
    lock.release()
    assert locked_runs_of(folder) == []
    again = locks.take(folder)
    shutil.rmtree(folder.path)
    other = locks.take(folder)
    assert other is not None  # somebody has deleted the run to compute it anew
    other.release()
    again.release()
    (folder.path / ".lock").touch()  # what a killed process leaves
    locks.sweep(folder)
    assert locked_runs_of(folder) == []


def locked_runs_of(folder):
    return [path.name for path in folder.path.iterdir()]


def test_a_lock_that_went_while_it_was_waited_for_is_not_taken(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path, "run")
    first = locks.take(folder)
    is_locked, released = locks._locked, []

    def released_in_between(descriptor):
        if not released:
            released.append(first.release())
        return is_locked(descriptor)

    monkeypatch.setattr(locks, "_locked", released_in_between)
    second = locks.take(folder)
    assert os.path.samestat((folder.path / ".lock").stat(), os.fstat(second._descriptor))
    assert locks.take(folder) is None
    second.release()


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, capsys):
    quick = ["compare", "--seeds", "1", "--epochs", "2", "--out", str(tmp_path), "--methods"]
    assert run([*quick, "hard"]) == 0
    before = numbers(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    # A write that the system cuts short, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limit[1]))
    try:
        assert run([*quick, "hard,ols"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "checkpoint.pt (File too large); choose another folder" in error
    [failed] = tmp_path.glob("runs/ols*")
    assert not list(failed.iterdir())
    failed.rmdir()
    assert numbers(tmp_path) == before
