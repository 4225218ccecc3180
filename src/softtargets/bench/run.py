"""Running a plan: gate, time, memory; one result for each problem."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from softtargets.bench.case import Case, Unavailable
from softtargets.bench.gate import Errors, GateError, check_case
from softtargets.bench.measure import interleaved, ratios, spread
from softtargets.bench.memory import Memory, Unmeasured, measure_memory
from softtargets.bench.problem import Problem, free_bytes, make_inputs
from softtargets.bench.results import Measured, Result
from softtargets.bench.settings import Plan
from softtargets.bench.step import Step, make_room
from softtargets.bench.suites import FLOOR, REFERENCE

# A loss with its gradient reads the logits twice and writes once; a copy reads and writes once.
LEAST_COPIES = 1.5
# What a process that measures memory is taken to need, in logits.
LOGITS_PER_PROCESS = 8

Progress = Callable[[str], None]


@dataclass(slots=True)
class _Timed:
    """Seconds by round, errors at the gate, and why other cases have neither; all by name."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, Errors | None] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run(plan: Plan, progress: Progress = lambda _: None) -> Iterator[Result]:
    """Yield the results of one problem after another.

    Args:
        plan: what to run.
        progress: told, in a line, what is going on.
    """
    if plan.settings.threads is not None:
        torch.set_num_threads(plan.settings.threads)
    for problem in plan.problems:
        timed = _time(plan, problem, progress)
        memory: dict[str, Memory | str] = {}
        if plan.settings.memory:
            progress(f"{problem.title}: memory, in processes of their own")
            memory = _memory(plan.settings.suite, list(timed.seconds), problem)
        yield Result(
            problem=problem,
            threads=torch.get_num_threads(),
            cases={
                name: _measured(plan.cases[name], name, timed, memory.get(name))
                for name in timed.seconds
            },
            skipped=timed.skipped,
            failed=timed.failed,
            unmeasured={name: why for name, why in memory.items() if isinstance(why, str)},
        )


def _time(plan: Plan, problem: Problem, progress: Progress) -> _Timed:
    torch.compiler.reset()
    timed = _Timed()
    inputs = make_inputs(problem)
    room = make_room(inputs)
    steps: dict[str, Step] = {}
    for name, case in plan.cases.items():
        progress(f"{problem.title}: gate of {name}")
        try:
            timed.errors[name] = check_case(case, inputs)
            step = Step(case.build(inputs), inputs, room)
            _try_once(step)
            steps[name] = step
        except Unavailable as reason:
            timed.skipped[name] = str(reason)
        except GateError as reason:
            timed.failed[name] = str(reason)
    progress(f"{problem.title}: {plan.rounds} rounds of {len(steps)} cases")
    timed.seconds = interleaved(steps, plan.rounds, problem.device)
    return timed


def _try_once(step: Step) -> None:
    step.prepare()
    try:
        step.run()
    except RuntimeError as error:
        raise GateError(f"it fails in full size: {str(error).splitlines()[0]}") from error


def _measured(case: Case, name: str, timed: _Timed, memory: Memory | str | None) -> Measured:
    seconds, reference = timed.seconds[name], timed.seconds.get(REFERENCE)
    floor = timed.seconds.get(FLOOR)
    to_copy = None if floor is None else spread(ratios(seconds, floor))
    is_loss = timed.errors[name] is not None
    return Measured(
        title=case.title,
        milliseconds=spread([x * 1000 for x in seconds]),
        to_torch=None if reference is None else spread(ratios(seconds, reference)),
        to_copy=to_copy,
        bandwidth=round(LEAST_COPIES / to_copy.median, 3) if to_copy and is_loss else None,
        memory=memory if isinstance(memory, Memory) else None,
        errors=timed.errors[name],
        rounds=[float(f"{x * 1000:.4g}") for x in seconds],
    )


def _memory(suite: str, names: list[str], problem: Problem) -> dict[str, Memory | str]:
    """The memory of each case, or why it is not known; several processes where there is room."""
    workers = 1
    if problem.device == "cpu":
        free = free_bytes("cpu") or 0
        room = free // (LOGITS_PER_PROCESS * problem.logits_bytes + (1 << 30))
        workers = max(1, min(os.cpu_count() or 1, room))

    def measure(name: str) -> Memory | str:
        try:
            return measure_memory(suite, name, problem, torch.get_num_threads())
        except Unmeasured as reason:
            return str(reason)

    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(names, pool.map(measure, names), strict=True))
