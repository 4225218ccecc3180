"""Figures that are the same for every method or metric: one small panel each, for a grid."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softtargets.calibration import ReliabilityCurve
from softtargets.lab.compare import Comparison
from softtargets.lab.summary import Metric
from softtargets.report import plots
from softtargets.report.notation import number, percentage, title
from softtargets.report.palette import INK, MUTED, PAPER, look
from softtargets.report.plots import log_counts, percent_ticks
from softtargets.report.predictions import Predictions
from softtargets.report.svg import styled
from softtargets.report.verdict import Board, differences

WIDTH = 3.5  # inches; all panels are equally wide, so that text is equally large in all


@styled()
def reliability_diagram(predictions: Predictions, method: str, heading: str = "") -> Figure:
    """Accuracy against confidence by bin with 95 % intervals, and the number of predictions."""
    look_of = look(method)
    figure = Figure(figsize=(WIDTH, 3.9))
    axes = figure.add_axes((0.18, 0.105, 0.765, 0.825))
    axes.set_title(heading or title(method))
    curve = ReliabilityCurve.from_statistics(predictions.pooled)
    plots.reliability_diagram(curve, axes=axes, color=look_of.light, marker=look_of.marker)
    return figure


@styled()
def confidence_histogram(predictions: Predictions, method: str) -> Figure:
    """How many right and wrong predictions have which confidence; two bars per bin."""
    pooled, confidence = predictions.pooled, predictions.confidence
    colour = look(method).light
    figure = Figure(figsize=(WIDTH, 2.6))
    axes = figure.add_axes((0.15, 0.16, 0.785, 0.72))
    axes.set_title(title(method))
    edges = pooled.edges.numpy()
    right = pooled.outcome_sums.numpy()
    wrong = pooled.counts.numpy() - right
    width = np.diff(edges)
    axes.bar(edges[:-1] + 0.08 * width, right, 0.44 * width, align="edge", color=colour)
    axes.bar(
        edges[:-1] + 0.54 * width,
        wrong,
        0.38 * width,
        align="edge",
        facecolor=PAPER,
        edgecolor=INK,
        linewidth=0.8,
    )
    log_counts(axes, 4 * float(pooled.counts.sum()))
    _subtitle(axes, "number of predictions")
    axes.set(xlim=(0, 1), xlabel="confidence")
    says = confidence.says.value
    axes.axvline(says, color=INK, linewidth=1)
    axes.axvline(confidence.right.value, color=INK, linewidth=1, linestyle=(0, (3, 2)))
    axes.text(
        0.03 if says > 0.5 else says + 0.03,
        0.96,
        f"says {percentage(says)} on average\nright {percentage(confidence.right.value)}",
        transform=axes.transAxes,
        va="top",
        fontsize=8,
    )
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return figure


def _subtitle(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="right", fontsize=7.5, fontweight="normal", color=MUTED)


CURVES = {
    "validation_accuracy": ("Validation accuracy", 100.0, "%"),
    "validation_nll": ("Validation NLL", 1.0, ""),
    "validation_ece": ("Validation ECE, debiased", 100.0, "%"),
}


def training_curve(comparison: Comparison, measure: str, methods: Sequence[str]) -> Figure:
    """A measure of classifiers by epoch, see `curves`.

    Args:
        comparison: finished runs.
        measure: a key of `CURVES`, the name of a field of `Epoch`.
        methods: whose lines to draw.
    """
    heading, scale, unit = CURVES[measure]
    found = {method: scale * _by_epoch(comparison, measure, method) for method in methods}
    return curves(heading + (f", {unit}" if unit else ""), found)


@styled()
def curves(heading: str, found: Mapping[str, np.ndarray]) -> Figure:
    """A measure by epoch: mean over seeds, and the range of the seeds as a band.

    Where runs stop early, those that are still going on at an epoch.

    Args:
        heading: of the panel.
        found: by method, runs by epochs; NaN after the end of a run that stopped early.
    """
    figure = Figure(figsize=(WIDTH, 2.7))
    axes = figure.add_axes((0.14, 0.16, 0.82, 0.73))
    axes.set_title(heading)
    settled = []
    for method, history in found.items():
        epochs = np.arange(1, history.shape[1] + 1)
        colour = look(method).light
        axes.fill_between(
            epochs,
            np.nanmin(history, 0),
            np.nanmax(history, 0),
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
        axes.plot(
            epochs,
            np.nanmean(history, 0),
            color=colour,
            linestyle=look(method).dash,
            marker=look(method).marker if len(epochs) < 4 else None,
            markersize=4,
        )
        settled.append(history[:, history.shape[1] // 4 :])
    _limit_to(axes, np.concatenate([each.ravel() for each in settled]))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y")
    return figure


def _by_epoch(comparison: Comparison, measure: str, method: str) -> np.ndarray:
    """Runs by epochs; NaN after the end of a run that stopped early."""
    records = comparison.records(method)
    table = np.full((len(records), max(len(record.history) for record in records)), np.nan)
    for row, record in zip(table, records, strict=True):
        row[: len(record.history)] = [getattr(epoch, measure) for epoch in record.history]
    return table


def _limit_to(axes: Axes, shown: np.ndarray) -> None:
    """Leave the first epochs, which are far off, out of the frame."""
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.max() > shown.min():
        margin = 0.05 * (shown.max() - shown.min())
        axes.set_ylim(shown.min() - margin, shown.max() + margin)


@styled()
def difference_plot(board: Board, metric: Metric) -> Figure:
    """Paired differences to the baseline with their intervals: filled as trained, hollow scaled.

    One that is far beyond all the others is an arrow at the edge with its value.

    Args:
        board: the rows.
        metric: which measure.
    """
    rows = board.others
    names = [board.title(row.method) for row in rows]
    figure = Figure(figsize=(WIDTH, 0.95 + 0.36 * len(rows)))
    height = figure.get_figheight()
    left = 0.045 + 0.0165 * max(6, *map(len, names))
    axes = figure.add_axes((left, 0.5 / height, 0.96 - left, 1 - 0.8 / height))
    axes.set_title(metric.title)
    axes.axvline(0, color=INK, linewidth=1)
    _difference_marks(axes, board, metric)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("better →" if metric.higher_is_better else "← better")
    return figure


def _difference_marks(axes: Axes, board: Board, metric: Metric) -> None:
    rows = board.others
    states = (False, True) if metric in board.compared(scaled=True) else (False,)
    sizes = [
        abs(differences(row, scaled=scaled)[metric.key].value) for row in rows for scaled in states
    ]
    farthest = 3 * float(np.quantile(sizes, 0.9))
    for place, row in enumerate(rows):
        for scaled in states:
            height = place + (0 if len(states) == 1 else (0.17 if scaled else -0.17))
            difference = differences(row, scaled=scaled)[metric.key]
            if abs(difference.value) > farthest:
                _beyond(axes, metric, difference.value, height)
                continue
            half = metric.scale * difference.half_width
            axes.errorbar(
                metric.scale * difference.value,
                height,
                xerr=None if np.isnan(half) else half,
                color=look(row.method).light,
                marker=look(row.method).marker,
                markersize=5,
                markerfacecolor=PAPER if scaled else look(row.method).light,
                elinewidth=1.4,
                capsize=2.5,
            )


def _beyond(axes: Axes, metric: Metric, value: float, height: float) -> None:
    """An arrow at the edge, with the value."""
    text = number(metric, value, signed=True)
    axes.text(
        0.0 if value < 0 else 1.0,
        height,
        f"← {text}" if value < 0 else f"{text} →",
        ha="left" if value < 0 else "right",
        va="center",
        fontsize=7,
        color=MUTED,
        transform=axes.get_yaxis_transform(),
    )
