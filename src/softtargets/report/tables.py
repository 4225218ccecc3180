"""The comparison as tables: three for a terminal of 100 columns, and one in Markdown."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from softtargets.lab.summary import METRICS, Metric, Row
from softtargets.report.notation import decimal, mean_and_half_width, title
from softtargets.report.verdict import (
    Board,
    Verdict,
    compared_metrics,
    differences,
    judge,
    values,
)

_TIGHT = " ±"
_MARKS = {Verdict.BETTER: "✓", Verdict.WORSE: "✗"}
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red"}


def comparison_tables(rows: Sequence[Row], *, seeds: int) -> list[Table]:
    """Return the tables for the terminal, each at most 100 columns wide.

    Args:
        rows: as `summarise` returns them.
        seeds: number of seeds behind each mean.

    Returns:
        As trained; after temperature scaling; and, where hard labels were run beside other
        methods, the paired differences to them.
    """
    board = Board(list(rows), seeds)
    tables = [_values_table(board, scaled=False), _values_table(board, scaled=True)]
    if board.baseline is not None and board.smoothed:
        tables.append(_difference_table(board))
    return tables


def as_markdown(rows: Sequence[Row], *, scaled: bool = False) -> str:
    """Return one of the value tables in Markdown; the best value of a column is bold.

    Args:
        rows: as `summarise` returns them.
        scaled: after temperature scaling instead of as trained.
    """
    board = Board(list(rows), seeds=0)
    lines = [
        "| method | " + " | ".join(metric.title for metric in METRICS) + " |",
        "|---|" + "---:|" * len(METRICS),
    ]
    best = {metric.key: board.leaders(metric, scaled=scaled) for metric in METRICS}
    for row in rows:
        cells = [
            f"**{text}**" if row.method in best[metric.key] else text
            for metric in METRICS
            for text in [mean_and_half_width(metric, values(row, scaled=scaled)[metric.key])]
        ]
        lines.append(f"| {title(row.method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _table(heading: str, caption: str, metrics: Sequence[Metric]) -> Table:
    table = Table(
        title=heading,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    table.add_column("method", no_wrap=True)
    for metric in metrics:
        # The column's last place is kept for a mark.
        table.add_column(_head(metric), justify="right", vertical="bottom")
    return table


def _head(metric: Metric) -> str:
    words = metric.title.split()
    if len(words) > 2 or "debiased" in words:
        words = [words[0], " ".join(words[1:])] if words[0] != "ECE" else ["debiased", "ECE %"]
    else:
        words = [" ".join(words)]
    return "\n".join(f"{word} " for word in words)


def _values_table(board: Board, *, scaled: bool) -> Table:
    metrics = compared_metrics(scaled=scaled)
    heading = "After temperature scaling" if scaled else "As trained"
    table = _table(f"{heading}, {_basis(board.seeds)}", _values_caption(board, scaled), metrics)
    if scaled:
        table.add_column("T ", justify="right", vertical="bottom")
    best = {metric.key: board.leaders(metric, scaled=scaled) for metric in metrics}
    for row in board.rows:
        cells = []
        for metric in metrics:
            text = mean_and_half_width(metric, values(row, scaled=scaled)[metric.key], joint=_TIGHT)
            leads = row.method in best[metric.key]
            cells.append(Text(text + ("*" if leads else " "), style="bold" if leads else ""))
        if scaled:
            cells.append(Text(decimal(row.temperature.value, 2) + " "))
        table.add_row(title(row.method), *cells)
    return table


def _values_caption(board: Board, scaled: bool) -> str:
    lines = ["* best of its column; accuracy: higher is better, all others: lower is better"]
    if scaled:
        lines.append("T: temperature fitted on validation data; scaling leaves accuracy as it is")
    if board.seeds > 1:
        lines.append("±: half the 95 % interval over seeds (Student's t)")
    return "\n".join(lines)


def _difference_table(board: Board) -> Table:
    caption = "✓ clearly better, ✗ clearly worse than hard labels (95 % interval excludes 0)"
    if not board.testable:
        caption = "one seed: no intervals, so no difference can be told from luck"
    table = _table(
        f"Difference to hard labels, paired by seed, {_basis(board.seeds)}", caption, METRICS
    )
    for scaled in (False, True):
        table.add_row(Text("after scaling" if scaled else "as trained", style="italic"))
        for row in board.smoothed:
            cells = [_difference_cell(row, metric, scaled=scaled) for metric in METRICS]
            table.add_row(f" {title(row.method)}", *cells)
    return table


def _difference_cell(row: Row, metric: Metric, *, scaled: bool) -> Text:
    if metric not in compared_metrics(scaled=scaled):
        return Text("same ", style="dim")
    difference = differences(row, scaled=scaled)[metric.key]
    verdict = judge(metric, difference)
    text = mean_and_half_width(metric, difference, signed=True, joint=_TIGHT)
    return Text(text + _MARKS.get(verdict, " "), style=_STYLES.get(verdict, ""))


def _basis(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"
