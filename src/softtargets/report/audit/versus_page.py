"""Two audits of the same samples as one HTML page."""

from softtargets.audit.result import Comparison
from softtargets.report.audit import words
from softtargets.report.audit.figures import (
    FIRST,
    SECOND,
    reliability_panel,
    selection_panel,
)
from softtargets.report.audit.html import facts, render, svg
from softtargets.report.audit.versus import headline, lines, names, summary


def render_comparison(comparison: Comparison) -> str:
    """Return the page.

    Args:
        comparison: what was found.
    """
    audits, called = [comparison.first, comparison.second], names(comparison)
    tables = [("as given", lines(comparison, scaled=False))]
    if comparison.scaled is not None:
        tables.append(("after temperature scaling of each", lines(comparison, scaled=True)))
    both = list(zip(called, audits, (FIRST, SECOND), strict=True))
    return render(
        "versus.html.jinja",
        title=f"{called[1]} against {called[0]}",
        audits=audits,
        basis=words.basis(audits[0]),
        called=called,
        headline=headline(comparison),
        summary=summary(comparison),
        tables=tables,
        each=[
            (
                name,
                words.headline(audit),
                [*words.aggregation_answers(audit), *words.scaling_answers(audit)],
            )
            for name, audit, _ in both
        ],
        reliability=[
            svg(
                reliability_panel(audit.curve, name, style),
                f"reliability-{place}",
                f"Reliability diagram of {name}: {words.headline(audit)}",
            )
            for place, (name, audit, style) in enumerate(both)
        ],
        selection=[
            svg(
                selection_panel({name: audit.risk_coverage for name, audit, _ in both}),
                "risk-coverage",
                "Errors among the predictions kept, by the share kept",
            )
        ],
        facts=facts(audits),
    )
