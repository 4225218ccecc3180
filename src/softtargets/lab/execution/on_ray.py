"""Workers on a Ray cluster. Files travel: the cluster needs no file system of the driver's.

The driver keeps the folder of the runs and its locks. A worker is sent what a run needs, computes
in a temporary folder of its own, and sends back checkpoints and at last the record's files.
"""

import os
import queue
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import torch

from softtargets import __version__
from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.execution.events import Advanced, Event, Failed, Finished, Lost
from softtargets.lab.execution.perform import outcome
from softtargets.lab.execution.pool import AbstractPool, Handle, Key, Work, key_of
from softtargets.lab.records import FILES, RunFolder, RunRecord, sha256, write_atomically
from softtargets.lab.spec import RunSpec

CHECKPOINT = FILES[0]
RESULT = FILES[1:]

_ANSWERS_IN = 5.0  # seconds for a cluster's address to take a connection
_CONNECTS_IN = 10.0  # and for Ray to answer there; a cluster with a place does within 3
_KEPT_EVERY = 10.0  # seconds between checkpoints that are sent to the driver
_TELLS_WITHIN = 2.0  # seconds after which a worker answers, though there is nothing to tell

Files = dict[str, bytes]


class RayPool(AbstractPool):
    """Actors on a Ray cluster, as many as it has processors for.

    Args:
        work: what to compute on; a data set is put into Ray's store once.
        address: `ray://HOST:PORT`; None for the Ray that this process is connected to, else the
            one that RAY_ADDRESS names, else one of its own on this machine.
        most: how many workers can be of use.

    Raises:
        LabError: Ray is not installed, or does not answer at the address.
    """

    def __init__(self, work: Work, address: str | None, most: int) -> None:
        self._work = work
        self._session = _Session(address)
        self._ray = self._session.ray
        processors = int(self._ray.cluster_resources().get("CPU", 0))
        self._size = max(1, min(processors // work.threads, most))
        self._actor = self._ray.remote(
            num_cpus=min(work.threads, max(processors, 1)), max_restarts=0
        )(Worker)
        self._actors: list[Any] = [None] * self._size
        self._told: dict[Any, int] = {}
        self._specs: dict[int, RunSpec] = {}
        self._data: dict[Key, Any] = {}

    @property
    def size(self) -> int:
        return self._size

    @property
    def description(self) -> str:
        return (
            f"workers on {self._session.name}: {self._size}, threads of torch in each: "
            f"{self._work.threads}"
        )

    def submit(self, worker: int, spec: RunSpec) -> None:
        key = key_of(spec)
        if key not in self._data:
            self._data[key] = self._ray.put(self._work.data[key])
        actor = self._actors[worker] or self._actor.remote(
            self._work.threads, __version__, self._session.folder
        )
        self._actors[worker] = actor
        self._specs[worker] = spec
        files = _sent(self._work.root, spec)
        # A reference within a list is not fetched until the worker asks for it.
        actor.start.remote(msgspec.json.encode(spec), key, [self._data[key]], files)
        self._told[actor.tell.remote()] = worker

    def wait(self, handle: Handle, timeout: float | None) -> None:
        ready, _ = self._ray.wait(list(self._told), num_returns=1, timeout=timeout)
        for reference in ready:
            worker = self._told.pop(reference)
            try:
                told = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._actors[worker] = None
                handle(worker, Lost(_cause(error)))
                continue
            if not any(isinstance(event, Finished | Failed) for event, _ in told):
                self._told[self._actors[worker].tell.remote()] = worker
            for event, files in told:
                _received(self._work.root, self._specs[worker], files)
                handle(worker, event)

    def close(self) -> None:
        for actor in filter(None, self._actors):
            with suppress(Exception):
                self._ray.kill(actor)
        self._actors = [None] * self._size
        self._session.close()


class Worker:
    """What Ray runs: computes one run at a time, in a thread, and tells how it goes.

    Args:
        threads: with which torch computes.
        version: of the driver's softtargets.
        folder: for temporary files; None for the machine's own.
    """

    def __init__(self, threads: int, version: str, folder: str | None) -> None:
        torch.set_num_threads(threads)
        self._version = version
        self._folder = folder
        self._data: dict[Key, DataSet] = {}
        self._events: queue.Queue[tuple[Event, Files]] = queue.Queue()

    def start(self, encoded: bytes, key: Key, data: list[Any], files: dict[str, Files]) -> None:
        """Begin a run.

        Args:
            encoded: its spec, as JSON.
            key: of its data set.
            data: a reference to it.
            files: by run id: its checkpoint, if there is one, and its teacher's.
        """
        import ray

        if self._version != __version__:
            text = f"softtargets {__version__} on the cluster, {self._version} here: install one"
            self._events.put((Failed(text, None), {}))
            return
        if key not in self._data:
            self._data[key] = ray.get(data[0])
        spec = msgspec.json.decode(encoded, type=RunSpec)
        threading.Thread(target=self._run, args=(spec, key, files), daemon=True).start()

    def tell(self) -> list[tuple[Event, Files]]:
        """Return what has happened, with files that the driver is to keep; waits for a while."""
        found = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=_TELLS_WITHIN))
            while True:
                found.append(self._events.get_nowait())
        return found

    def _run(self, spec: RunSpec, key: Key, files: dict[str, Files]) -> None:
        with tempfile.TemporaryDirectory(prefix="softtargets-", dir=self._folder) as name:
            root = Path(name)
            for run_id, each in files.items():
                folder = RunFolder(root, run_id)
                folder.create()
                for file, content in each.items():
                    (folder.path / file).write_bytes(content)
            own = RunFolder(root, spec.run_id)
            kept = time.monotonic()

            def advanced(epochs: int) -> None:
                nonlocal kept
                due = time.monotonic() - kept >= _KEPT_EVERY
                if due:
                    kept = time.monotonic()
                self._events.put((Advanced(epochs), _read(own, [CHECKPOINT]) if due else {}))

            end = outcome(spec, self._data[key], root, advanced)
            self._events.put((end, _read(own, RESULT) if isinstance(end, Finished) else {}))


