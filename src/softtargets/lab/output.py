"""The output folder of a comparison: made and tried before anything is computed."""

import os
from pathlib import Path

from softtargets.lab.errors import LabError

SUMMARY = "summary.json"
PAGE = "report.html"
STUDY = "study.json"
RUNS = "runs"


def prepare(output: Path, otherwise: str = "choose another folder with --out") -> Path:
    """Make the output folder, see that all of it can be written, and return the runs' folder.

    Args:
        output: the folder.
        otherwise: what the user may do where it cannot be written.

    Raises:
        LabError: it cannot be made or written, or a folder has the name of a file to write.
    """
    root = output / RUNS
    try:
        root.mkdir(parents=True, exist_ok=True)
        for folder in (output, root):
            probe = folder / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        taken = [name for name in (SUMMARY, PAGE, STUDY) if (output / name).is_dir()]
    except OSError as error:
        blocking = f", {root} is a file" if isinstance(error, FileExistsError) else ""
        raise LabError(
            f"cannot write to {output} ({error.strerror}{blocking}); {otherwise}"
        ) from error
    if taken:
        raise LabError(
            f"cannot write {output / taken[0]}, it is a folder; move it away, or {otherwise}"
        )
    return root


def made(folder: Path) -> Path:
    """Return a folder, made if it is not there.

    Raises:
        LabError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"cannot make the folder {folder} ({error.strerror}); choose another place"
        ) from error
    return folder
