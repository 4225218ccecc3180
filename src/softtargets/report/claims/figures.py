"""The picture of a claim: its effects beside what was claimed, and what they are made of."""

import math
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softtargets.claims.record import ClaimRecord, ClaimsRecord, EffectRecord, Panel
from softtargets.lab.output import made
from softtargets.lab.records import write_atomically
from softtargets.report.claims.words import amount
from softtargets.report.palette import INK, MUTED, RULE, hues
from softtargets.report.svg import standalone, styled

WIDTH, SIDE_BY_SIDE = 3.6, 2  # inches of each panel, and how many stand beside each other
_BELOW, _EDGES = 0.52, 1.02  # inches below the axes, and above and below them together
_ROW = 0.4  # inches of an effect
_TITLE = 44  # letters in a line of a title
_MARKERS = "os^DvPX*"
_COLOURS = {"supported": "green", "refuted": "vermilion", "undecided": "grey"}


@styled()
def claim_figure(claim: ClaimRecord) -> Figure:
    """Return the effects with their ranges, followed by the claim's panels.

    Args:
        claim: a judged claim.
    """
    sizes = [len(claim.effects), *(_height(panel) for panel in claim.panels)]
    rows = [sizes[at : at + SIDE_BY_SIDE] for at in range(0, len(sizes), SIDE_BY_SIDE)]
    heights = [_EDGES + _ROW * max(2, *row) for row in rows]
    width, height = WIDTH * min(len(sizes), SIDE_BY_SIDE), sum(heights)
    figure = Figure(figsize=(width, height))
    for place in range(len(sizes)):
        row, column = divmod(place, SIDE_BY_SIDE)
        left = (column + (0.06 if place == 0 else 0.16)) * WIDTH
        bottom = height - sum(heights[: row + 1]) + _BELOW
        axes = figure.add_axes(
            (
                left / width,
                bottom / height,
                0.78 * WIDTH / width,
                (heights[row] - _EDGES) / height,
            )
        )
        if place == 0:
            _effects(axes, claim.effects)
        else:
            _panel(axes, claim.panels[place - 1])
    return figure


def draw(claim: ClaimRecord) -> str:
    """Return the picture as an SVG document."""
    return standalone(claim_figure(claim))


def write_figures(record: ClaimsRecord, folder: Path) -> None:
    """Write the picture of each claim that was run, as NAME.svg.

    Args:
        record: of claims.
        folder: made if it is not there.

    Raises:
        LabError: the folder or a file cannot be written.
    """
    made(folder)
    for claim in record.claims:
        if claim.skipped is None:
            write_atomically(folder / f"{claim.name}.svg", draw(claim).encode())


def _height(panel: Panel) -> int:
    return len(panel.series) if panel.kind == "levels" else 6


def _effects(axes: Axes, effects: list[EffectRecord]) -> None:
    """One row per effect, each on an axis of its own: the range is shaded, the interval drawn."""
    axes.set_title("effects, and the range claimed (shaded)", fontsize=8)
    for place, effect in enumerate(effects):
        _effect(axes, effect, place)
    rows = axes.get_position().height * axes.figure.get_figheight() / _ROW  # type: ignore[union-attr]
    axes.set(xlim=(-1.15, 1.15), ylim=(rows - 0.65, -0.65), xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)


def _effect(axes: Axes, effect: EffectRecord, place: int) -> None:
    """One effect, its row scaled so that 0, the ends of the range and the interval are in it."""
    known = (effect.value, effect.low, effect.high, effect.above, effect.below, 0.0)
    reach = max(abs(each) for each in known if each is not None) or 1.0
    above = -math.inf if effect.above is None else effect.above
    below = math.inf if effect.below is None else effect.below
    ends = [min(max(each / reach, -1.15), 1.15) for each in (above, below)]
    axes.barh(place + 0.14, ends[1] - ends[0], 0.34, left=ends[0], color=RULE, alpha=0.8)
    axes.plot([0, 0], [place - 0.03, place + 0.31], color=MUTED, linewidth=0.8)
    colour = hues()[_COLOURS[effect.verdict]]
    axes.plot(effect.value / reach, place + 0.14, "o", color=colour, markersize=4.5)
    if effect.low is not None and effect.high is not None:
        axes.plot([effect.low / reach, effect.high / reach], [place + 0.14] * 2, color=colour)
    name = f"{effect.name}{' (condition)' if effect.condition else ''}"
    axes.text(-1.12, place - 0.16, f"{name}: {amount(effect)}", fontsize=7, color=INK)


def _panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(textwrap.fill(panel.title, _TITLE), fontsize=8)
    colours = list(hues().values())
    for place, series in enumerate(panel.series):
        look: dict[str, Any] = {
            "color": colours[place % len(colours)],
            "marker": _MARKERS[place % len(_MARKERS)],
        }
        if panel.kind == "points":
            axes.plot(
                series.x, series.y, linestyle="none", markersize=2.5, label=series.label, **look
            )
            continue
        x, y = (series.y, [place + 0.16]) if panel.kind == "levels" else (series.x, series.y)
        reach = _reach(series.y, series.low, series.high)
        error: dict[str, Any] = {"xerr" if panel.kind == "levels" else "yerr": reach}
        axes.errorbar(
            x,
            y,
            markersize=4,
            elinewidth=1,
            capsize=2,
            linewidth=1,
            label=series.label,
            **look,
            **error,
        )
    if panel.kind == "levels":
        _named_levels(axes, [each.label for each in panel.series])
        return
    if panel.kind == "points":
        axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(panel.x_label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")
    axes.legend(fontsize=7)


def _named_levels(axes: Axes, names: list[str]) -> None:
    """Write the names of levels above their marks, so that none is too long for its place."""
    for place, name in enumerate(names):
        axes.text(
            0, place - 0.14, name, fontsize=7, color=INK, transform=axes.get_yaxis_transform()
        )
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _reach(
    values: list[float], low: list[float | None], high: list[float | None]
) -> list[list[float]] | None:
    if not low or None in low or None in high:
        return None
    return [
        [max(0.0, value - end) for value, end in zip(values, low, strict=True) if end is not None],
        [max(0.0, end - value) for value, end in zip(values, high, strict=True) if end is not None],
    ]
