"""The tables of the page, as rows of cells with what a cell says beside its number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from softtargets.lab.summary import DENOISING, Mean, Metric, Row
from softtargets.report.notation import (
    ACCURACY,
    CALIBRATION,
    LIKELIHOOD,
    decimal,
    noun,
    number,
    quantity,
)
from softtargets.report.verdict import (
    Board,
    Verdict,
    attained,
    differences,
    values,
)

# What matters most: a metric, and whether after temperature scaling.
GLANCE = (
    (ACCURACY, False),
    (LIKELIHOOD, False),
    (CALIBRATION, False),
    (LIKELIHOOD, True),
    (CALIBRATION, True),
)
_SHORT = {Verdict.UNCLEAR: "not clear", Verdict.UNTESTED: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell.

    Attributes:
        text: the value.
        half_width: of its interval, or "".
        order: what the column is sorted by.
        best: whether it leads its column.
        verdict: against hard labels, or that a temperature is at its bound; "" for none.
    """

    text: str
    half_width: str = ""
    order: float = 0.0
    best: bool = False
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table.

    Attributes:
        columns: heads after that of the methods.
        lines: a method and its cells.
    """

    columns: list[str]
    lines: list[tuple[str, list[Cell]]]


def glance_sheet(board: Board, asked: Sequence[tuple[Metric, bool]] = GLANCE) -> Sheet:
    """Return what matters most with the verdict on each, without intervals.

    Args:
        board: the rows.
        asked: metrics, and whether after temperature scaling.
    """
    lines = [
        (
            row.method,
            [
                Cell(
                    text=quantity(metric, values(row, scaled=scaled)[metric.key].value),
                    best=row.method in board.leaders(metric, scaled=scaled),
                    verdict=_verdict(board, row, metric, scaled=scaled),
                )
                for metric, scaled in asked
            ],
        )
        for row in board.rows
    ]
    columns = [noun(metric) + (" after scaling" if scaled else "") for metric, scaled in asked]
    return Sheet(columns=columns, lines=lines)


def value_sheet(board: Board, *, scaled: bool) -> Sheet:
    """Return the means of all methods, the best of each column marked."""
    metrics = board.compared(scaled=scaled)
    leaders = {metric.key: board.leaders(metric, scaled=scaled) for metric in metrics}
    lines = []
    for row in board.rows:
        cells = [
            Cell(
                text=number(metric, mean.value),
                half_width=_half_width(metric, mean),
                order=attained(mean.value),
                best=row.method in leaders[metric.key],
            )
            for metric in metrics
            for mean in [values(row, scaled=scaled)[metric.key]]
        ]
        if scaled:
            half = row.temperature.half_width
            cells.append(
                Cell(
                    text=decimal(row.temperature.value, 2),
                    half_width="" if math.isnan(half) else decimal(half, 2),
                    order=row.temperature.value,
                    verdict="at its bound" if row.at_bound else "",
                )
            )
        lines.append((row.method, cells))
    columns = [metric.title for metric in metrics] + ["temperature"] * scaled
    return Sheet(columns=columns, lines=lines)


def difference_sheet(board: Board, *, scaled: bool) -> Sheet:
    """Return the paired differences to hard labels, with the verdict on each in words."""
    metrics = board.compared(scaled=scaled)
    lines = [
        (
            row.method,
            [
                Cell(
                    text=number(metric, difference.value, signed=True),
                    half_width=_half_width(metric, difference),
                    order=difference.value,
                    verdict=_verdict(board, row, metric, scaled=scaled),
                )
                for metric in metrics
                for difference in [differences(row, scaled=scaled)[metric.key]]
            ],
        )
        for row in board.others
    ]
    return Sheet(columns=[metric.title for metric in metrics], lines=lines)


def denoising_sheet(board: Board) -> Sheet:
    """Return what the trained models predict for their own training samples."""
    lines = []
    for row in board.rows:
        cells = []
        for metric in DENOISING:
            mean, verdict = row.denoising[metric.key], board.denoising_verdict(row, metric)
            cells.append(
                Cell(
                    text=number(metric, mean.value),
                    half_width=_half_width(metric, mean),
                    order=mean.value,
                    verdict=_SHORT.get(verdict, board.worded(verdict)),
                )
            )
        lines.append((row.method, cells))
    return Sheet(columns=[metric.title for metric in DENOISING], lines=lines)


def _verdict(board: Board, row: Row, metric: Metric, *, scaled: bool) -> str:
    verdict = board.verdict(row, metric, scaled=scaled)
    return _SHORT.get(verdict, board.worded(verdict))


def _half_width(metric: Metric, mean: Mean) -> str:
    return "" if math.isnan(mean.half_width) else number(metric, mean.half_width)
