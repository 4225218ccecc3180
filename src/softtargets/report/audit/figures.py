"""The pictures of an audit's page: those of `softtargets.report.plots` in panels of one width."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softtargets.audit.result import ClassMeasures
from softtargets.calibration import ReliabilityCurve, RiskCoverageCurve
from softtargets.report import plots
from softtargets.report.palette import MUTED, Look, look
from softtargets.report.svg import styled

WIDTH = 3.5  # inches; all panels are equally wide, so that text is equally large in all
FIRST, SECOND = look("ls"), look("ols")


@styled()
def reliability_panel(curve: ReliabilityCurve, title: str, style: Look = FIRST) -> Figure:
    """Accuracy against confidence with a 95 % band, above a histogram of the confidence.

    Args:
        curve: one point per bin.
        title: above the picture.
        style: colour and marker.
    """
    figure, axes = _panel(3.9, title)
    plots.reliability_diagram(curve, axes=axes, color=style.light, marker=style.marker)
    return figure


@styled()
def selection_panel(curves: Mapping[str, RiskCoverageCurve]) -> Figure:
    """Errors among the surest predictions, by the share of predictions kept.

    Args:
        curves: by name, at most two.
    """
    figure, axes = _panel(3.1, "Errors")
    said = "dotted: at random, and best possible"
    axes.set_title(said, loc="right", fontsize=7.5, fontweight="normal", color=MUTED)
    for (name, curve), style in zip(curves.items(), (FIRST, SECOND), strict=False):
        plots.risk_coverage_plot(
            curve, axes=axes, color=style.light, linestyle=style.dash, label=name
        )
    if len(curves) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0.93), fontsize=7.5)
    return figure


@styled()
def class_gap_panel(classes: Sequence[ClassMeasures], style: Look = FIRST) -> Figure:
    """Confidence minus precision of the worst classes where predicted, with intervals.

    Args:
        classes: the worst first.
        style: colour and marker.
    """
    shown = min(plots.MOST_CLASSES, len(plots.predicted(classes)))
    figure, axes = _panel(
        0.8 + 0.22 * shown, "Worst classes" if shown < len(classes) else "Classes"
    )
    plots.class_gap_plot(classes, axes=axes, color=style.light, marker=style.marker)
    return figure


@styled()
def class_reliability_panel(classes: Sequence[ClassMeasures], style: Look = FIRST) -> Figure:
    """One mark per predicted class: how often it is right against what is said on average.

    Args:
        classes: in any order.
        style: colour and marker.
    """
    figure, axes = _panel(3.4, "All classes")
    plots.class_reliability_plot(classes, axes=axes, color=style.light, marker=style.marker)
    return figure


def _panel(height: float, title: str) -> tuple[Figure, Axes]:
    """A figure with axes, margins in inches."""
    left, right, top, bottom = 0.63, 0.2, 0.28, 0.42
    figure = Figure(figsize=(WIDTH, height))
    box = (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    axes = figure.add_axes(box)
    axes.set_title(title)
    return figure, axes
