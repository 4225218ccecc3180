"""The comparison of a task as one HTML page that needs nothing but itself."""

from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from softtargets.lab.records import write_atomically
from softtargets.lab.task_compare import TaskComparison
from softtargets.lab.task_summary import summarise
from softtargets.report import notation
from softtargets.report.cells import difference_sheet, glance_sheet, value_sheet
from softtargets.report.facts import unfinished
from softtargets.report.figures import curves, difference_plot, reliability_diagram
from softtargets.report.gallery import STATES
from softtargets.report.grouping import Group
from softtargets.report.predictions import pooled
from softtargets.report.svg import inline
from softtargets.report.tasks import words
from softtargets.report.tasks.sheets import reference_sheet
from softtargets.report.tasks.view import AbstractTaskView, board_of, view_of
from softtargets.report.templates import environment
from softtargets.report.verdict import Board


def render_page(comparison: TaskComparison) -> str:
    """Return the page. Equal comparisons give equal text.

    Args:
        comparison: finished runs.
    """
    rows = summarise(comparison)
    board, view = board_of(comparison, rows), view_of(comparison)
    comparable = board.baseline is not None and bool(board.others)
    glance = view.glance(board)
    return (
        environment(board.title)
        .get_template(view.template)
        .render(
            name=comparison.data.name,
            board=board,
            view=view,
            other=board.title(board.reference),
            warning=words.beaten(comparison, board),
            headline=words.headline(board, glance),
            unfinished=unfinished(comparison),
            cautions=words.cautions(comparison, board, view),
            glance=glance_sheet(board, glance),
            references=comparison.references,
            reference_sheet=reference_sheet(comparison, board),
            sheets=[(state, value_sheet(board, scaled=scaled)) for scaled, state in STATES.items()],
            difference_sheets=[
                (state, difference_sheet(board, scaled=scaled))
                for scaled, state in STATES.items()
                if comparable
            ],
            differences=_differences(board) if comparable else [],
            extras=view.extras(comparison, board),
            reliability=_reliability(comparison, board, view),
            curves=_curves(comparison, board, view),
            examples=view.examples(comparison, board),
            tested=comparison.data.test,
            directions=words.directions(board, glance),
            unscaled=words.unscaled(board),
            summaries={name: comparison.kind.methods[name].summary for name in comparison.runs},
            facts=words.facts(comparison, view),
        )
    )


def write_page(comparison: TaskComparison, path: Path) -> None:
    """Write the page, all of it or nothing.

    Args:
        comparison: finished runs.
        path: the HTML file.

    Raises:
        LabError: the file cannot be written.
    """
    write_atomically(path, render_page(comparison).encode())


def _differences(board: Board) -> list[Markup]:
    drawn = []
    for metric in board.metrics:
        told = ", ".join(
            f"{board.title(row.method)} {notation.change(metric, row.plain_difference[metric.key])}"
            for row in board.others
        )
        label = f"Differences to {board.title(board.reference)} in {metric.title}: {told}"
        drawn.append(_svg(difference_plot(board, metric), f"difference-{metric.key}", label))
    return drawn


def _reliability(
    comparison: TaskComparison, board: Board, view: AbstractTaskView
) -> list[tuple[str, list[Markup]]]:
    found: dict[str, list[Markup]] = {state: [] for state in STATES.values()}
    for place, method in enumerate(comparison.runs):
        runs = comparison.arrays(method)
        for scaled, state in STATES.items():
            each = pooled([view.bins(arrays, scaled=scaled) for arrays in runs])
            says = notation.percentage(each.confidence.says.value)
            right = notation.percentage(each.confidence.right.value)
            label = (
                f"Reliability diagram of {board.title(method)} {state}: it says {says} on average, "
                f"{right} are right"
            )
            figure = reliability_diagram(each, method, board.title(method))
            found[state].append(_svg(figure, f"reliability-{place}-{int(scaled)}", label))
    return list(found.items())


def _curves(
    comparison: TaskComparison, board: Board, view: AbstractTaskView
) -> list[tuple[Group, list[Markup]]]:
    return [
        (group, [_curve(comparison, board, view, key, group, place) for key in view.curves])
        for place, group in enumerate(view.groups(comparison.runs))
    ]


def _curve(
    comparison: TaskComparison,
    board: Board,
    view: AbstractTaskView,
    key: str,
    group: Group,
    place: int,
) -> Markup:
    heading, scale = view.curves[key]
    names = notation.listed([board.title(method) for method in group.methods])
    found = {
        method: scale
        * np.array([[row[key] for row in record.history] for record in comparison.records(method)])
        for method in group.methods
    }
    return _svg(curves(heading, found), f"{key}-{place}", f"{heading} by epoch of {names}")


def _svg(figure: Figure, name: str, label: str) -> Markup:
    # The text of a figure was escaped when it was written as XML, the label by `inline`.
    return Markup(inline(figure, name.replace("_", "-"), label))
