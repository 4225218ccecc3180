"""The audit of one file as an HTML page that needs nothing but itself."""

from markupsafe import Markup

from softtargets.audit.result import Audit
from softtargets.report.audit.figures import (
    class_gap_panel,
    class_reliability_panel,
    reliability_panel,
    selection_panel,
)
from softtargets.report.audit.html import facts, render, svg
from softtargets.report.audit.sheets import (
    SINGLE_COLUMNS,
    class_columns,
    class_row,
    number_rows,
    single_rows,
    state_titles,
)
from softtargets.report.audit.words import (
    basis,
    beyond_interval,
    classes_held,
    findings,
    headline,
    summary,
    whole_units,
)
from softtargets.report.plots import MOST_CLASSES

_MOST_LISTED = 200  # classes in the table


def render_page(audit: Audit) -> str:
    """Return the page.

    Args:
        audit: what was found.
    """
    return render(
        "page.html.jinja",
        title=f"Audit of {audit.title}",
        audit=audit,
        headline=headline(audit),
        summary=summary(audit),
        basis=basis(audit) + classes_held(audit),
        whole_units=whole_units(audit),
        findings=findings(audit),
        states=state_titles(audit),
        rows=number_rows(audit),
        beyond=beyond_interval(audit),
        single_columns=SINGLE_COLUMNS,
        singles=single_rows(audit),
        class_columns=class_columns(audit),
        classes=[(row, class_row(row)) for row in audit.classes[:_MOST_LISTED]],
        reliability=_reliability(audit),
        selection=[
            svg(
                selection_panel({"": audit.risk_coverage}),
                "risk-coverage",
                "Errors among the predictions kept, by the share kept",
            )
        ],
        gaps=_class_figures(audit),
        facts=facts([audit]),
    )


def _reliability(audit: Audit) -> list[Markup]:
    curves = [audit.curve] if audit.scaling is None else [audit.curve, audit.scaling.curve]
    return [
        svg(
            reliability_panel(curve, state),
            f"reliability-{place}",
            f"Reliability diagram {state}: {headline(audit)}",
        )
        for place, (curve, state) in enumerate(zip(curves, state_titles(audit), strict=True))
    ]


def _class_figures(audit: Audit) -> list[Markup]:
    gaps = svg(
        class_gap_panel(audit.classes),
        "class-gaps",
        "Confidence minus precision of the worst classes, with intervals",
    )
    if audit.num_classes <= MOST_CLASSES:
        return [gaps]
    scatter = svg(
        class_reliability_panel(audit.classes),
        "class-scatter",
        "Share that is right against mean confidence, one mark per class",
    )
    return [gaps, scatter]
