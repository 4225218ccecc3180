"""Tables of tasks that classification has not."""

import math

from softtargets.lab.summary import Mean, Metric
from softtargets.lab.task_compare import TaskComparison
from softtargets.report.cells import Cell, Sheet
from softtargets.report.notation import number
from softtargets.report.verdict import Board


def reference_sheet(comparison: TaskComparison, board: Board) -> Sheet:
    """Return what is reached without a model, in the metrics that make sense for it.

    Args:
        comparison: finished runs.
        board: their summary.
    """
    known = {key for reference in comparison.references for key in reference.values}
    metrics = [metric for metric in board.metrics if metric.key in known]
    lines = []
    for reference in comparison.references:
        found = [(metric, reference.values.get(metric.key)) for metric in metrics]
        cells = [
            Cell(text="–" if value is None else number(metric, value), order=value or 0.0)
            for metric, value in found
        ]
        lines.append((reference.title, cells))
    return Sheet(columns=[metric.title for metric in metrics], lines=lines)


def mean_cell(metric: Metric, mean: Mean, *, best: bool = False) -> Cell:
    """Return a cell with a mean over seeds.

    Args:
        metric: how it is written.
        mean: the value.
        best: whether it leads.
    """
    half = mean.half_width
    return Cell(
        text=number(metric, mean.value),
        half_width="" if math.isnan(half) else number(metric, half),
        order=mean.value,
        best=best,
    )
