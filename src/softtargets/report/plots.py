"""Pictures of calibration for one's own figures; the pages of reports are drawn with them.

Every function draws into the matplotlib `Axes` it is given and returns it; without one it opens a
figure of `matplotlib.pyplot`. Fonts and the like are those of `matplotlib.rcParams`. Needs
matplotlib and numpy, which the extra `softtargets[lab]` brings.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from softtargets.audit.result import ClassMeasures
from softtargets.calibration import ReliabilityCurve, RiskCoverageCurve
from softtargets.report.palette import INK, MUTED, PAPER, RULE, look

__all__ = [
    "class_gap_plot",
    "class_reliability_plot",
    "confidence_histogram",
    "reliability_diagram",
    "risk_coverage_plot",
]

FEW_PREDICTIONS = 5  # a bin with fewer is drawn hollow, off the line
MOST_CLASSES = 12
COLOR = look("ls").light
_MINUS = "\N{MINUS SIGN}"
_DIAGONAL: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "linestyle": (0, (4, 3))}
_GRID: dict[str, Any] = {"color": RULE, "linewidth": 0.6}


def reliability_diagram(
    curve: ReliabilityCurve,
    *,
    axes: Axes | None = None,
    histogram: bool = True,
    color: str = COLOR,
    marker: str = "s",
    label: str = "",
) -> Axes:
    """Draw accuracy against confidence with its 95 % band, above a histogram of the confidence.

    On the diagonal confidence is right; below it is too high, above it too low. Bins of fewer than
    5 predictions are hollow and off the line.

    Args:
        curve: `calibration.reliability_curve(probs, labels)`, or of bins collected in a stream
            `ReliabilityCurve.from_statistics(found.top_label)`.
        axes: where to draw; None: a new figure.
        histogram: whether the lower part of `axes` shows how many predictions each bin holds.
        color: of matplotlib.
        marker: of matplotlib.
        label: for a legend.

    Returns:
        The axes of the curve; those of the histogram are the last in its figure.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from softtargets.calibration import reliability_curve
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> curve = reliability_curve(probs, torch.tensor([0, 1, 1]))
        >>> figure = Figure()
        >>> axes = reliability_diagram(curve, axes=figure.add_subplot())
        >>> axes.get_ylabel(), figure.axes[-1].get_xlabel()
        ('accuracy', 'confidence')

    References:
        Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017.
    """
    axes = axes if axes is not None else _new_axes(4.6)
    axes.plot([0, 1], [0, 1], **_DIAGONAL)
    _band(axes, curve, color, marker, label)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="accuracy")
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.yaxis.set_major_formatter(percent_ticks())
    axes.grid(**_GRID)
    axes.set_axisbelow(True)
    if histogram:
        axes.set_xlabel("")
        confidence_histogram(curve, axes=_lower_part(axes), color=color)
        axes.tick_params(labelbottom=False)
    return axes


def confidence_histogram(
    curve: ReliabilityCurve, *, axes: Axes | None = None, color: str = COLOR
) -> Axes:
    """Draw how many predictions have which confidence, on a logarithmic scale.

    Args:
        curve: as in `reliability_diagram`.
        axes: where to draw; None: a new figure.
        color: of matplotlib.

    Returns:
        The axes.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from softtargets.calibration import reliability_curve
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> curve = reliability_curve(probs, torch.tensor([0, 1, 1]), bins=4)
        >>> axes = confidence_histogram(curve, axes=Figure().add_subplot())
        >>> [int(bar.get_height()) for bar in axes.patches]
        [1, 2]
    """
    axes = axes if axes is not None else _new_axes(2.4)
    edges, place = curve.edges.numpy(), curve.bin.numpy()
    axes.bar(
        edges[place],
        curve.count.numpy(),
        0.92 * np.diff(edges)[place],
        align="edge",
        color=color,
        alpha=0.55,
    )
    log_counts(axes, float(curve.count.max()))
    axes.set(xlim=(0, 1), xlabel="confidence", ylabel="predictions")
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)
    return axes


def risk_coverage_plot(
    curve: RiskCoverageCurve,
    *,
    axes: Axes | None = None,
    references: bool = True,
    color: str = COLOR,
    linestyle: str | tuple[float, tuple[float, ...]] = "-",
    label: str = "",
) -> Axes:
    """Draw the share of errors among the surest predictions, by the share of predictions kept.

    Args:
        curve: `calibration.risk_coverage_curve(probs, labels)`, or that of a stream.
        axes: where to draw, other models' curves too; None: a new figure.
        references: whether two dotted lines show what an oracle gives, who sets aside errors first,
            and what a random order gives.
        color: of matplotlib.
        linestyle: of matplotlib.
        label: for a legend.

    Returns:
        The axes.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from softtargets.calibration import risk_coverage_curve
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> curve = risk_coverage_curve(probs, torch.tensor([0, 1, 1, 1]))
        >>> axes = risk_coverage_plot(curve, axes=Figure().add_subplot(), label="mine")
        >>> axes.lines[0].get_ydata().tolist()
        [0.0, 0.5, 0.3333333333333333, 0.25]

    References:
        El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 2010.
    """
    axes = axes if axes is not None else _new_axes(3.4)
    coverage, risk = curve.coverage.numpy(), curve.risk.numpy()
    axes.plot(coverage, risk, color=color, linestyle=linestyle, label=label or None)
    if references:
        errors = risk[-1]
        kept = np.linspace(1 - errors, 1, 100) if errors < 1 else np.linspace(0.01, 1, 100)
        best = np.concatenate([[0], 1 - (1 - errors) / kept])
        dots: dict[str, Any] = {"color": color, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
        axes.plot(np.concatenate([[0], kept]), best, **dots)
        axes.plot([0, 1], [errors, errors], **dots)
    axes.set(xlim=(0, 1), xlabel="predictions kept, the surest first", ylabel="errors among them")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.yaxis.set_major_formatter(percent_ticks())
    axes.grid(**_GRID)
    axes.set_axisbelow(True)
    return axes


def class_gap_plot(
    classes: Sequence[ClassMeasures],
    *,
    axes: Axes | None = None,
    most: int = MOST_CLASSES,
    names: Sequence[str] | None = None,
    color: str = COLOR,
    marker: str = "s",
) -> Axes:
    """Draw confidence minus precision of the worst classes where predicted, with intervals.

    Filled marks are off by more than chance allows, with all classes looked at.

    Args:
        classes: `softtargets.audit.measure.class_measures(probs, labels)`, the worst first.
        axes: where to draw; None: a new figure.
        most: how many classes to draw.
        names: of all classes, in their order; None: "class 0" and so on.
        color: of matplotlib.
        marker: of matplotlib.

    Returns:
        The axes.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from softtargets.audit.measure import class_measures
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> classes = class_measures(probs, torch.tensor([0, 1, 1]))
        >>> axes = class_gap_plot(classes, axes=Figure().add_subplot(), names=["cat", "dog"])
        >>> [tick.get_text() for tick in axes.get_yticklabels()]
        ['dog', 'cat']
    """
    shown = predicted(classes)[:most]
    axes = axes if axes is not None else _new_axes(0.9 + 0.24 * len(shown))
    axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(shown):
        gap = row.gap
        axes.errorbar(
            gap.value,
            place,
            xerr=[[gap.value - gap.low], [gap.high - gap.value]],
            color=color,
            marker=marker,
            markersize=4.5,
            markerfacecolor=color if row.clear else PAPER,
            elinewidth=1.2,
        )
    called = [f"class {row.index}" if names is None else names[row.index] for row in shown]
    axes.set_yticks(range(len(shown)), called)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(percent_ticks(""))
    axes.margins(x=0.08)
    axes.set_xlabel("← too unsure · points · too sure →")
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)
    return axes


def class_reliability_plot(
    classes: Sequence[ClassMeasures],
    *,
    axes: Axes | None = None,
    color: str = COLOR,
    marker: str = "s",
) -> Axes:
    """Draw one mark per predicted class: how often it is right against what is said on average.

    Args:
        classes: `softtargets.audit.measure.class_measures(probs, labels)`, in any order.
        axes: where to draw; None: a new figure.
        color: of matplotlib.
        marker: of matplotlib.

    Returns:
        The axes.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from softtargets.audit.measure import class_measures
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> classes = class_measures(probs, torch.tensor([0, 1, 1]))
        >>> class_reliability_plot(classes, axes=Figure().add_subplot()).get_ylabel()
        'share that is right'
    """
    axes = axes if axes is not None else _new_axes(3.8)
    axes.plot([0, 1], [0, 1], **_DIAGONAL)
    shown = predicted(classes)
    for clear in (False, True):
        rows = [row for row in shown if row.clear == clear]
        axes.plot(
            [row.confidence for row in rows],
            [row.precision for row in rows],
            linestyle="none",
            marker=marker,
            markersize=4,
            color=color,
            markerfacecolor=color if clear else PAPER,
            alpha=0.8,
        )
    lowest = min(min(row.confidence, row.precision) for row in shown)
    low = max(-0.02, 0.1 * int(10 * lowest) - 0.02)
    axes.set(xlim=(low, 1.02), ylim=(low, 1.02))
    axes.set(xlabel="mean confidence where predicted", ylabel="share that is right")
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.yaxis.set_major_formatter(percent_ticks())
    axes.grid(**_GRID)
    axes.set_axisbelow(True)
    return axes


def predicted(classes: Sequence[ClassMeasures]) -> list[ClassMeasures]:
    """Return the classes that are predicted at all, in the order given."""
    return [row for row in classes if row.predictions]


def percent_ticks(symbol: str = " %") -> FuncFormatter:
    """Return the format of an axis of shares."""
    return FuncFormatter(lambda share, place: f"{100 * share:g}{symbol}".replace("-", _MINUS))


def log_counts(axes: Axes, top: float) -> None:
    """Make the vertical axis one of counts, logarithmic, with a place for single ones."""
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(10.0, 1.5 * top))
    axes.yaxis.set_major_locator(LogLocator(10, numticks=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, place: f"{count:,.0f}"))
    axes.tick_params(which="minor", length=0)


def _new_axes(height: float) -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(4.5, height), layout="constrained")[1]


def _lower_part(axes: Axes) -> Axes:
    """Leave a part of the axes' place to others below."""
    place = axes.get_subplotspec()
    if place is not None:
        parts = place.subgridspec(2, 1, height_ratios=(3.6, 1), hspace=0.05)
        axes.set_subplotspec(parts[0])
        return axes.figure.add_subplot(parts[1], sharex=axes)
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom + 0.25 * height, width, 0.75 * height))
    return axes.figure.add_axes((left, bottom, width, 0.2 * height), sharex=axes)


def _band(axes: Axes, curve: ReliabilityCurve, color: str, marker: str, label: str) -> None:
    """The curve in its band; a point of few predictions is hollow and stands off the line."""
    confidence, accuracy = curve.confidence.numpy(), curve.accuracy.numpy()
    low, high = curve.accuracy_low.numpy(), curve.accuracy_high.numpy()
    many = curve.count.numpy() >= FEW_PREDICTIONS
    axes.fill_between(confidence[many], low[many], high[many], color=color, alpha=0.2, linewidth=0)
    for chosen, line in ((~many, "none"), (many, "-")):
        if not chosen.any():
            continue  # marks of nothing, not clipped, would widen the picture to its corner
        axes.errorbar(
            confidence[chosen],
            accuracy[chosen],
            yerr=np.stack([accuracy - low, high - accuracy])[:, chosen].clip(0),
            color=color,
            marker=marker,
            markersize=4,
            markerfacecolor=color if line == "-" else PAPER,
            linestyle=line,
            linewidth=1,
            elinewidth=0.8,
            alpha=1 if line == "-" else 0.5,
            clip_on=False,
            label=label if label and line == "-" else None,
        )
