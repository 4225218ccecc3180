"""Claims as one HTML page that needs nothing but itself."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from softtargets.claims.record import ClaimsRecord
from softtargets.lab.records import write_atomically
from softtargets.report import palette
from softtargets.report.claims import words
from softtargets.report.claims.figures import claim_figure
from softtargets.report.svg import inline


def render_page(record: ClaimsRecord) -> str:
    """Return the page. Equal records give equal text.

    Args:
        record: of claims.
    """
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([folder, folder.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("claims.html.jinja").render(
        record=record,
        words=words,
        pictures={
            claim.name: inline(
                claim_figure(claim), claim.name.replace(".", "-"), f"Effects of {claim.name}"
            )
            for claim in record.claims
            if claim.skipped is None
        },
        light=palette.variables(dark=False),
        dark=palette.variables(dark=True),
    )


def write_page(record: ClaimsRecord, path: Path) -> None:
    """Write the page, all of it or nothing.

    Raises:
        LabError: the file cannot be written.
    """
    write_atomically(path, render_page(record).encode())
