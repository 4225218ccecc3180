"""What these commands have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softtargets.cli.parameters import words


def compare_task(
    kind: str,
    *,
    data: str,
    methods: Sequence[str],
    seeds: int,
    epochs: int,
    options: Mapping[str, Any],
    out: Path,
    on: str,
    threads: int,
) -> None:
    """Compute a comparison, print its tables and write its files.

    Args:
        kind: of the runs.
        data: as given.
        methods: as given; "all" for all.
        seeds: as given.
        epochs: as given.
        options: further fields of the kind's specs.
        out: folder for the runs and the report.
        on: where to compute.
        threads: of each run.
    """
    from softtargets.cli.outcome import console_of_width, show_task
    from softtargets.cli.progress import shown_progress
    from softtargets.lab.compare import use_threads
    from softtargets.lab.task_compare import TaskSettings, compare
    from softtargets.lab.task_kind import task_kind

    names = tuple(name.lower() for name in words(methods))
    settings = TaskSettings(
        kind=kind,
        data=data,
        methods=tuple(task_kind(kind).methods) if names == ("all",) else names,
        seeds=seeds,
        epochs=epochs,
        options=dict(options),
    )
    use_threads(threads)
    console = console_of_width()
    with shown_progress(console) as progress:
        comparison = compare(settings, out, progress, on=on)
    show_task(comparison, out, console)
