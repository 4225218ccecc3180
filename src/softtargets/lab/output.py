"""The output folder of a comparison: made, tried and locked before anything is computed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softtargets.lab.errors import LabError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

SUMMARY = "summary.json"
PAGE = "report.html"


def prepare(output: Path) -> Path:
    """Make the output folder, see that all of it can be written, and return the runs' folder.

    Raises:
        LabError: it cannot be made or written, or a folder has the name of a file to write.
    """
    root = output / "runs"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for folder in (output, root):
            probe = folder / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        taken = [name for name in (SUMMARY, PAGE) if (output / name).is_dir()]
    except OSError as error:
        raise LabError(
            f"cannot write to {output} ({error.strerror}); choose another folder with --out"
        ) from error
    if taken:
        raise LabError(
            f"cannot write {output / taken[0]}, it is a folder; move it away, or choose another "
            "folder with --out"
        )
    return root


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Be the only process that computes in the folder; its end, by whatever cause, unlocks it.

    Raises:
        LabError: another process holds the lock.
    """
    if fcntl is None:
        yield
        return
    path = output / ".lock"
    try:
        file = path.open("a")
    except OSError as error:
        raise LabError(
            f"cannot write {path} ({error.strerror}); choose another folder with --out"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabError(
                f"another comparison is running in {output}; wait for it, or choose another "
                "folder with --out"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
