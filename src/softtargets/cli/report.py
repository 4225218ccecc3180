"""`softtargets report`."""

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
    from softtargets.cli.outcome import console_of_width, show, show_claims
    from softtargets.lab.compare import recall
    from softtargets.lab.output import prepare

    if (folder / FILE).exists():
        show_claims(read(folder / FILE), folder, console_of_width())
        return
    comparison = recall(folder)
    prepare(folder, "copy the folder to where files can be written")
    show(comparison, folder, console_of_width())
