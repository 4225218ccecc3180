"""Workers that are processes of this machine; they end with the one that started them."""

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import msgspec
import torch

from softtargets.lab.execution.events import Advanced, Event, Lost
from softtargets.lab.execution.perform import outcome
from softtargets.lab.execution.pool import AbstractPool, Handle, Key, Work, key_of
from softtargets.lab.kinds import AnySpec, kind_named

_GRACE = 5.0  # seconds for a worker to end when asked to


class ProcessPool(AbstractPool):
    """Processes of this machine, started as they are needed.

    Args:
        work: what to compute on; a worker is sent a data set when it first needs it.
        size: how many.
    """

    def __init__(self, work: Work, size: int) -> None:
        self._work = work
        self._workers: list[_Worker | None] = [None] * size
        self._pickled: dict[Key, bytes] = {}

    @property
    def size(self) -> int:
        return len(self._workers)

    @property
    def description(self) -> str:
        return f"processes: {self.size}, threads of torch in each: {self._work.threads}"

    def submit(self, worker: int, spec: AnySpec) -> None:
        key = key_of(spec)
        if key not in self._pickled:
            # Plain pickle: torch's own would share memory through files of the system.
            self._pickled[key] = pickle.dumps(self._work.data[key], pickle.HIGHEST_PROTOCOL)
        found = self._workers[worker] or _Worker(self._work)
        self._workers[worker] = found
        found.give(spec, key, self._pickled[key])

    def wait(self, handle: Handle, timeout: float | None) -> None:
        busy = {
            each.connection: place
            for place, each in enumerate(self._workers)
            if each is not None and each.busy
        }
        for ready in connection.wait(list(busy), timeout):
            place = busy[ready]  # type: ignore[index]
            worker = self._workers[place]
            assert worker is not None
            event = worker.next_event()
            if isinstance(event, Lost):
                self._workers[place] = None
            handle(place, event)

    def close(self) -> None:
        workers = [each for each in self._workers if each is not None]
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.end()
        self._workers = [None] * self.size


class _Worker:
    """The driver's side of a process."""

    def __init__(self, work: Work) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, work.root, work.threads)
        )
        with _interrupts_blocked():
            self.process.start()
        theirs.close()
        self.busy = False
        self._has: set[Key] = set()

    def give(self, spec: AnySpec, key: Key, pickled: bytes) -> None:
        """Send a run, and the data with it where they are not there."""
        self.busy = True
        message = (spec.kind, msgspec.json.encode(spec), key, None if key in self._has else pickled)
        self._has.add(key)
        # A process that is just starting does not read yet, and the others should not wait for it.
        threading.Thread(target=self._send, args=(message,), daemon=True).start()

    def _send(self, message: tuple[str, bytes, Key, bytes | None]) -> None:
        with suppress(OSError):  # a worker that died is noticed by who waits for it
            self.connection.send(message)

    def next_event(self) -> Event:
        """Return what the process has sent, or that it died."""
        try:
            event: Event = self.connection.recv()
        except (EOFError, OSError):
            self.end()
            return Lost(_cause(self.process.exitcode))
        self.busy = isinstance(event, Advanced)
        return event

    def end(self) -> None:
        """Wait for the end of a process that has been told to end, or died."""
        self.process.join(_GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def _cause(status: int | None) -> str:
    if status is None or status >= 0:
        return f"ended with status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process be started to which Ctrl-C means nothing: who started it will end it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # there is none where signals cannot be blocked

    resource_tracker.ensure_running()  # would let interrupts through again when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(link: Connection, root: Path, threads: int) -> None:
    """Compute what is asked for until the driver ends; runs in the process."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(threads)
    data: dict[Key, Any] = {}
    with suppress(EOFError, ConnectionError):  # the driver is gone
        while True:
            kind, encoded, key, pickled = link.recv()
            if pickled is not None:
                data[key] = pickle.loads(pickled)
            spec = msgspec.json.decode(encoded, type=kind_named(kind).spec)
            link.send(outcome(spec, data[key], root, lambda epochs: link.send(Advanced(epochs))))


def _follow_parent() -> None:
    """End when the driver ends, also if it was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
