"""What each method's target looks like for one training sample, and that sample's picture."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from softtargets.lab.compare import Comparison
from softtargets.lab.records import Example
from softtargets.report.figures import WIDTH
from softtargets.report.notation import decimal, title
from softtargets.report.palette import look
from softtargets.report.svg import styled

_MOST_BARS = 12
_LEAST_PRINTED = 0.0005
_ROOM = 48  # characters below the bars
_PLACES = 6  # so that float32 noise in a target decides nothing


def chosen_examples(comparison: Comparison) -> dict[str, Example]:
    """Return, by method, the stored example of the first seed that shows most of all methods.

    It is the one on which the method that stays closest to the label moves most; then the one on
    which all of them together do. Methods that keep the label in every example have no say.
    """
    first = stored_examples(comparison)
    places = range(min(len(examples) for examples in first.values()))
    smoothed = [
        examples for examples in first.values() if not all(keeps_label(each) for each in examples)
    ]

    def moved(place: int) -> tuple[float, float]:
        moves = [distance_to_label(examples[place]) for examples in smoothed] or [0.0]
        return round(min(moves), _PLACES), round(math.fsum(moves), _PLACES)

    best = max(places, key=moved)
    return {method: examples[best] for method, examples in first.items()}


def stored_examples(comparison: Comparison) -> dict[str, list[Example]]:
    """Return, by method, the examples of the first seed."""
    return {method: comparison.records(method)[0].examples for method in comparison.runs}


def distance_to_label(example: Example) -> float:
    """Return how far the target is from the hard one: the sum of the absolute differences."""
    hard = np.eye(len(example.target))[example.label]
    return float(np.abs(np.array(example.target) - hard).sum())


def keeps_label(example: Example) -> bool:
    """Return whether, as far as is printed, the target is the label alone."""
    return distance_to_label(example) < 2 * _LEAST_PRINTED


def shown_classes(examples: dict[str, Example]) -> list[int]:
    """Return the classes to draw: all, or those that get most from any method."""
    most = np.max([example.target for example in examples.values()], axis=0)
    if len(most) <= _MOST_BARS:
        return list(range(len(most)))
    return sorted(int(index) for index in np.argsort(-most, kind="stable")[:_MOST_BARS])


def drawn_names(names: tuple[str, ...] | None, classes: list[int]) -> dict[int, str]:
    """Return what is written below the bars of these classes: names, or numbers for want of room.

    Args:
        names: of all classes, if they have any.
        classes: that are drawn.
    """
    numbers = {each: str(each) for each in classes}
    if names is None:
        return numbers
    longest = max(len(names[each]) for each in classes)
    room = (1 + longest) * len(classes) <= _ROOM
    return {each: names[each] for each in classes} if room else numbers


@styled()
def target_bars(example: Example, method: str, names: dict[int, str]) -> Figure:
    """The entries of a target by class, each with its value in per cent unless that is 0.0."""
    figure = Figure(figsize=(WIDTH, 1.9))
    axes = figure.add_axes((0.13, 0.2, 0.85, 0.64))
    axes.set_title(title(method))
    entries = [example.target[index] for index in names]
    places = range(len(names))
    axes.bar(places, entries, 0.78, color=look(method).light)
    for place, entry in zip(places, entries, strict=True):
        if abs(entry) >= _LEAST_PRINTED:
            text = decimal(100 * entry, 1 if abs(entry) < 0.0995 else 0)
            axes.text(place, max(entry, 0) + 0.03, text, ha="center", fontsize=6.5)
    axes.set_xticks(list(places), list(names.values()))
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(min(0, *entries), 0.15 + max(1, *entries))
    axes.set_yticks([0, 0.5, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel("class", labelpad=1)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return figure


@styled()
def sample_picture(image: NDArray[np.float64]) -> Figure:
    """The sample; grey ones dark on light."""
    height, width = image.shape[:2]
    figure = Figure(figsize=(1.6, 1.6 * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="none", aspect="auto")
    axes.set_axis_off()
    return figure
