"""One builder at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "building.lock"
MARK = "building.mark"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one builder, in this process or another; let go when either ends.

    A lock of the operating system goes with the process, however it ends. Where there is none,
    a file stands for it, which a killed process leaves behind.

    Raises:
        RuntimeError: someone else builds there.
    """
    if fcntl is not None:
        with (folder / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RuntimeError(_taken(folder)) from error
            except OSError:
                pass  # A file system without locks.
            else:
                yield
                return
    mark = folder / MARK
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError as error:
        left = f"; if nobody is, a killed process left {mark} behind: delete it"
        raise RuntimeError(_taken(folder) + left) from error
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _taken(folder: Path) -> str:
    return (
        f"`path` must be built by one process at a time, another is building in {folder}; in "
        "distributed training call `TeacherCache.build` on rank 0 alone, wait for it "
        "(`torch.distributed.barrier()`), then open it everywhere with `TeacherCache(path, ...)`"
    )
