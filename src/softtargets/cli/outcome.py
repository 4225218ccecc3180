"""What a comparison or claims have shown: in the terminal, as files and as page."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from softtargets.claims.record import ClaimsRecord
    from softtargets.lab.compare import Comparison
    from softtargets.lab.task_compare import TaskComparison


def console_of_width(*, stderr: bool = False) -> "Console":
    """Return a console that is wide enough for the tables where it is no terminal.

    Args:
        stderr: print to standard error.
    """
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = 100
    return console


def show(comparison: "Comparison", out: Path, console: "Console") -> None:
    """Print tables and conclusion, and write summary and page.

    Args:
        comparison: finished runs.
        out: folder for the files.
        console: to print on.

    Raises:
        LabError: a file cannot be written.
    """
    from softtargets.lab.output import PAGE, SUMMARY
    from softtargets.lab.summary import summarise, write_summary
    from softtargets.report.conclusion import terminal_conclusion
    from softtargets.report.facts import text_note, unfinished
    from softtargets.report.page import write_page
    from softtargets.report.tables import comparison_tables
    from softtargets.report.transitions import estimation_lines

    rows = summarise(comparison)
    write_summary(comparison, rows, out / SUMMARY)
    width = max(console.width, 80)
    tables = comparison_tables(rows, seeds=comparison.settings.seeds, width=width)
    told = [terminal_conclusion(comparison, rows), *estimation_lines(comparison, rows)]
    _print(console, tables, [*told, text_note(comparison), unfinished(comparison)])
    write_page(comparison, out / PAGE)
    _name_page(console, out / PAGE)


def show_task(comparison: "TaskComparison", out: Path, console: "Console") -> None:
    """Print tables and conclusion of a task, and write summary and page.

    Args:
        comparison: finished runs.
        out: folder for the files.
        console: to print on.

    Raises:
        LabError: a file cannot be written.
    """
    from softtargets.lab.output import PAGE, SUMMARY
    from softtargets.lab.task_summary import summarise, write_summary
    from softtargets.report.tasks.page import write_page
    from softtargets.report.tasks.terminal import conclusion, task_tables

    rows = summarise(comparison)
    write_summary(comparison, rows, out / SUMMARY)
    tables = task_tables(comparison, rows, width=max(console.width, 80))
    _print(console, tables, conclusion(comparison, rows))
    write_page(comparison, out / PAGE)
    _name_page(console, out / PAGE)


def show_claims(
    record: "ClaimsRecord", out: Path, console: "Console", *, tables: bool = True
) -> None:
    """Print the verdicts, and write the page and the pictures.

    Args:
        record: of claims.
        out: folder for the files.
        console: to print on.
        tables: print the verdicts, not only where the page is.

    Raises:
        LabError: a file cannot be written.
    """
    from softtargets.report.claims import words
    from softtargets.report.claims.figures import write_figures
    from softtargets.report.claims.page import write_page
    from softtargets.report.claims.terminal import verdict_table

    write_figures(record, out / "pictures")
    page = out / "claims.html"
    write_page(record, page)
    if tables:
        console.print(verdict_table(record))
        console.print(f"{words.tally(record)}. {words.basis(record)}", highlight=False)
    _name_page(console, page)


def _print(console: "Console", tables: Iterable["Table"], texts: Iterable[str]) -> None:
    """Print tables, and the texts that say something."""
    for table in tables:
        console.print(table)
    for text in filter(None, texts):
        console.print(text, highlight=False, markup=False)


def _name_page(console: "Console", page: Path) -> None:
    console.print(f"Report: {page.resolve()}", soft_wrap=True, highlight=False)
