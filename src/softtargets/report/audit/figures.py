"""The pictures of an audit, as matplotlib figures; the page shows the same as SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, PercentFormatter

from softtargets.audit.result import ClassMeasures
from softtargets.calibration import ReliabilityCurve, RiskCoverageCurve
from softtargets.report.palette import INK, MUTED, PAPER, Look, look
from softtargets.report.svg import styled

WIDTH = 3.5  # inches; all panels are equally wide, so that text is equally large in all
FIRST, SECOND = look("ls"), look("ols")
_FEW_PREDICTIONS = 5  # a bin with fewer is drawn hollow
MOST_CLASSES = 12


@styled()
def reliability_diagram(curve: ReliabilityCurve, title: str, style: Look = FIRST) -> Figure:
    """Accuracy against confidence with a 95 % band, above a histogram of the confidence.

    Args:
        curve: one point per bin.
        title: above the picture.
        style: colour and marker.
    """
    figure = Figure(figsize=(WIDTH, 3.9))
    axes = figure.add_axes((0.15, 0.31, 0.785, 0.62))
    axes.set_title(title)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    _band(axes, curve, style)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.tick_params(labelbottom=False)
    below = figure.add_axes((0.15, 0.105, 0.785, 0.17), sharex=axes)
    edges, place = curve.edges.numpy(), curve.bin.numpy()
    below.bar(
        edges[place],
        curve.count.numpy(),
        0.92 * np.diff(edges)[place],
        align="edge",
        color=style.light,
        alpha=0.55,
    )
    _log_counts(below, float(curve.count.sum()))
    below.set_xlabel("confidence; bars: number of predictions")
    for each in (axes, below):
        each.xaxis.set_major_formatter(_percent())
        each.grid(axis="both" if each is axes else "x")
        each.set_axisbelow(True)
    axes.yaxis.set_major_formatter(_percent())
    return figure


@styled()
def risk_coverage_plot(
    curves: Mapping[str, RiskCoverageCurve], accuracies: Sequence[float]
) -> Figure:
    """Errors among the surest predictions, by the share of predictions kept.

    Args:
        curves: by name, at most two.
        accuracies: of each; the dotted line is what an ideal order of its errors gives.
    """
    figure = Figure(figsize=(WIDTH, 2.9))
    axes = figure.add_axes((0.15, 0.155, 0.8, 0.755))
    axes.set_title("Errors")
    _subtitle(axes, "share of those kept; dotted: best possible")
    shares = np.linspace(0.005, 1, 200)
    for (name, curve), accuracy, style in zip(
        curves.items(), accuracies, (FIRST, SECOND), strict=False
    ):
        axes.plot(
            curve.coverage.numpy(),
            curve.risk.numpy(),
            color=style.light,
            linestyle=style.dash,
            label=name,
        )
        ideal = np.maximum(0, 1 - accuracy / shares)
        axes.plot(shares, ideal, color=style.light, linewidth=0.9, linestyle=(0, (1, 1.5)))
    if len(curves) > 1:
        axes.legend(loc="upper left", fontsize=7.5)
    axes.set(xlim=(0, 1), xlabel="predictions kept, the surest first")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(_percent())
    axes.yaxis.set_major_formatter(_percent(decimals=None))
    axes.grid()
    axes.set_axisbelow(True)
    return figure


@styled()
def class_gaps(classes: Sequence[ClassMeasures], style: Look = FIRST) -> Figure:
    """Confidence minus precision of the worst classes where predicted, with intervals.

    Args:
        classes: the worst first.
        style: colour and marker.
    """
    shown = [row for row in classes if row.predictions][:MOST_CLASSES]
    height = 0.75 + 0.22 * len(shown)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.15, 0.42 / height, 0.8, 1 - 0.7 / height))
    axes.set_title("Worst classes" if len(shown) < len(classes) else "Classes")
    _subtitle(axes, "95 % intervals, all classes at once")
    axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(shown):
        gap = row.gap
        axes.errorbar(
            gap.value,
            place,
            xerr=[[gap.value - gap.low], [gap.high - gap.value]],
            color=style.light,
            marker=style.marker,
            markersize=4.5,
            markerfacecolor=style.light if row.clear else PAPER,
            elinewidth=1.2,
        )
    axes.set_yticks(range(len(shown)), [f"class {row.index}" for row in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(_percent(decimals=None, symbol=""))
    axes.margins(x=0.08)
    axes.set_xlabel("← too unsure · points · too sure →")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return figure


@styled()
def class_scatter(classes: Sequence[ClassMeasures], style: Look = FIRST) -> Figure:
    """One dot per predicted class: how often it is right against what is said on average.

    Args:
        classes: in any order.
        style: colour and marker.
    """
    shown = [row for row in classes if row.predictions]
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.add_axes((0.15, 0.13, 0.785, 0.785))
    axes.set_title("All classes")
    _subtitle(axes, "share right, by confidence")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for clear in (False, True):
        rows = [row for row in shown if row.clear == clear]
        axes.plot(
            [row.confidence for row in rows],
            [row.precision for row in rows],
            linestyle="none",
            marker=style.marker,
            markersize=4,
            color=style.light,
            markerfacecolor=style.light if clear else PAPER,
            alpha=0.8,
        )
    lowest = min(min(row.confidence, row.precision) for row in shown)
    low = max(-0.02, 0.1 * int(10 * lowest) - 0.02)
    axes.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel="mean confidence where predicted")
    axes.xaxis.set_major_formatter(_percent())
    axes.yaxis.set_major_formatter(_percent())
    axes.grid()
    axes.set_axisbelow(True)
    return figure


def _band(axes: Axes, curve: ReliabilityCurve, style: Look) -> None:
    """The curve in its band; a point of few predictions is hollow and stands off the line."""
    confidence, accuracy = curve.confidence.numpy(), curve.accuracy.numpy()
    low, high = curve.accuracy_low.numpy(), curve.accuracy_high.numpy()
    many = curve.count.numpy() >= _FEW_PREDICTIONS
    axes.fill_between(
        confidence[many], low[many], high[many], color=style.light, alpha=0.2, linewidth=0
    )
    for chosen, line in ((~many, "none"), (many, "-")):
        axes.errorbar(
            confidence[chosen],
            accuracy[chosen],
            yerr=np.stack([accuracy - low, high - accuracy])[:, chosen].clip(0),
            color=style.light,
            marker=style.marker,
            markersize=4,
            markerfacecolor=style.light if line == "-" else PAPER,
            linestyle=line,
            linewidth=1,
            elinewidth=0.8,
            alpha=1 if line == "-" else 0.5,
            clip_on=False,
        )


def _subtitle(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="right", fontsize=7.5, fontweight="normal", color=MUTED)


def _percent(decimals: int | None = 0, symbol: str = " %") -> PercentFormatter:
    return PercentFormatter(1, decimals=decimals, symbol=symbol)


def _log_counts(axes: Axes, top: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(10.0, top))
    axes.yaxis.set_major_locator(LogLocator(10, numticks=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, place: f"{count:,.0f}"))
    axes.tick_params(which="minor", length=0)