class _Session:
    """A connection to a Ray: one that is there, one at an address, or one of our own."""

    def __init__(self, address: str | None) -> None:
        # Read when Ray is imported; what a user has set stays.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self.ray = _imported()
        self._files: tempfile.TemporaryDirectory[str] | None = None
        self._ours = not self.ray.is_initialized()
        address = address or os.environ.get("RAY_ADDRESS") or None
        if not self._ours:
            self.name = "the Ray that this process is connected to"
        elif address is None:
            self.name = "a Ray of this machine"
            self._start()
        else:
            self.name = address
            self._connect(address)

    @property
    def folder(self) -> str | None:
        """Where workers put their files; goes with a Ray of our own."""
        return None if self._files is None else self._files.name

    def _start(self) -> None:
        """Start Ray on this machine, with files and a password that are nobody else's."""
        own = "RAY_AUTH_MODE" not in os.environ and "RAY_AUTH_TOKEN" not in os.environ
        if own:
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self._files = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        try:
            self.ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=self._files.name,
            )
        finally:
            if own:
                del os.environ["RAY_AUTH_TOKEN"]

    def _connect(self, address: str) -> None:
        """Connect, or say within seconds that there is nobody."""
        _check_address(address)
        failures: queue.Queue[Exception | None] = queue.Queue()

        def connect() -> None:
            try:
                self.ray.init(address=address, log_to_driver=False, logging_level="ERROR")
                failures.put(None)
            except Exception as error:
                failures.put(error)

        # Ray tries again for much longer than anybody waits.
        threading.Thread(target=connect, daemon=True).start()
        try:
            failure = failures.get(timeout=_CONNECTS_IN)
        except queue.Empty:
            raise _unreachable(address, f"no answer in {_CONNECTS_IN:.0f} s") from None
        if failure is not None:
            raise _unreachable(address, " ".join(str(failure).split())) from failure

    def close(self) -> None:
        if self._ours:
            self.ray.shutdown()
        if self._files is not None:
            self._files.cleanup()


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise LabError("--on ray needs Ray; pip install 'softtargets[ray]'") from error
    module: ModuleType = ray
    return module


def _check_address(address: str) -> None:
    """Raise unless something takes connections there; "auto" and the like are left to Ray."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _unreachable(address, str(error)) from error
    if host is None or port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_ANSWERS_IN).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error
    if os.environ.get("RAY_USE_TLS", "0") == "0" and not _speaks_grpc(f"{host}:{port}"):
        raise _unreachable(address, "something else answers there")


def _speaks_grpc(address: str) -> bool:
    """Whether Ray's protocol is spoken there; what cannot be asked in plain text is believed."""
    try:
        import grpc
    except ImportError:  # Ray has its own for addresses other than ray://
        return True
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_ANSWERS_IN)
        except grpc.FutureTimeoutError:
            return False
    return True


def _unreachable(address: str, why: str) -> LabError:
    return LabError(
        f"no Ray at {address} ({why}); start one with `ray start --head`, or compute without: "
        "--on processes:N"
    )


def _sent(root: Path, spec: RunSpec) -> dict[str, Files]:
    """Return the files that a run starts from."""
    own = RunFolder(root, spec.run_id)
    files = {spec.run_id: _read(own, [CHECKPOINT])}
    if spec.teacher is not None:
        files[spec.teacher] = _read(RunFolder(root, spec.teacher), RESULT)
    return files


def _read(folder: RunFolder, names: Iterable[str]) -> Files:
    return {
        name: (folder.path / name).read_bytes() for name in names if (folder.path / name).exists()
    }


def _received(root: Path, spec: RunSpec, files: Files) -> None:
    """Keep what a worker has sent: a checkpoint, or the files of a finished run."""
    folder = RunFolder(root, spec.run_id)
    if CHECKPOINT in files:
        write_atomically(folder.path / CHECKPOINT, files[CHECKPOINT])
    if RESULT[-1] not in files:
        return
    record = msgspec.json.decode(files[RESULT[-1]], type=RunRecord)
    hashes = [sha256(files[name]) for name in RESULT[:-1]]
    if hashes != [record.arrays_sha256, record.model_sha256] or record.spec != spec:
        raise LabError(
            f"{spec.run_id} arrived damaged from Ray; the same command computes it again"
        )
    for name in RESULT:
        write_atomically(folder.path / name, files[name])
    folder.discard_checkpoint()


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"was lost ({lines[0] if lines else type(error).__name__})"
