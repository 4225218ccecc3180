"""`softtargets report`."""

from pathlib import Path


def report(folder: Path, /) -> None:
    """Make tables, figures and page of a comparison again, from its records alone.

    Neither data nor training is needed. Of a comparison that is not finished, the seeds that all
    methods have finished are shown.

    Args:
        folder: as given to `softtargets compare --out`; report.html and summary.json in it are
            written anew.
    """
    from softtargets.cli.outcome import console_of_width, show
    from softtargets.lab.compare import recall
    from softtargets.lab.output import prepare

    comparison = recall(folder)
    prepare(folder, "copy the folder to where files can be written")
    show(comparison, folder, console_of_width())
