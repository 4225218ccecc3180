"""The noise as it was estimated, beside the noise that was drawn."""

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from softtargets.lab.compare import Comparison
from softtargets.lab.summary import Row
from softtargets.report.figures import WIDTH
from softtargets.report.notation import PERCENT, decimal, title
from softtargets.report.svg import inline, styled

MOST_CLASSES = 200  # more could not be told apart in a picture
_MOST_NUMBERS = 12
_LEAST_PRINTED = 0.005
_DARK, _PALE = "#101010", "#fdfdfd"  # on the colours of a map, the same in a dark page
_LUMINANCE, _MIDDLE = (0.2126, 0.7152, 0.0722), 0.18

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """What a page says of the noise that a method estimated.

    Attributes:
        method: which.
        told: how near it came, in a sentence.
        figures: drawn, estimated and the difference, of the first seed; none for many classes.
    """

    method: str
    told: str
    figures: list[Markup]


def estimations(comparison: Comparison, rows: list[Row]) -> list[Estimation]:
    """Return what there is to say of every method that estimates the noise.

    Args:
        comparison: finished runs.
        rows: their summary.
    """
    return [
        Estimation(
            method=row.method,
            told=_told(comparison, row),
            figures=_figures(comparison.arrays(row.method)[0], row.method),
        )
        for row in rows
        if row.transition_error is not None
    ]


def estimation_lines(comparison: Comparison, rows: list[Row]) -> list[str]:
    """Return, for a terminal, how near each estimate of the noise came.

    Args:
        comparison: finished runs.
        rows: their summary.
    """
    return [
        f"{title(row.method)}: {_told(comparison, row)}".replace(PERCENT[0], " ")
        for row in rows
        if row.transition_error is not None
    ]


def _told(comparison: Comparison, row: Row) -> str:
    error = row.transition_error
    assert error is not None
    drawn = [each["transition_drawn"] for each in comparison.arrays(row.method)]
    none = np.mean([np.abs(each - np.eye(len(each))).sum(-1).mean() for each in drawn])
    half = "" if math.isnan(error.half_width) else f" ± {decimal(error.half_width, 2)}"
    return (
        f"a row of the estimated noise is {decimal(error.value, 2)}{half} away from that of the "
        f"true noise (L1, mean over classes, at most 2); assuming no noise would be "
        f"{decimal(float(none), 2)}."
    )


def _figures(arrays: dict[str, Matrix], method: str) -> list[Markup]:
    drawn, estimated = arrays["transition_drawn"], arrays["transition_estimated"]
    if len(drawn) > MOST_CLASSES:
        return []
    maps = {"true": drawn, "estimated": estimated}
    made = [(name, transition_map(each, f"{name} noise")) for name, each in maps.items()]
    made.append(("difference", difference_map(estimated - drawn)))
    words = {"difference": "Estimated less true noise"}
    return [
        Markup(
            inline(
                figure,
                f"transition-{method}-{name}",
                f"{words.get(name, f'The {name} noise')}, class by class, of {title(method)}",
            )
        )
        for name, figure in made
    ]


def transition_map(matrix: Matrix, heading: str) -> Figure:
    """The matrix as colours from 0 to 1, which grow with the square root.

    Args:
        matrix: `(K, K)`, rows sum to 1.
        heading: above it.
    """
    return _map(matrix, heading.capitalize(), "Blues", PowerNorm(0.5, 0, 1), signed=False)


def difference_map(matrix: Matrix) -> Figure:
    """The difference of two matrices as colours, as far as the largest entry.

    Args:
        matrix: `(K, K)`.
    """
    most = max(float(np.abs(matrix).max()), _LEAST_PRINTED)
    return _map(matrix, "Estimated − true", "PuOr", Normalize(-most, most), signed=True)


@styled()
def _map(matrix: Matrix, heading: str, colours: str, norm: Normalize, *, signed: bool) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.3))
    axes = figure.add_axes((0.13, 0.13, 0.70, 0.74))
    axes.set_title(heading)
    image = axes.imshow(matrix, cmap=colours, norm=norm, interpolation="none", aspect="auto")
    axes.set(xlabel="label as given", ylabel="true class")
    classes = len(matrix)
    if classes <= _MOST_NUMBERS:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        _numbers(axes, matrix, signed=signed)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, cax=figure.add_axes((0.855, 0.13, 0.03, 0.74)))
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    if not signed:
        bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1])
    return figure


def _numbers(axes: Axes, matrix: Matrix, *, signed: bool) -> None:
    """Entries in whole per cent, those that are 0 left out."""
    [image] = axes.images
    for (row, column), entry in np.ndenumerate(matrix):
        if abs(entry) < _LEAST_PRINTED:
            continue
        luminance = float(np.dot(_LUMINANCE, np.power(image.to_rgba(np.asarray(entry))[:3], 2.2)))
        text = decimal(100 * entry, 0, signed=signed)
        colour = _PALE if luminance < _MIDDLE else _DARK
        axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
