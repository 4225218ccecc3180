"""The peak memory of one step, measured in a process of its own.

`python -m softtargets.bench.memory '{"suite": ..., "case": ..., "problem": {...}}'` prints it.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from softtargets.bench.problem import Problem

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MARK = "softtargets memory: "
TIMEOUT = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a step needs at its peak beyond its inputs and what lives between the steps.

    Attributes:
        megabytes: of 10^6 bytes.
        logits: the same as a multiple of the logits' size.
        method: how it was measured.
    """

    megabytes: float
    logits: float
    method: str


class Unmeasured(Exception):
    """It could not be measured; the message says why."""


def measure_memory(suite: str, case: str, problem: Problem, threads: int) -> Memory:
    """Return the peak memory of a case, run in a fresh process.

    Args:
        suite: name of the suite.
        case: name of the case in it.
        problem: what it is run on.
        threads: torch computes with.

    Raises:
        Unmeasured: the process failed, or the platform does not tell.
    """
    task = {"suite": suite, "case": case, "problem": asdict(problem), "threads": threads}
    command = [sys.executable, "-m", "softtargets.bench.memory", json.dumps(task)]
    # With a fixed threshold glibc hands every large piece back to the system when it is freed.
    glibc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment = os.environ | glibc
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unmeasured(f"no answer after {TIMEOUT} s") from error
    found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not found:
        lines = done.stderr.strip().splitlines()
        raise Unmeasured(lines[-1] if lines else f"its process ended with {done.returncode}")
    answer = json.loads(found[-1].removeprefix(MARK))
    return Memory(
        megabytes=round(answer["bytes"] / 1e6, 2),
        logits=round(answer["bytes"] / problem.logits_bytes, 3),
        method=answer["method"],
    )


def extra_bytes(run: Callable[[], None], prepare: Callable[[], None]) -> tuple[int, str]:
    """Return the bytes that `run` needs at its peak beyond what was there, and how that is known.

    Where the high-water mark can be set back (Linux), it is, after a first run that loads what is
    loaded once. Elsewhere the first run is the measured one, and the mark of the whole process is
    compared before and after; what `prepare` and start-up freed hides part of it.
    """
    prepare()
    try:
        _reset_mark()
    except OSError:
        before = _process_mark()
        run()
        return max(0, _process_mark() - before), "ru_maxrss, first run"
    run()
    prepare()
    _trim()
    _reset_mark()
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before), "VmHWM"


def _extra_bytes_cuda(run: Callable[[], None], prepare: Callable[[], None]) -> tuple[int, str]:
    import torch

    prepare()
    run()
    prepare()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated()) - before, "torch.cuda.max_memory_allocated"


def _reset_mark() -> None:
    CLEAR.write_text("5")


def _status(name: str) -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _trim() -> None:
    """Hand freed memory back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _process_mark() -> int:
    try:
        import resource
    except ImportError as error:  # not on Windows
        raise Unmeasured("this system does not tell a process's peak memory") from error
    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return mark if sys.platform == "darwin" else mark * 1024


def _main(text: str) -> None:
    import torch

    from softtargets.bench.problem import make_inputs
    from softtargets.bench.step import Step, make_room
    from softtargets.bench.suites import SUITES

    task = json.loads(text)
    torch.set_num_threads(task["threads"])
    problem = Problem(**task["problem"])
    inputs = make_inputs(problem)
    step = Step(SUITES[task["suite"]].cases[task["case"]].build(inputs), inputs, make_room(inputs))
    measure = extra_bytes if problem.device == "cpu" else _extra_bytes_cuda
    found, method = measure(step.run, step.prepare)
    print(MARK + json.dumps({"bytes": found, "method": method}), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
