"""One process at a time computes a run; its end, by whatever cause, lets the next one in."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from softtargets.lab.errors import LabError
from softtargets.lab.records import StoredRun

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


class RunLock:
    """The right to compute a run; made by `take`.

    Args:
        path: of the locked file.
        descriptor: of that file; its end unlocks it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it. The file goes before the lock does, so `take` looks twice."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._descriptor)


def take(folder: StoredRun[Any]) -> RunLock | None:
    """Return the lock of a run, or None if somebody has it.

    Where the file system or the platform has no locks, two processes may compute the same run;
    both then write the same record, all of it at once.

    Args:
        folder: of the run; made if it is not there.

    Raises:
        LabError: the lock's file cannot be written.
    """
    path = folder.path / LOCK
    while True:
        folder.create()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the folder has just been removed
        except OSError as error:
            raise LabError(
                f"cannot write {path} ({error.strerror}); choose another folder with --out"
            ) from error
        if not _locked(descriptor):
            os.close(descriptor)
            return None
        if _is_at(path, descriptor):
            return RunLock(path, descriptor)
        os.close(descriptor)


def sweep(folder: StoredRun[Any]) -> None:
    """Remove the lock's file that a killed process left in the folder of a finished run."""
    if (folder.path / LOCK).exists():
        lock = take(folder)
        if lock is not None:
            lock.release()


def _locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one of that name, and not one that was released."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
