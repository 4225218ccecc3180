"""Records: what was measured, on which machine, by which command; JSON, written at once."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import softtargets
from softtargets.bench import growth, peers
from softtargets.bench.results import Result
from softtargets.bench.settings import Plan, Settings
from softtargets.lab.errors import LabError
from softtargets.lab.records import write_atomically

FORMAT = 1
# Variables of the environment that change times: threads, how they wait, memory.
TUNING = ("OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "THP_")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return what the numbers depend on: processor, memory, versions, load, the GPU if used."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory GiB": _memory_gib(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "softtargets": softtargets.__version__,
        "revision": revision(),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(TUNING)
        },
        "load": [round(value, 2) for value in os.getloadavg()]
        if hasattr(os, "getloadavg")
        else None,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found["gpu"] = {
            "name": properties.name,
            "memory GiB": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found


def revision() -> str | None:
    """Return the source's git revision, `-dirty` if changed; None outside of a checkout."""
    folder = Path(softtargets.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    listed = ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"]
    try:
        subprocess.run(listed, capture_output=True, check=True, timeout=10)
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def content(plan: Plan, results: Sequence[Result], where: dict[str, Any]) -> dict[str, Any]:
    """Return a run as plain data.

    Args:
        plan: what was run.
        results: what was found.
        where: `machine()`, asked before the run, while its load was still that of others.
    """
    return {
        "format": FORMAT,
        "command": plan.settings.command,
        "machine": where | {"threads": results[0].threads if results else None},
        "peers": peers.versions(),
        "rounds": plan.rounds,
        "results": [_plain(result) for result in results],
        "growth": growth.exponents(results),
    }


def _plain(result: Result) -> dict[str, Any]:
    cases = {}
    for name, measured in result.cases.items():
        errors = None if measured.errors is None else measured.errors._asdict()
        cases[name] = asdict(measured) | {"errors": errors}
    return asdict(result) | {"cases": cases}


def file_name(settings: Settings) -> str:
    """Return the record's name: the suite, and device and dtype where they are not the usual."""
    parts = [settings.suite]
    parts += [settings.device] if settings.device != "cpu" else []
    parts += [settings.dtype] if settings.dtype != "float32" else []
    return "-".join(parts) + ".json"


def as_text(content: object) -> str:
    """Return JSON that a person can read: one value a line, lists of numbers in one."""
    text = json.dumps(content, indent=1)
    return re.sub(
        r"\[\s+([-+.\deE,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text
    )


def write(folder: Path, name: str, content: object) -> Path:
    """Write a record and return its path.

    Args:
        folder: made if it is not there.
        name: of the file.
        content: plain data.

    Raises:
        LabError: it cannot be written.
    """
    prepare(folder)
    path = folder / name
    write_atomically(path, (as_text(content) + "\n").encode())
    return path


def prepare(folder: Path) -> None:
    """Make the folder and see that it can be written, before anything is measured.

    Raises:
        LabError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LabError(
            f"cannot write to {folder} ({error.strerror}); choose another folder with --record"
        ) from error


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
