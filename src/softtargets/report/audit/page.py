"""The audit as one HTML page that needs nothing but itself."""

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
from softtargets.report.audit.figures import (
    MOST_CLASSES,
    class_gaps,
    class_scatter,
    reliability_diagram,
    risk_coverage_plot,
)
from softtargets.report.audit.sheets import CLASS_COLUMNS, class_row, number_rows, state_titles
from softtargets.report.audit.words import findings, headline, summary
from softtargets.report.notation import counted, decimal, percentage
from softtargets.report.svg import inline

_FOLDER = Path(__file__).parent
_MOST_LISTED = 200


def render_page(audit: Audit) -> str:
    """Return the page. Equal audits give equal text.

    Args:
        audit: what was found.
    """
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            audit=audit,
            headline=headline(audit),
            summary=summary(audit),
            findings=findings(audit),
            states=state_titles(audit),
            rows=number_rows(audit),
            class_columns=CLASS_COLUMNS,
            classes=[(row, class_row(row)) for row in audit.classes[:_MOST_LISTED]],
            figures=_figures(audit),
            facts=_facts(audit),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([_FOLDER, _FOLDER.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        counted=counted,
        light=palette.variables(dark=False),
        dark=palette.variables(dark=True),
    )
    return environment


def _figures(audit: Audit) -> dict[str, list[Markup]]:
    states = state_titles(audit)
    reliability = [reliability_diagram(audit.curve, states[0])]
    if audit.scaling is not None:
        reliability.append(reliability_diagram(audit.scaling.curve, states[1]))
    told = (
        f"mean confidence {percentage(audit.measures.confidence.value)}, accuracy "
        f"{percentage(audit.measures.accuracy.value)}"
    )
    accuracies = [audit.measures.accuracy.value]
    return {
        "reliability": [
            _svg(figure, f"reliability-{place}", f"Reliability diagram {states[place]}: {told}")
            for place, figure in enumerate(reliability)
        ],
        "selection": [
            _svg(
                risk_coverage_plot({"": audit.risk_coverage}, accuracies),
                "risk-coverage",
                "Errors among the predictions kept, by the share kept",
            )
        ],
        "classes": _class_figures(audit),
    }


def _class_figures(audit: Audit) -> list[Markup]:
    gaps = _svg(
        class_gaps(audit.classes),
        "class-gaps",
        "Confidence minus precision of the worst classes, with intervals",
    )
    if audit.num_classes <= MOST_CLASSES:
        return [gaps]
    scatter = _svg(
        class_scatter(audit.classes),
        "class-scatter",
        "Share that is right against mean confidence, one mark per class",
    )
    return [gaps, scatter]


def _svg(figure: Figure, name: str, label: str) -> Markup:
    # The text of a figure was escaped when it was written as XML, the label by `inline`.
    return Markup(inline(figure, name, label))


def _facts(audit: Audit) -> list[tuple[str, str]]:
    """What was read, and how it was measured."""
    kinds = {"logits": "logits, turned into probabilities by softmax", "probs": "probabilities"}
    lines: list[tuple[str, Any]] = [
        ("File", place(audit.path, audit.key) + (f" ({audit.note})" if audit.note else "")),
        ("Holds", f"{audit.num_samples:,} rows of {audit.num_classes:,} {kinds[audit.kind]}"),
        ("Bins", f"{BINS} of equal width, by the probability of the predicted class"),
        ("Temperature", _temperature(audit)),
        ("Made by", f"softtargets {softtargets.__version__}"),
    ]
    return lines


def _temperature(audit: Audit) -> str:
    scaling = audit.scaling
    if scaling is None:
        return f"not tried: {audit.not_scaled}"
    rows = f"{scaling.rows:,} rows"
    if scaling.rows < audit.num_samples:
        rows += " drawn at random (seeded)"
    if scaling.source:
        return (
            f"T = {decimal(scaling.temperature, 4)}, fitted on {scaling.source}, judged on {rows}"
        )
    return (
        f"T = {decimal(scaling.temperature, 4)}, fitted on {rows}; the numbers after scaling come "
        "from fitting on each half and judging on the other"
    )
