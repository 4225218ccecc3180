"""A comparison of a task in the terminal: tables, and what they say."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from softtargets.lab.summary import Row
from softtargets.lab.task_compare import TaskComparison
from softtargets.report.cells import Cell, Sheet
from softtargets.report.facts import unfinished
from softtargets.report.notation import PERCENT
from softtargets.report.tables import board_tables
from softtargets.report.tasks.sheets import reference_sheet
from softtargets.report.tasks.view import Extra, board_of, view_of
from softtargets.report.tasks.words import beaten, headline
from softtargets.report.verdict import Board

_WIDEST = 1_000


def task_tables(
    comparison: TaskComparison, rows: Sequence[Row], *, width: int = 100
) -> list[Table]:
    """Return the tables: as trained, after scaling, differences, the task's own, references.

    Args:
        comparison: finished runs.
        rows: their summary.
        width: of the terminal; 80 columns are enough.
    """
    board = board_of(comparison, rows)
    told = board_tables(board, width=width)
    for extra in view_of(comparison).extras(comparison, board):
        told += _fitting(extra, board, width)
    if comparison.references:
        caption = "\n".join(f"{each.title}: {each.summary}" for each in comparison.references)
        sheet = reference_sheet(comparison, board)
        told.append(_table("Without a model", "", sheet, board, caption=caption))
    return told


def conclusion(comparison: TaskComparison, rows: Sequence[Row]) -> list[str]:
    """Return what the numbers say and what must be said beside them, a line each.

    Args:
        comparison: finished runs.
        rows: their summary.
    """
    board, view = board_of(comparison, rows), view_of(comparison)
    lines = [
        beaten(comparison, board),
        *headline(board, view.glance(board)),
        *view.notes(comparison),
        unfinished(comparison),
    ]
    return [line.replace(PERCENT[0], " ") for line in lines if line]


def _fitting(extra: Extra, board: Board, width: int) -> list[Table]:
    """The table, with intervals where there is room; without room the page has it alone."""
    ruler = Console(width=_WIDEST)
    for intervals in (True, False):
        table = _table(extra.heading, extra.first, extra.sheet, board, intervals=intervals)
        if ruler.measure(table).maximum <= width:
            return [table]
    return []


def _table(
    heading: str,
    first: str,
    sheet: Sheet,
    board: Board,
    *,
    caption: str = "",
    intervals: bool = True,
) -> Table:
    table = Table(
        title=heading,
        title_justify="left",
        title_style="bold",
        caption=caption or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(first, no_wrap=True)
    for column in sheet.columns:
        table.add_column(column, justify="right")
    for name, cells in sheet.lines:
        table.add_row(board.title(name), *(_text(cell, intervals) for cell in cells))
    return table


def _text(cell: Cell, intervals: bool) -> Text:
    text = cell.text + (f" ±{cell.half_width}" if cell.half_width and intervals else "")
    return Text(text, style="bold" if cell.best else "")
