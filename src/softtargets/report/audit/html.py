"""What the pages of audits have in common."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

import softtargets
from softtargets.audit.predictions import place
from softtargets.audit.result import Audit
from softtargets.audit.tally import BINS
from softtargets.report import palette
from softtargets.report.audit.words import basis
from softtargets.report.notation import decimal
from softtargets.report.svg import inline

_FOLDER = Path(__file__).parent
_KINDS = {"logits": "logits, turned into probabilities by softmax", "probs": "probabilities"}


def render(template: str, **content: Any) -> str:
    """Return a page; equal content gives equal text.

    Args:
        template: name of the file.
        content: what the template asks for.
    """
    environment = Environment(
        loader=FileSystemLoader([_FOLDER, _FOLDER.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        light=palette.variables(dark=False),
        dark=palette.variables(dark=True),
    )
    return environment.get_template(template).render(**content)


def svg(figure: Figure, name: str, label: str) -> Markup:
    """Return a figure for a page.

    Args:
        figure: what to show.
        name: unique on the page.
        label: what a reader hears who cannot see it.
    """
    # The text of a figure was escaped when it was written as XML, the label by `inline`.
    return Markup(inline(figure, name, label))


def facts(audits: list[Audit]) -> list[tuple[str, str]]:
    """Return what was read, and how it was measured."""
    lines = []
    for audit in audits:
        lines += [
            ("File", place(audit.path, audit.key) + (f" ({audit.note})" if audit.note else "")),
            ("Holds", f"{_rows(audit):,} rows of {audit.num_classes:,} {_KINDS[audit.kind]}"),
            *_groups(audit),
            ("Temperature", _temperature(audit)),
        ]
    return [
        *lines,
        ("Bins", f"{BINS} of equal width, by the probability of the predicted class"),
        ("Made by", f"softtargets {softtargets.__version__}"),
    ]


def _rows(audit: Audit) -> int:
    return audit.num_samples if audit.aggregation is None else audit.aggregation.num_predictions


def _groups(audit: Audit) -> list[tuple[str, str]]:
    if audit.aggregation is None:
        return []
    averaged = "logits" if audit.kind == "logits" else "logarithms of probabilities"
    return [("Groups", f"{basis(audit)}; their {averaged} are averaged")]


def _temperature(audit: Audit) -> str:
    scaling = audit.scaling
    if scaling is None:
        return f"not tried: {audit.not_scaled}"
    value, rows = f"T = {decimal(scaling.temperature, 4)}", f"{scaling.rows:,} {audit.row}s"
    if scaling.rows < audit.num_samples:
        rows += " drawn at random (seeded)"
    if scaling.source:
        return f"{value}, fitted on {scaling.source}, judged on {rows}"
    return (
        f"{value}, fitted on {rows}; the numbers after scaling come from fitting on each half and "
        "judging on the other"
    )
