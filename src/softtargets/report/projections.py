"""Pictures of the penultimate layer: a column for each method, a row for each part of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from softtargets.report.notation import title
from softtargets.report.palette import CLASSES, INK, MUTED, PAPER
from softtargets.report.svg import styled
from softtargets.representation import PenultimateProjection

_SIDE = 2.3  # inches of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 0.5, 0.1, 0.55, 0.25, 0.3
_HOLLOW: dict[str, Any] = {
    "markerfacecolor": PAPER,
    "markeredgecolor": INK,
    "markeredgewidth": 1.1,
}
_MARGIN = 0.06  # of the frame


@styled()
def projection_figure(
    projections: Mapping[str, Mapping[str, PenultimateProjection]], class_names: Sequence[str]
) -> Figure:
    """Samples and templates of three classes in the plane of the templates.

    All panels of a method share one scale, the same in both directions, and methods have scales of
    their own: what compares between them is shape, and size relative to the triangle.

    Args:
        projections: by method and then by part of the data ("training", ...), the same parts and
            classes for each method.
        class_names: names of the three classes, in their order.
    """
    parts = list(next(iter(projections.values())))
    width = _LEFT + len(projections) * _SIDE + (len(projections) - 1) * _GAP + _RIGHT
    height = _TOP + len(parts) * _SIDE + (len(parts) - 1) * _GAP + _BOTTOM
    figure = Figure(figsize=(width, height))
    for column, (method, by_part) in enumerate(projections.items()):
        centre, reach = _frame(list(by_part.values()))
        for row, part in enumerate(parts):
            left = _LEFT + column * (_SIDE + _GAP)
            bottom = _BOTTOM + (len(parts) - 1 - row) * (_SIDE + _GAP)
            place = (left / width, bottom / height, _SIDE / width, _SIDE / height)
            axes = figure.add_axes(place)
            _panel(axes, by_part[part])
            axes.set_xlim(centre[0] - reach, centre[0] + reach)
            axes.set_ylim(centre[1] - reach, centre[1] + reach)
            if row == 0:
                axes.set_title(title(method))
            if column == 0:
                axes.set_ylabel(part)
    hollow = Line2D([], [], linestyle="none", marker="o", markersize=6.5, **_HOLLOW)
    handles = [*figure.axes[0].get_legend_handles_labels()[0], hollow]
    figure.legend(
        handles,
        [*class_names, "template"],
        loc="upper left",
        bbox_to_anchor=(_LEFT / width, 1),
        ncols=len(handles),
        borderaxespad=0.2,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    return figure


def _panel(axes: Axes, projection: PenultimateProjection) -> None:
    coordinates = projection.coordinates.cpu().numpy()
    labels = projection.labels.cpu().numpy()
    corners = projection.templates.cpu().numpy()
    axes.fill(*corners.T, facecolor="none", edgecolor=MUTED, linewidth=0.8, zorder=1)
    for each, corner, style in zip(projection.classes, corners, CLASSES, strict=True):
        axes.plot(
            *coordinates[labels == each].T,
            linestyle="none",
            marker=style.marker,
            markersize=3,
            markeredgewidth=0,
            color=style.light,
            alpha=0.6,
            label=str(each),
        )
        axes.plot(
            *corner,
            linestyle="none",
            marker=style.marker,
            markersize=6.5,
            zorder=3,
            **_HOLLOW,
        )
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="y", pad=1)


def _frame(projections: list[PenultimateProjection]) -> tuple[np.ndarray, float]:
    """Centre and half the side of the square that holds every point."""
    points = np.concatenate(
        [np.concatenate([each.coordinates.cpu(), each.templates.cpu()]) for each in projections]
    )
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, (1 + 2 * _MARGIN) * float((high - low).max()) / 2
