"""All figures of the page, as inline SVG, each with its name and its description in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure
from msgspec import UNSET

from softtargets.lab.compare import Comparison
from softtargets.lab.methods import BASELINE
from softtargets.lab.records import Example
from softtargets.lab.summary import METRICS
from softtargets.report.conclusion import says
from softtargets.report.figures import (
    CURVES,
    confidence_histogram,
    difference_plot,
    reliability_diagram,
    training_curve,
)
from softtargets.report.grouping import Group, grouped
from softtargets.report.notation import change, listed, percentage, title
from softtargets.report.predictions import Predictions
from softtargets.report.svg import inline
from softtargets.report.targets import (
    chosen_examples,
    drawn_names,
    keeps_label,
    sample_picture,
    shown_classes,
    stored_examples,
    target_bars,
)
from softtargets.report.verdict import Board

STATES = {False: "as trained", True: "after temperature scaling"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The figures.

    Attributes:
        reliability: per state, one diagram per method.
        histograms: per method, as trained.
        curves: per group of methods, one per measure.
        differences: per metric; none where nothing can be compared.
        targets: per method whose target is not the label alone, and hard labels.
        kept: titles of the others.
        sample: picture of the sample of `targets`, or None.
        text: the sample itself, where it is a text; else None.
        example: that sample.
        labels: names of its label and of its true one.
        numbered: classes of `targets` with their names, where their numbers are drawn; "" if none.
        stored: how many samples it was chosen from.
        all_classes: whether `targets` show all classes.
    """

    reliability: list[tuple[str, list[Markup]]]
    histograms: list[Markup]
    curves: list[tuple[Group, list[Markup]]]
    differences: list[Markup]
    targets: list[tuple[str, Markup]]
    kept: list[str]
    sample: Markup | None
    text: str | None
    example: Example
    labels: tuple[str, str]
    numbered: str
    stored: int
    all_classes: bool


def draw_gallery(
    comparison: Comparison,
    board: Board,
    predicted: Mapping[bool, Mapping[str, Predictions]],
) -> Gallery:
    """Draw everything.

    Args:
        comparison: finished runs.
        board: their summary.
        predicted: predictions by method, as trained (False) and after scaling (True).
    """
    examples = chosen_examples(comparison)
    example = next(iter(examples.values()))
    classes = shown_classes(examples)
    image = comparison.data.pictures.get(example.index)
    texts = comparison.data.texts
    names = drawn_names(None if texts is UNSET else texts.class_names, classes)
    return Gallery(
        reliability=[
            (state, _reliability(predicted[scaled], state)) for scaled, state in STATES.items()
        ],
        histograms=[_histogram(method, each) for method, each in predicted[False].items()],
        curves=[
            (group, _curves(comparison, group, place))
            for place, group in enumerate(grouped(comparison.runs))
        ],
        differences=_differences(board),
        targets=[
            (method, _target(each, method, names))
            for method, each in examples.items()
            if method == BASELINE or not keeps_label(each)
        ],
        kept=[
            title(method)
            for method, each in examples.items()
            if method != BASELINE and keeps_label(each)
        ],
        sample=None
        if image is None
        else _svg(sample_picture(image.array()), "sample", f"training sample {example.index}"),
        text=None if texts is UNSET else texts.train[example.index],
        example=example,
        labels=(_name(comparison, example.label), _name(comparison, example.true_label)),
        numbered=_numbered(comparison, names),
        stored=min(map(len, stored_examples(comparison).values())),
        all_classes=len(classes) == comparison.data.num_classes,
    )


def _svg(figure: Figure, name: str, label: str) -> Markup:
    # The text of a figure was escaped when it was written as XML, the label by `inline`.
    return Markup(inline(figure, name.replace("_", "-").replace(" ", "-"), label))


def _curves(comparison: Comparison, group: Group, place: int) -> list[Markup]:
    told = listed([title(method) for method in group.methods])
    return [
        _svg(
            training_curve(comparison, measure, group.methods),
            f"{measure}-{place}",
            f"{heading[0]} by epoch of {told}",
        )
        for measure, heading in CURVES.items()
    ]


def _reliability(predicted: Mapping[str, Predictions], state: str) -> list[Markup]:
    return [
        _svg(
            reliability_diagram(each, method),
            f"reliability-{method}-{state}",
            f"Reliability diagram of {title(method)} {state}: it {says(method, each.confidence)}",
        )
        for method, each in predicted.items()
    ]


def _histogram(method: str, each: Predictions) -> Markup:
    right = int(each.pooled.outcome_sums.sum())
    wrong = int(each.pooled.counts.sum()) - right
    label = (
        f"Confidence histogram of {title(method)} as trained: {right:,} right and {wrong:,} wrong "
        f"predictions, mean confidence {percentage(each.confidence.says.value)}"
    )
    return _svg(confidence_histogram(each, method), f"histogram-{method}", label)


def _differences(board: Board) -> list[Markup]:
    rows = board.others
    if board.baseline is None or not rows:
        return []
    drawn = []
    for metric in METRICS:
        told = ", ".join(
            f"{title(row.method)} {change(metric, row.plain_difference[metric.key])}"
            for row in rows
        )
        label = f"Differences to hard labels in {metric.title} as trained: {told}"
        drawn.append(_svg(difference_plot(board, metric), f"difference-{metric.key}", label))
    return drawn


def _name(comparison: Comparison, label: int) -> str:
    """The name of a class, of texts, or its number."""
    texts = comparison.data.texts
    return str(label) if texts is UNSET else texts.class_names[label]


def _numbered(comparison: Comparison, drawn: dict[int, str]) -> str:
    """Classes with their names, of texts whose classes are drawn by number."""
    texts = comparison.data.texts
    if texts is UNSET or all(texts.class_names[index] == name for index, name in drawn.items()):
        return ""
    return ", ".join(f"{index} {texts.class_names[index]}" for index in drawn)


def _target(example: Example, method: str, names: dict[int, str]) -> Markup:
    told = ", ".join(
        f"class {name} {percentage(example.target[index])}" for index, name in names.items()
    )
    label = f"Target that {title(method)} gives: {told}"
    return _svg(target_bars(example, method, names), f"target-{method}", label)
