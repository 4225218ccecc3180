"""What the templates of all pages of comparisons have in common."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from softtargets.report import notation, palette
from softtargets.report.plots import FEW_PREDICTIONS


def environment(title: Callable[[str], str]) -> Environment:
    """Return the environment that pages are rendered in.

    Args:
        title: of a method, by its name.
    """
    folder = Path(__file__).parent
    found = Environment(
        loader=FileSystemLoader([folder / "tasks", folder]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(
        title=title,
        listed=notation.listed,
        percentage=notation.percentage,
        counted=notation.counted,
        colour=palette.colour_name,
        dashes=palette.dashes,
        few_predictions=FEW_PREDICTIONS,
        light=palette.variables(dark=False),
        dark=palette.variables(dark=True),
    )
    return found
