"""Segmentation as tables and page show it."""

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb, to_rgb

from softtargets.calibration import BinStatistics
from softtargets.lab.segmentation.comparing import COLUMNS, LEFT_OUT, class_metric
from softtargets.lab.segmentation.methods import BASELINE, LOSSES, METHODS
from softtargets.lab.segmentation.record import SegmentationRecord
from softtargets.lab.summary import Metric
from softtargets.lab.task_compare import TaskComparison
from softtargets.report.cells import Sheet
from softtargets.report.grouping import Group, divided
from softtargets.report.notation import CALIBRATION, LIKELIHOOD, counted, percentage
from softtargets.report.palette import hues
from softtargets.report.tasks.sheets import mean_cell
from softtargets.report.tasks.view import AbstractTaskView, Extra
from softtargets.report.verdict import Board

VOID = "#000000"
_LEVELS = 32  # of confidence that a map tells apart
_TURN = 0.618034  # of the colour circle, so that many colours stay apart
_BOUNDARY = next(metric for metric in COLUMNS if metric.key.startswith("boundary_expected"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of the page.

    Attributes:
        source: as a data URI.
        told: what it shows, for who cannot see it.
        caption: beneath it.
    """

    source: str
    told: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A test image with what all methods say of it.

    Attributes:
        number: in the test part, from 1.
        given: the image and its mask.
        said: by method, prediction and confidence.
    """

    number: int
    given: list[Picture]
    said: list[tuple[str, list[Picture]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What the page shows of single images.

    Attributes:
        legend: classes with their colours, void the last.
        scenes: the images.
    """

    legend: list[tuple[str, str]]
    scenes: list[Scene]


class SegmentationView(AbstractTaskView):
    """Images with masks, predictions and confidence maps."""

    template = "segmentation.html.jinja"
    task = "segmentation"
    sample = "image"
    event = "pixel"
    curves: ClassVar[Mapping[str, tuple[str, float]]] = {
        "validation_mean_iou": ("Validation mean IoU, %", 100.0),
        "validation_nll": ("Validation NLL per pixel", 1.0),
        "validation_accuracy": ("Validation accuracy of pixels, %", 100.0),
        "loss": ("Training loss, each method's own", 1.0),
    }

    def glance(self, board: Board) -> tuple[tuple[Metric, bool], ...]:
        return (
            (board.metrics[0], False),
            (LIKELIHOOD, False),
            (CALIBRATION, False),
            (_BOUNDARY, False),
            (CALIBRATION, True),
        )

    def bins(self, arrays: Mapping[str, Any], *, scaled: bool) -> BinStatistics:
        found = arrays["scaled_all_bins" if scaled else "all_bins"]
        counts, confidence, right = torch.from_numpy(found).double().sum(0).unbind(-1)
        return BinStatistics(
            edges=torch.linspace(0, 1, len(counts) + 1, dtype=torch.float64),
            counts=counts.long(),
            confidence_sums=confidence,
            outcome_sums=right,
        )

    def groups(self, methods: Iterable[str]) -> list[Group]:
        titles = [METHODS[loss].title for loss in LOSSES]
        return divided(methods, titles, lambda name: METHODS[METHODS[name].loss].title, BASELINE)

    def extras(self, comparison: TaskComparison, board: Board) -> list[Extra]:
        first = _records(comparison, next(iter(comparison.runs)))[0]
        metrics = [class_metric(each.name) for each in first.classes if each.pixels]
        lines = [
            (row.method, [mean_cell(metric, row.plain[metric.key]) for metric in metrics])
            for row in board.rows
        ]
        absent = [each.name for each in first.classes if not each.pixels]
        text = "Intersection over union of each class in the test part, in per cent."
        if absent:
            text += f" Not there: {', '.join(absent)}."
        return [
            Extra(
                name="classes",
                heading="Overlap by class",
                text=text,
                first="IoU %",
                sheet=Sheet(columns=[metric.title for metric in metrics], lines=lines),
                figures=[],
            )
        ]

    def notes(self, comparison: TaskComparison) -> list[str]:
        left_out = [text for term, text in comparison.data.facts if term == LEFT_OUT]
        return [_boundaries(comparison), *(f"{LEFT_OUT}: {text}" for text in left_out)]

    def facts(self, comparison: TaskComparison) -> list[tuple[str, str]]:
        spec = comparison.spec
        first = _records(comparison, next(iter(comparison.runs)))[0]
        flipped = " Half of the training images are mirrored." if spec.flip else ""
        sampled = ", ".join(f"{zone} {count:,}" for zone, count in first.sampled.items())
        return [
            (
                "Model",
                f"U-Net, {spec.width} channels at full size, halved {counted(spec.depth, 'time')}; "
                f"{first.parameters:,} parameters.",
            ),
            (
                "Optimiser",
                f"AdamW, learning rate up to {spec.learning_rate:g}, rising for "
                f"{percentage(spec.warm_up, 0)} of the steps and falling to 0 along a cosine, "
                f"weight decay {spec.weight_decay:g}, batches of "
                f"{counted(spec.batch_size, 'image')}.{flipped} The same for all methods.",
            ),
            (
                "Measures",
                f"IoU and accuracy of all test pixels. {_boundaries(comparison)} "
                f"NLL and calibration are of at most {counted(spec.pixels, 'pixel')} of each image "
                f"and zone, drawn the same for all methods ({sampled}).",
            ),
        ]

    def examples(self, comparison: TaskComparison, board: Board) -> Examples:
        runs = {method: comparison.runs[method][0] for method in comparison.runs}
        arrays = {method: folder.arrays() for method, (folder, _) in runs.items()}
        record: SegmentationRecord = next(iter(runs.values()))[1]
        names = [each.name for each in record.classes]
        colours = class_colours(len(names))
        first = next(iter(arrays.values()))
        scenes = [
            _scene(place, arrays, board, record.ignore_index, colours)
            for place in range(len(first["example_index"]))
        ]
        return Examples(legend=[*zip(names, colours, strict=True), ("void", VOID)], scenes=scenes)


def class_colours(count: int) -> list[str]:
    """Return colours for classes: the page's own while they last, then round the circle.

    Args:
        count: how many.
    """
    own = list(hues().values())
    if count <= len(own):
        return own[:count]
    turns = [(_TURN * place) % 1.0 for place in range(count)]
    values = [(turn, 0.75, 0.9 - 0.35 * (i % 2)) for i, turn in enumerate(turns)]
    return ["#" + "".join(f"{round(255 * x):02x}" for x in hsv_to_rgb(each)) for each in values]


def _scene(
    place: int,
    arrays: Mapping[str, Mapping[str, Any]],
    board: Board,
    ignored: int,
    colours: list[str],
) -> Scene:
    first = next(iter(arrays.values()))
    number = int(first["example_index"][place]) + 1
    mask = first["example_masks"][place]
    counted_pixels = mask != ignored
    said = []
    for method, each in arrays.items():
        predicted, confidence = (
            each[f"example_{name}"][place] for name in ("predictions", "confidences")
        )
        right = percentage(float((predicted == mask)[counted_pixels].mean()))
        mean = percentage(float(confidence[counted_pixels].mean()) / 255)
        name = board.title(method)
        said.append(
            (
                method,
                [
                    Picture(
                        source=_labels(predicted, colours),
                        told=f"Prediction of {name} for image {number}",
                        caption=f"prediction, {right} right",
                    ),
                    Picture(
                        source=_greys(confidence),
                        told=f"Confidence of {name} in image {number}, dark where it is low",
                        caption=f"confidence, {mean} on average",
                    ),
                ],
            )
        )
    image = first["example_images"][place].transpose(1, 2, 0)
    given = [
        Picture(source=_png(image, "RGB"), told=f"Test image {number}", caption="image"),
        Picture(
            source=_labels(mask, colours), told=f"Mask of image {number}", caption="reference mask"
        ),
    ]
    return Scene(number=number, given=given, said=said)


def _labels(mask: np.ndarray, colours: list[str]) -> str:
    """A label map in the classes' colours; what is no class is void."""
    places = np.minimum(mask, len(colours))
    table = [round(255 * x) for colour in (*colours, VOID) for x in to_rgb(colour)]
    return _png(places.astype(np.uint8), "P", table)


def _greys(confidence: np.ndarray) -> str:
    """Confidences of 0 to 255, rounded to few levels, which take a quarter of the place."""
    levels = np.round(confidence / 255 * (_LEVELS - 1)) * (255 / (_LEVELS - 1))
    return _png(np.round(levels).astype(np.uint8), "L")


def _png(pixels: np.ndarray, mode: str, palette: list[int] | None = None) -> str:
    from PIL import Image

    height, width = pixels.shape[:2]
    picture = Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    if palette is not None:
        picture.putpalette(palette)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _boundaries(comparison: TaskComparison) -> str:
    first = _records(comparison, next(iter(comparison.runs)))[0]
    return (
        f"Boundaries: pixels at most {first.boundary_width} from one of another class. "
        f"{first.void:,} void pixels of the test part are left out everywhere."
    )


def _records(comparison: TaskComparison, method: str) -> list[SegmentationRecord]:
    return [record for _, record in comparison.runs[method]]


VIEW = SegmentationView()
