"""The comparison as tables for a terminal of 80 columns or more, and one in Markdown."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from softtargets.lab.summary import DENOISING, METRICS, Mean, Metric, Row
from softtargets.report.cells import GLANCE
from softtargets.report.grouping import crowded
from softtargets.report.notation import (
    AT_BOUND,
    CALIBRATION,
    NO_OPTIMUM,
    decimal,
    listed,
    mean_and_half_width,
    noun,
    number,
    title,
)
from softtargets.report.verdict import (
    Board,
    Verdict,
    differences,
    values,
)

_WIDEST = 1_000
_MARKS = {Verdict.BETTER: "✓", Verdict.WORSE: "✗"}
_BOUND = "†"
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red"}


def comparison_tables(rows: Sequence[Row], *, seeds: int, width: int = 100) -> list[Table]:
    """Return the tables for the terminal.

    A cell is a value and its ± on one line, or on two lines in all tables if one is too wide.

    Args:
        rows: as `summarise` returns them.
        seeds: number of seeds behind each mean.
        width: of the terminal; 80 columns are enough.

    Returns:
        As trained; after temperature scaling; and, where hard labels were run beside other
        methods, the paired differences to them. Of many methods one table, of what matters most.
        Under label noise, last, what the models predict for their own training samples.
    """
    return board_tables(Board(list(rows), seeds), width=width)


def board_tables(board: Board, *, width: int = 100) -> list[Table]:
    """Return the same of a board with metrics of its own.

    Args:
        board: the rows.
        width: of the terminal.
    """
    told = [_denoising_table(board)] if board.denoised else []
    if board.metrics is METRICS and crowded(row.method for row in board.rows):
        return [_glance_table(board), *told]
    wide = _tables(board, joint=" ±")
    ruler = Console(width=_WIDEST)
    if max(ruler.measure(table).maximum for table in wide) <= width:
        return wide + told
    return _tables(board, joint="\n±") + told


def _tables(board: Board, *, joint: str) -> list[Table]:
    """The tables with what joins a value and its half width."""
    tables = [_values_table(board, joint, scaled=scaled) for scaled in (False, True)]
    if board.baseline is not None and board.others:
        tables.append(_difference_table(board, joint))
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
        table.add_column(_head(metric), justify="right")
    return table


def _head(metric: Metric) -> str:
    words = metric.title.split()
    if len(words) > 2:
        words = [words[0], " ".join(words[1:])] if words[0] != "ECE" else ["debiased", "ECE %"]
    else:
        words = ["", " ".join(words)]
    return "\n".join(f"{word} " for word in words)


def _glance_table(board: Board) -> Table:
    """Means alone, in one line per method, with the verdict on each."""
    table = Table(
        title=f"At a glance, {_basis(board.seeds)}",
        title_justify="left",
        title_style="bold",
        caption="\n".join(_glance_caption(board)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("method", no_wrap=True)
    for metric, scaled in GLANCE:
        head = ("scaled \n" if scaled else " \n") + _head(metric)
        table.add_column(head.replace("\n", " \n") + " ", justify="right")
    best = {asked: board.leaders(asked[0], scaled=asked[1]) for asked in GLANCE}
    for row in board.rows:
        cells = []
        for asked in GLANCE:
            metric, scaled = asked
            verdict = board.verdict(row, metric, scaled=scaled)
            leads = row.method in best[asked]
            text = number(metric, values(row, scaled=scaled)[metric.key].value)
            marks = _MARKS.get(verdict, "") + "*" * leads
            style = f"{'bold ' if leads else ''}{_STYLES.get(verdict, '')}"
            cells.append(Text(f"{text}{marks:2}", style=style.strip()))
        table.add_row(board.title(row.method) + (_BOUND if row.at_bound else ""), *cells)
    return table


def _glance_caption(board: Board) -> list[str]:
    lines = [
        "accuracy: higher is better, all others: lower is better",
        "scaled: after temperature scaling, all else as trained",
        "* best of its column, which need not be clearly the best",
        *_bound_caption(board),
    ]
    if board.testable:
        lines += _marks_caption(board)
    return [*lines, "all numbers, with intervals: in the report and in summary.json"]


def _marks_caption(board: Board) -> list[str]:
    better, worse = board.worded(Verdict.BETTER), board.worded(Verdict.WORSE)
    other = board.title(board.reference)
    lines = [f"✓ {better}, ✗ {worse} than {other}", "(95 % interval excludes 0)"]
    if board.hedged:
        lines.append("perhaps: too few seeds or clear differences, so it may be chance")
    return lines


def _denoising_table(board: Board) -> Table:
    caption = [
        "right labels kept: of the training samples with a right label",
        "the other columns: of those with a wrong label, what the trained model says",
    ]
    if board.testable:
        caption += _marks_caption(board)
    if board.seeds > 1:
        caption.append("±: half the 95 % interval over seeds (Student's t)")
    table = _table(
        f"What became of wrong labels, {_basis(board.seeds)}", "\n".join(caption), DENOISING
    )
    for row in board.rows:
        cells = []
        for metric in DENOISING:
            verdict = board.denoising_verdict(row, metric)
            text = mean_and_half_width(metric, row.denoising[metric.key], joint=" ±")
            cells.append(_cell(text, _MARKS.get(verdict, " "), _STYLES.get(verdict, "")))
        table.add_row(board.title(row.method), *cells)
    return table


def _values_table(board: Board, joint: str, *, scaled: bool) -> Table:
    metrics = board.compared(scaled=scaled)
    heading = "After temperature scaling" if scaled else "As trained"
    table = _table(f"{heading}, {_basis(board.seeds)}", _values_caption(board, scaled), metrics)
    if scaled:
        table.add_column(" \nT ", justify="right")
    best = {metric.key: board.leaders(metric, scaled=scaled) for metric in metrics}
    for row in board.rows:
        cells = []
        for metric in metrics:
            text = mean_and_half_width(metric, values(row, scaled=scaled)[metric.key], joint=joint)
            leads = row.method in best[metric.key]
            cells.append(_cell(text, "*" if leads else " ", "bold" if leads else ""))
        if scaled:
            mark = _BOUND if row.at_bound else " "
            cells.append(_cell(_temperature(row.temperature, joint), mark))
        table.add_row(board.title(row.method), *cells)
    return table


def _cell(text: str, mark: str, style: str = "") -> Text:
    """A value with its mark; what is on a second line stands under the value."""
    value, *rest = text.split("\n")
    return Text("\n".join([value + mark, *(f"{line} " for line in rest)]), style=style)


def _temperature(temperature: Mean, joint: str) -> str:
    """The mean, and its half width only where there is a second line for it."""
    text = decimal(temperature.value, 2)
    if not joint.startswith("\n") or math.isnan(temperature.half_width):
        return text
    return f"{text}{joint}{decimal(temperature.half_width, 2)}"


def _values_caption(board: Board, scaled: bool) -> str:
    lines = [
        "* best of its column, which need not be clearly the best",
        _directions(board.compared(scaled=scaled)),
    ]
    calibration = [values(row, scaled=scaled)[CALIBRATION.key].value for row in board.rows]
    if min(calibration) < 0:
        lines.append("debiased ECE at or below 0: none to be seen, equally good")
    if scaled:
        lines += ["T: temperature, fitted on validation data", *_bound_caption(board)]
        same = [noun(metric) for metric in board.metrics if metric not in board.rescaled]
        are = "is" if len(same) == 1 else "are"
        lines.append(f"{listed(same)} {are} the same as before scaling")
    if board.seeds > 1:
        lines.append("±: half the 95 % interval over seeds (Student's t)")
    return "\n".join(lines)


def _bound_caption(board: Board) -> list[str]:
    if not any(row.at_bound for row in board.rows):
        return []
    return [f"{_BOUND} temperature {AT_BOUND}, in some run:", f"  {NO_OPTIMUM}"]


def _directions(metrics: Sequence[Metric]) -> str:
    higher = [noun(metric) for metric in metrics if metric.higher_is_better]
    if not higher:
        return "lower is better"
    return f"{', '.join(higher)}: higher is better, all others: lower is better"


def _difference_table(board: Board, joint: str) -> Table:
    caption = "\n".join(_marks_caption(board))
    if not board.testable:
        caption = "one seed: no intervals, so no difference can be told from luck"
    table = _table(
        f"Difference to {board.title(board.reference)}, paired by seed, {_basis(board.seeds)}",
        caption,
        board.metrics,
    )
    for scaled in (False, True):
        table.add_row(Text("after scaling" if scaled else "as trained", style="italic"))
        for row in board.others:
            cells = [
                _difference_cell(board, row, metric, joint, scaled=scaled)
                for metric in board.metrics
            ]
            table.add_row(f" {board.title(row.method)}", *cells)
    return table


def _difference_cell(board: Board, row: Row, metric: Metric, joint: str, *, scaled: bool) -> Text:
    if metric not in board.compared(scaled=scaled):
        return Text("same ", style="dim")
    difference = differences(row, scaled=scaled)[metric.key]
    verdict = board.verdict(row, metric, scaled=scaled)
    text = mean_and_half_width(metric, difference, signed=True, joint=joint)
    return _cell(text, _MARKS.get(verdict, " "), _STYLES.get(verdict, ""))


def _basis(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"
