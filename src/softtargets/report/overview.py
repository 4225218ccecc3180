"""One picture of the whole comparison, for a README."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from softtargets.lab.records import write_atomically
from softtargets.lab.summary import Mean, Metric, Row
from softtargets.report.notation import ACCURACY, CALIBRATION, LIKELIHOOD, title
from softtargets.report.palette import INK, MUTED, PAPER, look
from softtargets.report.svg import standalone, styled
from softtargets.report.verdict import values

_PANELS = (
    (ACCURACY, "Accuracy, %", "higher is better →"),
    (LIKELIHOOD, "Negative log-likelihood", "← lower is better"),
    (CALIBRATION, "Calibration error (ECE, debiased), %", "← lower is better"),
)


@styled()
def summary_figure(rows: Sequence[Row], *, heading: str) -> Figure:
    """Accuracy, likelihood and calibration of all methods, as trained and after scaling.

    Args:
        rows: as `summarise` returns them.
        heading: above the picture, such as the name of the data set.
    """
    height = 1.35 + 0.34 * len(rows)
    figure = Figure(figsize=(9.6, height), facecolor=PAPER)
    figure.text(0.012, 1 - 0.26 / height, heading, fontsize=11, fontweight="bold", va="center")
    figure.text(
        0.012,
        1 - 0.5 / height,
        "filled: as trained; hollow: after temperature scaling; bars: 95 % intervals over seeds",
        color=MUTED,
        va="center",
    )
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    figure.subplots_adjust(0.095, 0.5 / height, 0.985, 1 - 0.95 / height, wspace=0.09)
    for each, (metric, name, direction) in zip(axes, _PANELS, strict=True):
        each.set_title(name)
        each.set_xlabel(direction)
        for place, row in enumerate(rows):
            if metric != ACCURACY:
                _point(each, metric, row, place, scaled=True)
            _point(each, metric, row, place, scaled=False)
        each.grid(axis="x")
        each.set_axisbelow(True)
        each.spines["left"].set_visible(False)
        each.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9)
        each.margins(x=0.08)
    axes[0].set_yticks(range(len(rows)), [title(row.method) for row in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def write_summary_figure(rows: Sequence[Row], path: Path, *, heading: str) -> None:
    """Write the summary figure as SVG or PNG, by the ending of the path."""
    figure = summary_figure(rows, heading=heading)
    write_atomically(path, as_png(figure) if path.suffix == ".png" else standalone(figure).encode())


def as_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file, 1,920 pixels wide for the summary figure."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _point(axes: Axes, metric: Metric, row: Row, place: int, *, scaled: bool) -> None:
    mean: Mean = values(row, scaled=scaled)[metric.key]
    half = metric.scale * mean.half_width
    style = look(row.method)
    shift = 0.0 if metric == ACCURACY else (0.16 if scaled else -0.16)
    axes.errorbar(
        metric.scale * mean.value,
        place + shift,
        xerr=None if np.isnan(half) else half,
        color=style.light,
        marker=style.marker,
        markersize=6,
        markerfacecolor=PAPER if scaled else style.light,
        elinewidth=1.4,
        capsize=2.5,
    )
