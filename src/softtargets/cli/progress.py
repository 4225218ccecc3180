"""Progress of a comparison: bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from softtargets.lab import compare as lab
from softtargets.lab.spec import RunSpec


@contextmanager
def shown_progress(console: Console, settings: lab.Settings) -> Iterator[lab.Progress]:
    """Yield the callbacks that draw a comparison's progress.

    Args:
        console: where to draw.
        settings: what is compared.
    """
    if not console.is_terminal:
        yield _plain(console, settings)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        total = bars.add_task("all runs", total=None, unit="epochs", visible=False)
        current = bars.add_task("", total=settings.epochs, unit="epochs", visible=False)
        done: dict[str, int] = {}

        def planned(specs: list[RunSpec], finished: int) -> None:
            console.print(_plan(specs, finished), highlight=False)
            bars.update(total, visible=bool(specs), total=sum(spec.epochs for spec in specs))

        def epoch(spec: RunSpec, count: int) -> None:
            done[spec.run_id] = count
            bars.update(total, completed=sum(done.values()))
            name = f"{spec.method}, seed {spec.seed}"
            bars.update(current, description=name, completed=count, visible=True)

        def note(text: str) -> None:
            console.print(f"Note: {text}", soft_wrap=True, highlight=False)

        yield lab.Progress(planned=planned, epoch=epoch, note=note)


def _plan(specs: list[RunSpec], finished: int) -> str:
    return f"{len(specs)} runs to compute, {finished} already there"


def _plain(console: Console, settings: lab.Settings) -> lab.Progress:
    def planned(specs: list[RunSpec], finished: int) -> None:
        console.print(_plan(specs, finished), highlight=False)

    def epoch(spec: RunSpec, count: int) -> None:
        if count == settings.epochs:
            console.print(f"{spec.method}, seed {spec.seed}: {count} epochs", highlight=False)

    def note(text: str) -> None:
        console.print(f"Note: {text}", soft_wrap=True, highlight=False)

    return lab.Progress(planned=planned, epoch=epoch, note=note)
