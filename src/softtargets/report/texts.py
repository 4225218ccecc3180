"""Test texts with what each method says of them."""

from dataclasses import dataclass

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray
from scipy.special import softmax

from softtargets.lab.compare import Comparison
from softtargets.report.cells import Cell, Sheet
from softtargets.report.notation import percentage

_MOST = 3  # of each kind
_PLACES = 6

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextExample:
    """A test text.

    Attributes:
        text: the text, a long one shortened.
        label: name of its class.
        sheet: what each method says of it.
    """

    text: str
    label: str
    sheet: Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What a method says of the stored test texts, by seed and text.

    Attributes:
        classes: predicted.
        confidence: of the prediction, as trained.
        scaled: the same after temperature scaling.
        right: whether the label is predicted.
    """

    classes: NDArray[np.int64]
    confidence: Matrix
    scaled: Matrix
    right: NDArray[np.bool_]


def text_examples(comparison: Comparison) -> list[tuple[str, list[TextExample]]]:
    """Return test texts under headings; none where the data are no texts.

    First those on whose confidence the methods differ most, then those of which all of them
    together are wrong and surest, both by means over seeds.

    Args:
        comparison: finished runs.
    """
    texts = comparison.data.texts
    if texts is UNSET:
        return []
    places = list(texts.test)
    answers = {method: _answers(comparison, method, places) for method in comparison.runs}
    means = np.stack([each.confidence.mean(0) for each in answers.values()])
    errors = np.stack([(each.confidence * ~each.right).mean(0) for each in answers.values()])
    differing = _largest(np.ptp(means, axis=0), set())
    wrong = _largest(errors.mean(0), set(differing))
    labels = comparison.arrays(next(iter(comparison.runs)))[0]["test_labels"]
    groups = {
        "Where the methods’ confidence differs most": differing,
        "Wrong, and sure of it": wrong,
    }
    return [
        (
            heading,
            [
                TextExample(
                    text=texts.test[places[column]],
                    label=texts.class_names[labels[places[column]]],
                    sheet=_sheet(answers, column, texts.class_names),
                )
                for column in columns
            ],
        )
        for heading, columns in groups.items()
        if columns
    ]


def _answers(comparison: Comparison, method: str, places: list[int]) -> _Answers:
    arrays = comparison.arrays(method)
    logits = np.stack([each["test_logits"][places] for each in arrays]).astype(np.float64)
    labels = arrays[0]["test_labels"][places]
    temperatures = np.array([record.temperature for record in comparison.records(method)])
    classes = logits.argmax(-1)
    return _Answers(
        classes=classes,
        confidence=softmax(logits, axis=-1).max(-1),
        scaled=softmax(logits / temperatures[:, None, None], axis=-1).max(-1),
        right=classes == labels,
    )


def _largest(scores: NDArray[np.float64], without: set[int]) -> list[int]:
    """Return up to three texts, of equal ones the first; none whose score is 0."""
    order = np.argsort(-scores.round(_PLACES), kind="stable").tolist()
    return [each for each in order if scores[each] >= 10**-_PLACES and each not in without][:_MOST]


def _sheet(answers: dict[str, _Answers], column: int, names: tuple[str, ...]) -> Sheet:
    """The first seed's answer, and how many seeds are right."""
    seeds = len(next(iter(answers.values())).right)
    heads = ["says", "confidence as trained", "after scaling"]
    lines = []
    for method, each in answers.items():
        said, sure = names[each.classes[0, column]], each.confidence[0, column]
        cells = [
            Cell(text=said, verdict="" if each.right[0, column] else "wrong"),
            Cell(text=percentage(sure)),
            Cell(text=percentage(each.scaled[0, column])),
        ]
        if seeds > 1:
            cells.append(Cell(text=f"{each.right[:, column].sum()} of {seeds}"))
        lines.append((method, cells))
    return Sheet(columns=heads + ["seeds that are right"] * (seeds > 1), lines=lines)
