"""The audit in a terminal: two tables and a few sentences."""

from rich import box
from rich.console import Console
from rich.table import Table

from softtargets.audit.result import Audit, Comparison
from softtargets.report.audit import versus
from softtargets.report.audit.sheets import (
    SINGLE_COLUMNS,
    Shown,
    class_columns,
    class_row,
    number_rows,
    single_rows,
    state_titles,
)
from softtargets.report.audit.words import (
    aggregation_answers,
    basis,
    beyond_interval,
    classes_answer,
    classes_held,
    headline,
    selection_answer,
    summary,
    whole_units,
)
from softtargets.report.notation import PERCENT

_SHOWN_CLASSES = 5
_WIDE = 98  # columns of a terminal that the numbers before and after scaling take side by side


def print_audit(console: Console, audit: Audit) -> None:
    """Print the verdict, the numbers and the worst classes.

    Args:
        console: where to; one without markup, for names of files may hold brackets.
        audit: what was found.
    """
    told = [*summary(audit), classes_answer(audit), selection_answer(audit)]
    console.print()
    _print_told(console, headline(audit), told)
    states = list(range(len(state_titles(audit))))
    # In a narrow terminal one table for each state, rather than intervals on two lines.
    for part in [states] if console.width >= _WIDE else [[state] for state in states]:
        console.print(_number_table(audit, part))
    if audit.aggregation is not None:
        console.print(_single_table(audit))
    console.print(_class_table(audit))
    if audit.note:
        console.print(f"{audit.path.name} is {audit.note}.", style="dim", highlight=False)


def _number_table(audit: Audit, states: list[int]) -> Table:
    caption = f"in brackets: 95 % intervals{whole_units(audit)}"
    if audit.scaling is not None and 1 in states:
        rows = f"{audit.scaling.rows:,} {audit.row}s"
        drawn = " drawn at random" if audit.scaling.rows < audit.num_samples else ""
        how = f"T fitted on {audit.scaling.source}" if audit.scaling.source else "cross-fitted"
        caption += f"; after scaling: {rows}{drawn}, {how}"
    caption += _beneath(beyond_interval(audit, states))
    table = Table(
        title=basis(audit) + classes_held(audit),
        caption=caption,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    for state in states:
        table.add_column(state_titles(audit)[state], justify="right")
        table.add_column("", style="dim")
    for name, cells in number_rows(audit):
        texts = (
            text
            for cell in (cells[state] for state in states)
            for text in (cell.value, f"[{cell.interval}]" if cell.interval else "")
        )
        table.add_row(name, *map(_plain, texts))
    return table


def _beneath(sentence: str) -> str:
    """A further line of a caption, which begins small and ends without a point."""
    return sentence and f"\n{sentence[:1].lower()}{sentence[1:].removesuffix('.')}"


def _single_table(audit: Audit) -> Table:
    table = Table(
        title="What averaging brings",
        caption="in brackets: 95 % intervals for whole groups drawn; averaged minus single",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    for head in SINGLE_COLUMNS:
        table.add_column(head, justify="right")
    for name, (single, averaged, change) in single_rows(audit):
        table.add_row(name, *map(_plain, (_joined(single), averaged.value, _joined(change))))
    return table


def _joined(cell: Shown) -> str:
    return f"{cell.value} [{cell.interval}]" if cell.interval else cell.value


def _class_table(audit: Audit) -> Table:
    table = Table(
        title="Worst classes, where predicted",
        caption="* more than chance allows; intervals for all classes at once",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    table.add_column("class")
    for head in class_columns(audit):
        table.add_column(head, justify="right")
    for row in audit.classes[:_SHOWN_CLASSES]:
        cells = [_joined(cell) for cell in class_row(row)]
        cells[-1] += "*" if row.clear else " "
        table.add_row(str(row.index), *map(_plain, cells))
    return table


def _plain(text: str) -> str:
    return text.replace(PERCENT[0], " ")


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print which of two models is better, and the numbers.

    Args:
        console: where to; one without markup, for names of files may hold brackets.
        comparison: what was found.
    """
    console.print()
    _print_told(console, versus.headline(comparison), versus.summary(comparison))
    for scaled in (False, True) if comparison.scaled is not None else (False,):
        console.print(_difference_table(comparison, scaled=scaled))
    for name, audit in zip(
        versus.names(comparison), (comparison.first, comparison.second), strict=True
    ):
        console.print(f"{name}:", style="bold", highlight=False)
        for text in (headline(audit), *aggregation_answers(audit)[:1]):
            console.print(_plain(text), highlight=False)


def _difference_table(comparison: Comparison, *, scaled: bool) -> Table:
    one, other = versus.names(comparison)
    caption = (
        f"{other} minus {one}, paired by {comparison.first.unit}; 95 % "
        f"intervals{whole_units(comparison.first)}"
    )
    told = versus.debiasing_note(comparison, scaled=scaled)
    table = Table(
        title="After temperature scaling of each" if scaled else "As given",
        caption=f"{caption}{_beneath(told)}",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    for head in (one, other):
        table.add_column(head, justify="right", overflow="fold")
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for line in versus.lines(comparison, scaled=scaled):
        difference = f"{line.difference.value} [{line.difference.interval}]"
        cells = (line.first.value, line.second.value, difference, line.verdict)
        table.add_row(line.name, *map(_plain, cells))
    return table


def _print_told(console: Console, first: str, others: list[str]) -> None:
    console.print(_plain(first), style="bold", highlight=False)
    for text in others:
        bullet = Table.grid(padding=(0, 1))
        bullet.add_row("•", _plain(text))
        console.print(bullet, highlight=False)
    console.print()
