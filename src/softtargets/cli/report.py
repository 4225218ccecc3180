"""`softtargets report`."""

import os
from pathlib import Path


def report(folder: Path, /) -> None:
    """Make tables, figures and page of a comparison or of claims again, from records alone.

    Neither data nor training is needed. Of a comparison that is not finished, the seeds that all
    methods have finished are shown.

    Args:
        folder: as given to `softtargets compare --out` or `softtargets claims --out`; report.html
            and summary.json in it, or claims.html and pictures, are written anew.
    """
    from softtargets.claims.record import FILE, read
    from softtargets.cli.outcome import console_of_width, show, show_claims, show_task
    from softtargets.lab import compare, task_compare
    from softtargets.lab.output import prepare
    from softtargets.lab.study import studied_kind

    if os.access(folder / FILE, os.F_OK):  # Path.exists raises in a folder that is closed
        show_claims(read(folder / FILE), folder, console_of_width())
        return
    otherwise = "copy the folder to where files can be written"
    if studied_kind(folder) == "classification":
        comparison = compare.recall(folder)
        prepare(folder, otherwise)
        show(comparison, folder, console_of_width())
        return
    of_task = task_compare.recall(folder)
    prepare(folder, otherwise)
    show_task(of_task, folder, console_of_width())
