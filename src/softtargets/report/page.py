"""The comparison as one HTML page that needs nothing but itself."""

from collections.abc import Mapping
from pathlib import Path

from softtargets.lab.compare import Comparison
from softtargets.lab.methods import METHODS
from softtargets.lab.records import write_atomically
from softtargets.lab.summary import summarise
from softtargets.report import notation
from softtargets.report.advice import advice, cautions
from softtargets.report.cells import denoising_sheet, difference_sheet, glance_sheet, value_sheet
from softtargets.report.conclusion import findings, headline
from softtargets.report.facts import facts, standard_error, unfinished, wrong_labels
from softtargets.report.gallery import STATES, draw_gallery
from softtargets.report.grouping import grouped
from softtargets.report.predictions import Predictions, predictions
from softtargets.report.templates import environment
from softtargets.report.texts import text_examples
from softtargets.report.transitions import estimations
from softtargets.report.untrained import untrained, without_baseline
from softtargets.report.verdict import Board


def render_page(comparison: Comparison) -> str:
    """Return the page. Equal comparisons give equal text.

    Args:
        comparison: finished runs.
    """
    rows = summarise(comparison)
    board = Board(rows, comparison.settings.seeds)
    predicted = {
        scaled: {
            method: predictions(comparison, method, scaled=scaled) for method in comparison.runs
        }
        for scaled in STATES
    }
    confidence = {method: each.confidence for method, each in predicted[False].items()}
    comparable = not without_baseline(comparison)
    sheets = [(state, value_sheet(board, scaled=scaled)) for scaled, state in STATES.items()]
    compared = [
        (state, difference_sheet(board, scaled=scaled))
        for scaled, state in STATES.items()
        if board.baseline is not None and board.others
    ]
    return (
        environment(notation.title)
        .get_template("page.html.jinja")
        .render(
            name=comparison.data.name,
            board=board,
            wrong=wrong_labels(comparison),
            unfinished=unfinished(comparison),
            denoising=denoising_sheet(board) if board.denoised else None,
            estimations=estimations(comparison, rows),
            untrained=untrained(comparison),
            headline=headline(board, confidence) if comparable else [],
            findings=findings(board, confidence) if comparable else [],
            advice=advice(board) if comparable else [],
            cautions=cautions(board, standard_error(comparison, rows)),
            reading=_reading(predicted[False]),
            glance=glance_sheet(board),
            sheets=sheets,
            difference_sheets=compared,
            groups=grouped(comparison.runs),
            gallery=draw_gallery(comparison, board, predicted),
            text_examples=text_examples(comparison),
            summaries={name: METHODS[name].summary for name in comparison.runs},
            facts=facts(comparison, rows),
        )
    )


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the page, all of it or nothing.

    Args:
        comparison: finished runs.
        path: the HTML file.

    Raises:
        LabError: the file cannot be written.
    """
    write_atomically(path, render_page(comparison).encode())


def _reading(predicted: Mapping[str, Predictions]) -> dict[str, str]:
    """The method whose confidence is farthest off, as the example for a reader."""
    method = max(predicted, key=lambda name: abs(predicted[name].confidence.gap.value))
    confidence = predicted[method].confidence
    return {
        "method": notation.title(method),
        "says": notation.percentage(confidence.says.value),
        "right": notation.percentage(confidence.right.value),
        "gap": notation.points(abs(confidence.gap.value)),
        "direction": "below" if confidence.gap.value < 0 else "above",
    }
