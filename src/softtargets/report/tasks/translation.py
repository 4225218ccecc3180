"""Translation as tables and page show it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure

from softtargets.calibration import BinStatistics
from softtargets.lab.summary import Metric
from softtargets.lab.task_compare import TaskComparison
from softtargets.lab.translation.kind import bleu
from softtargets.lab.translation.record import SentenceExample, TranslationRecord
from softtargets.report.cells import Sheet
from softtargets.report.figures import WIDTH
from softtargets.report.grouping import Group
from softtargets.report.notation import CALIBRATION, LIKELIHOOD, counted, listed, percentage
from softtargets.report.palette import look
from softtargets.report.svg import inline, styled
from softtargets.report.tasks.sheets import mean_cell
from softtargets.report.tasks.view import AbstractTaskView, Extra
from softtargets.report.verdict import Board

UNSURE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of a translation, or several that share a character.

    Attributes:
        gap: blanks before it.
        text: without them.
        confidence: "83 %", the model's probability of it, of several the product.
        shade: how strongly it is shaded, in per cent: the less sure, the stronger.
        unsure: whether its probability is below a half.
    """

    gap: str
    text: str
    confidence: str
    shade: int
    unsure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A test sentence with the translations of all methods.

    Attributes:
        number: in the test part, from 1.
        source: to translate.
        reference: a person's translation.
        translations: by method, its tokens and whether they are the reference word for word.
    """

    number: int
    source: str
    reference: str
    translations: list[tuple[str, list[Token], bool]]


class TranslationView(AbstractTaskView):
    """Sentences with the confidence of every token."""

    template = "translation.html.jinja"
    task = "translation"
    sample = "sentence"
    event = "token"
    curves: ClassVar[Mapping[str, tuple[str, float]]] = {
        "validation_nll": ("Validation NLL per token", 1.0),
        "validation_accuracy": ("Validation accuracy of next tokens, %", 100.0),
        "loss": ("Training loss, each method's own", 1.0),
    }

    def glance(self, board: Board) -> tuple[tuple[Metric, bool], ...]:
        return (
            (board.metrics[0], False),
            (LIKELIHOOD, False),
            (CALIBRATION, False),
            (LIKELIHOOD, True),
            (CALIBRATION, True),
        )

    def bins(self, arrays: Mapping[str, Any], *, scaled: bool) -> BinStatistics:
        prefix = "scaled_token" if scaled else "token"
        return BinStatistics.from_scores(
            torch.from_numpy(arrays[f"{prefix}_confidence"]).double(),
            torch.from_numpy(arrays[f"{prefix}_right"]),
        )

    def groups(self, methods: Iterable[str]) -> list[Group]:
        return [Group(heading="", methods=list(methods))]

    def extras(self, comparison: TaskComparison, board: Board) -> list[Extra]:
        widths = sorted(comparison.spec.beams)
        if len(widths) == 1:
            return []
        metrics = [bleu(width) for width in widths]
        top = {
            metric.key: max(row.plain[metric.key].value for row in board.rows) for metric in metrics
        }
        lines = [
            (
                row.method,
                [
                    mean_cell(
                        metric,
                        row.plain[metric.key],
                        best=len(board.rows) > 1 and row.plain[metric.key].value == top[metric.key],
                    )
                    for metric in metrics
                ],
            )
            for row in board.rows
        ]
        told = "; ".join(
            f"{board.title(row.method)} {', '.join(cell.text for cell in cells)}"
            for row, (_, cells) in zip(board.rows, lines, strict=True)
        )
        label = f"BLEU at beam widths {listed([str(width) for width in widths])}: {told}"
        return [
            Extra(
                name="widths",
                heading="BLEU by beam width",
                text="A wider beam finds more probable translations, which need not be better "
                "ones: where a model's probabilities are off, BLEU falls again as the beam gets "
                "wider.",
                first="beam width",
                sheet=Sheet(columns=[str(width) for width in widths], lines=lines),
                figures=[Markup(inline(width_figure(board, widths), "bleu-by-width", label))],
            )
        ]

    def notes(self, comparison: TaskComparison) -> list[str]:
        signatures = {
            text: None
            for method in comparison.runs
            for record in _records(comparison, method)
            for text in record.signatures
        }
        return [f"sacrebleu: {', '.join(signatures)}"]

    def facts(self, comparison: TaskComparison) -> list[tuple[str, str]]:
        spec = comparison.spec
        first = _records(comparison, next(iter(comparison.runs)))[0]
        return [
            (
                "Model",
                f"Transformer with {counted(spec.layers, 'layer')} in encoder and decoder each, "
                f"width {spec.width}, {counted(spec.heads, 'head')}, feed-forward width "
                f"{spec.feed_forward}, dropout {spec.dropout:g}; {spec.vocabulary:,} byte-level "
                f"subwords of both languages, learned from the training part; {first.parameters:,} "
                "parameters, embedding and output layer in one.",
            ),
            (
                "Optimiser",
                f"AdamW, learning rate up to {spec.learning_rate:g}, rising for "
                f"{percentage(spec.warm_up, 0)} of the steps and falling to 0 along a cosine, "
                f"weight decay {spec.weight_decay:g}, batches of at most {spec.batch_tokens} "
                f"positions a side, gradients scaled down to a norm of {spec.clip:g}. The same for "
                "all methods.",
            ),
            (
                "Search",
                f"Beams of width {listed([str(width) for width in sorted(spec.beams)])}, stopped "
                "only when nothing better can follow, length penalty with exponent "
                f"{spec.penalty:g}. {_forced(comparison)}",
            ),
            (
                "Scores",
                "BLEU and chrF of the whole test part against one reference each, "
                f"{listed(self.notes(comparison))}. NLL, accuracy and calibration are of each next "
                "token given the reference before it, ends of sentences included.",
            ),
        ]

    def examples(self, comparison: TaskComparison, board: Board) -> list[Sentence]:
        by_method = {method: _records(comparison, method)[0].examples for method in comparison.runs}
        first = next(iter(by_method.values()))
        return [
            Sentence(
                number=example.index + 1,
                source=example.source,
                reference=example.reference,
                translations=[
                    (method, tokens(found[place]), found[place].translation == example.reference)
                    for method, found in by_method.items()
                ],
            )
            for place, example in enumerate(first)
        ]


def tokens(example: SentenceExample) -> list[Token]:
    """Return the tokens of a translation as they are shown, those that share a character as one.

    Args:
        example: a sentence and its translation.
    """
    found = []
    for piece, confidence in _whole(example):
        text = piece.lstrip()
        found.append(
            Token(
                gap=piece[: len(piece) - len(text)],
                text=text,
                confidence=percentage(confidence, 0),
                shade=round(100 * (1 - confidence)),
                unsure=confidence < UNSURE,
            )
        )
    return found


@styled()
def width_figure(board: Board, widths: list[int]) -> Figure:
    """BLEU by beam width, means over seeds with their intervals.

    Args:
        board: the rows.
        widths: of the beams.
    """
    figure = Figure(figsize=(1.6 * WIDTH, 2.9))
    axes = figure.add_axes((0.09, 0.15, 0.88, 0.75))
    axes.set_title("BLEU")
    places = np.arange(len(widths))
    for shift, row in enumerate(board.rows):
        means = [row.plain[bleu(width).key] for width in widths]
        half = np.array([mean.half_width for mean in means])
        axes.errorbar(
            places + 0.06 * (shift - (len(board.rows) - 1) / 2),
            [mean.value for mean in means],
            yerr=None if np.isnan(half).any() else half,
            color=look(row.method).light,
            linestyle=look(row.method).dash,
            marker=look(row.method).marker,
            markersize=4.5,
            elinewidth=1,
            capsize=2,
        )
    axes.set_xticks(places, [str(width) for width in widths])
    axes.set_xlabel("beam width")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return figure


def _whole(example: SentenceExample) -> list[tuple[str, float]]:
    """Texts of whole characters, each with the product of its tokens' confidences.

    Tokens that do not make the translation stay as they are.
    """
    *pieces, end = example.tokens
    *confidences, last = example.confidences
    data = example.translation.encode()
    found, start, product = [], 0, 1.0
    for stops, confidence in zip(_stops(pieces, data), confidences, strict=True):
        if not stops:
            return list(zip(example.tokens, example.confidences, strict=True))
        product *= confidence
        stop = min(stops)
        inside = stop < len(data) and data[stop] & 0xC0 == 0x80  # of a character
        if len(stops) == 1 and not inside:
            found.append((data[start:stop].decode(), product))
            start, product = stop, 1.0
    return [*found, (end, last)]


def _stops(pieces: list[str], data: bytes) -> list[set[int]]:
    """Where in the bytes of a text each of its pieces may stop; nowhere if they do not make it.

    A piece has U+FFFD for bytes that are a part of a character, one for up to three of them, so
    that there may be several such places.
    """
    steps: list[set[tuple[int, int]]] = []
    reached = {0}
    for piece in pieces:
        steps.append(
            {
                (start, stop)
                for start in reached
                for stop in range(start + 1, start + len(piece.encode()) + 1)
                if data[start:stop].decode(errors="replace") == piece
            }
        )
        reached = {stop for _, stop in steps[-1]}
    stops, allowed = [], {len(data)}
    for each in reversed(steps):
        kept = {(start, stop) for start, stop in each if stop in allowed}
        stops.append({stop for _, stop in kept})
        allowed = {start for start, _ in kept}
    return stops[::-1]


def _records(comparison: TaskComparison, method: str) -> list[TranslationRecord]:
    return [record for _, record in comparison.runs[method]]


def _forced(comparison: TaskComparison) -> str:
    searches = [
        search
        for method in comparison.runs
        for record in _records(comparison, method)
        for search in record.searches
    ]
    count = sum(search.forced for search in searches)
    total = len(searches) * comparison.data.test
    return (
        f"{counted(count, 'translation')} of {total:,} ended at the limit, twice the source's "
        "tokens and 10, and not of themselves."
        if count
        else f"All {total:,} translations ended of themselves."
    )


VIEW = TranslationView()
