"""Workers on a Ray cluster. Files travel: the cluster needs no file system of the driver's.

The driver keeps the folder of the runs and its locks. A worker is sent what a run needs, computes
in a temporary folder of its own, and sends back checkpoints and at last the record's files.
"""

import queue
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import torch

from softtargets import __version__
from softtargets.lab.errors import LabError
from softtargets.lab.execution.events import Advanced, Event, Failed, Finished, Lost
from softtargets.lab.execution.perform import outcome
from softtargets.lab.execution.pool import AbstractPool, Handle, Key, Work, key_of
from softtargets.lab.execution.ray_session import RaySession
from softtargets.lab.kinds import AnySpec, folder_of, kind_named, kind_of
from softtargets.lab.records import FILES, StoredRun, sha256, write_atomically

CHECKPOINT = FILES[0]
RESULT = FILES[1:]

_KEPT_EVERY = 10.0  # seconds between checkpoints that are sent to the driver
_TELLS_WITHIN = 2.0  # seconds after which a worker answers, though there is nothing to tell

Files = dict[str, bytes]


class RayPool(AbstractPool):
    """Actors on a Ray cluster, as many as its machines have processors for.

    Where runs are for a CUDA device, each has a GPU of its own.

    Args:
        work: what to compute on; a data set is put into Ray's store once.
        address: `ray://HOST:PORT`; None for the Ray that this process is connected to, else the
            one that RAY_ADDRESS names, else one of its own on this machine.
        most: how many workers can be of use.

    Raises:
        LabError: Ray is not installed, does not answer at the address, or has no GPU for the runs.
    """

    def __init__(self, work: Work, address: str | None, most: int) -> None:
        self._work = work
        self._session = RaySession(address)
        self._ray = self._session.ray
        nodes = self._nodes()
        if work.gpus and not nodes:
            self._session.close()
            raise LabError(
                f"--device cuda needs a GPU for each worker, and {self._session.name} has none; "
                "start Ray with --num-gpus, or leave --device out to compute on the CPU"
            )
        processors = max(1, min(work.threads, max(count for count, _ in nodes)))
        places = sum(min(count // processors, room) for count, room in nodes)
        self._size = max(1, min(places, most))
        self._actor = self._ray.remote(
            num_cpus=processors, num_gpus=int(work.gpus), max_restarts=0
        )(Worker)
        self._actors: list[Any] = [None] * self._size
        self._told: dict[Any, int] = {}
        self._specs: dict[int, AnySpec] = {}
        self._data: dict[Key, Any] = {}

    def _nodes(self) -> list[tuple[int, int]]:
        """Return processors of each node, and workers it has a GPU for; those that can compute."""
        found = []
        for node in self._ray.nodes():
            processors, gpus = (int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
            if node["Alive"] and (gpus or not self._work.gpus):
                found.append((processors, gpus if self._work.gpus else processors))
        return found

    @property
    def size(self) -> int:
        return self._size

    @property
    def description(self) -> str:
        return (
            f"workers on {self._session.name}: {self._size}, threads of torch in each: "
            f"{self._work.threads}"
        )

    def submit(self, worker: int, spec: AnySpec) -> None:
        self._specs[worker] = spec
        with self._connected():
            self._start(worker, spec, key_of(spec))

    def _start(self, worker: int, spec: AnySpec, key: Key) -> None:
        if key not in self._data:
            self._data[key] = self._ray.put(self._work.data[key])
        actor = self._actors[worker] or self._actor.remote(
            self._work.threads, __version__, self._session.folder
        )
        self._actors[worker] = actor
        files = _sent(self._work.root, spec)
        # A reference within a list is not fetched until the worker asks for it.
        actor.start.remote(spec.kind, msgspec.json.encode(spec), key, [self._data[key]], files)
        self._told[actor.tell.remote()] = worker

    def wait(self, handle: Handle, timeout: float | None) -> None:
        with self._connected():
            ready, _ = self._ray.wait(list(self._told), num_returns=1, timeout=timeout)
        for reference in ready:
            worker = self._told.pop(reference)
            for event, files in self._answer(worker, reference):
                _received(self._work.root, self._specs[worker], files)
                handle(worker, event)

    def _answer(self, worker: int, reference: Any) -> list[tuple[Event, Files]]:
        """Return what a worker told, and ask again unless that is the end of the run."""
        with self._connected():
            try:
                told: list[tuple[Event, Files]] = self._ray.get(reference)
            except self._ray.exceptions.RayActorError as error:
                self._actors[worker] = None
                return [(Lost(_cause(error)), {})]
            if not any(isinstance(event, Finished | Failed) for event, _ in told):
                self._told[self._actors[worker].tell.remote()] = worker
        return told

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Say in one line that the cluster went away."""
        try:
            yield
        except (ConnectionError, self._ray.exceptions.RaySystemError) as error:
            raise LabError(
                f"lost {self._session.name} ({' '.join(str(error).split())}); finished runs and "
                "checkpoints are kept, the same command goes on"
            ) from error

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
        self._data: dict[Key, Any] = {}
        self._events: queue.Queue[tuple[Event, Files]] = queue.Queue()

    def start(
        self, kind: str, encoded: bytes, key: Key, data: list[Any], files: dict[str, Files]
    ) -> None:
        """Begin a run.

        Args:
            kind: of the run.
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
        spec = msgspec.json.decode(encoded, type=kind_named(kind).spec)
        threading.Thread(target=self._run, args=(spec, key, files), daemon=True).start()

    def tell(self) -> list[tuple[Event, Files]]:
        """Return what has happened, with files that the driver is to keep; waits for a while."""
        found = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=_TELLS_WITHIN))
            while True:
                found.append(self._events.get_nowait())
        return found

    def _run(self, spec: AnySpec, key: Key, files: dict[str, Files]) -> None:
        with tempfile.TemporaryDirectory(prefix="softtargets-", dir=self._folder) as name:
            root = Path(name)
            for run_id, each in files.items():
                folder = StoredRun(root, run_id, kind_of(spec).record)
                folder.create()
                for file, content in each.items():
                    (folder.path / file).write_bytes(content)
            own = folder_of(spec, root)
            kept = time.monotonic()

            def advanced(epochs: int) -> None:
                nonlocal kept
                due = time.monotonic() - kept >= _KEPT_EVERY
                if due:
                    kept = time.monotonic()
                self._events.put((Advanced(epochs), _read(own, [CHECKPOINT]) if due else {}))

            end = outcome(spec, self._data[key], root, advanced)
            self._events.put((end, _read(own, RESULT) if isinstance(end, Finished) else {}))


def _sent(root: Path, spec: AnySpec) -> dict[str, Files]:
    """Return the files that a run starts from."""
    own = folder_of(spec, root)
    files = {spec.run_id: _read(own, [CHECKPOINT])}
    if spec.teacher is not None:
        files[spec.teacher] = _read(StoredRun(root, spec.teacher, kind_of(spec).record), RESULT)
    return files


def _read(folder: StoredRun[Any], names: Iterable[str]) -> Files:
    return {
        name: (folder.path / name).read_bytes() for name in names if (folder.path / name).exists()
    }


def _received(root: Path, spec: AnySpec, files: Files) -> None:
    """Keep what a worker has sent: a checkpoint, or the files of a finished run."""
    folder = folder_of(spec, root)
    if CHECKPOINT in files:
        write_atomically(folder.path / CHECKPOINT, files[CHECKPOINT])
    if RESULT[-1] not in files:
        return
    record = msgspec.json.decode(files[RESULT[-1]], type=kind_of(spec).record)
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
