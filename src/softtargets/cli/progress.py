"""Progress of a comparison: bars on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from softtargets.lab import execution
from softtargets.lab.kinds import AnySpec


@contextmanager
def shown_progress(console: Console) -> Iterator[execution.Progress]:
    """Yield the callbacks that draw a comparison's progress.

    Args:
        console: where to draw.
    """
    if not console.is_terminal:
        yield _plain(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield _drawn(console, bars)


def _drawn(console: Console, bars: Progress) -> execution.Progress:
    """One bar for all runs, and one for each that is being computed."""
    total = bars.add_task("all runs", total=None, visible=False)
    done: dict[str, int] = {}
    current: dict[str, TaskID] = {}

    def planned(specs: list[AnySpec], finished: int) -> None:
        console.print(_plan(specs, finished), highlight=False)
        bars.update(total, visible=bool(specs), total=sum(spec.epochs for spec in specs))

    def advanced(spec: AnySpec, count: int) -> None:
        done[spec.run_id] = count
        bars.update(total, completed=sum(done.values()))

    def epoch(spec: AnySpec, count: int) -> None:
        advanced(spec, count)
        if spec.run_id not in current:
            current[spec.run_id] = bars.add_task(_name(spec), total=spec.epochs)
        bars.update(current[spec.run_id], completed=count)

    def finished(spec: AnySpec, elsewhere: bool) -> None:
        advanced(spec, spec.epochs)
        if spec.run_id in current:
            bars.remove_task(current.pop(spec.run_id))

    return execution.Progress(planned=planned, epoch=epoch, finished=finished, note=_note(console))


def _plain(console: Console) -> execution.Progress:
    def planned(specs: list[AnySpec], finished: int) -> None:
        console.print(_plan(specs, finished), highlight=False)

    def finished(spec: AnySpec, elsewhere: bool) -> None:
        most = "up to " if getattr(spec, "patience", None) else ""
        where = ", by another process" if elsewhere else ""
        console.print(f"{_name(spec)}: {most}{spec.epochs} epochs{where}", highlight=False)

    return execution.Progress(planned=planned, finished=finished, note=_note(console))


def _note(console: Console) -> Callable[[str], None]:
    def note(text: str) -> None:
        console.print(f"Note: {text}", soft_wrap=True, highlight=False)

    return note


def _name(spec: AnySpec) -> str:
    return f"{spec.method}, seed {spec.seed}"


def _plan(specs: list[AnySpec], finished: int) -> str:
    return f"{len(specs)} runs to compute, {finished} already there"
