"""Figures of matplotlib as SVG that can stand in one page with others, in its fonts and colours."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from softtargets.report.palette import INK, MUTED, RULE, variables

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "softtargets",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "image.composite_image": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "patch.linewidth": 0.8,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 7.5,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 7.5,
}
WITHOUT_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the report; also a decorator."""
    with mpl.rc_context(STYLE):
        yield


def standalone(figure: Figure) -> str:
    """Return the figure as an SVG document."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=WITHOUT_METADATA)
    return buffer.getvalue().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def inline(figure: Figure, name: str, label: str) -> str:
    """Return the figure as an `<svg>` element.

    Args:
        figure: what to write.
        name: unique on the page; every id begins with it.
        label: what a reader hears who cannot see the figure.
    """
    text = standalone(figure)
    text = text[text.index("<svg") :]
    text = _private_ids(text, name)
    text = _shortened(text)
    for variable, colour in variables(dark=False).items():
        text = text.replace(colour, f"var(--{variable})")
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    head = f'<svg role="img" aria-label="{escape(label)}" {box[0]}>'
    return re.sub(r"<svg[^>]*>", lambda match: head, text, count=1)


def _private_ids(text: str, name: str) -> str:
    """Drop the ids nothing refers to, and put the name before the others."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r' id="([^"]*)"',
        lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "",
        text,
    )
    return re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{name}-", text).replace("xlink:href", "href")


def _shortened(text: str) -> str:
    """Leave out what cannot be seen, and what would reach out of the figure: style and fonts."""
    text = re.sub(r"<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;?| transform=\"rotate\(-0 [^\"]*\"", "", text)
    text = re.sub(
        r' (?:d|x|y|width|height)="[^"]*"',
        lambda match: re.sub(r"(\d\.\d\d)\d+", r"\1", match[0]),
        text,
    )
    return re.sub(r"\s*\n\s*", " ", text).replace("> <", "><")
