"""What a comparison of segmentation runs shows: its columns, its data, what needs no model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from softtargets.lab.segmentation.data import Scenes, SegmentationData
from softtargets.lab.segmentation.measures import (
    intersection_over_union,
    mean_over_classes,
    overlaps,
)
from softtargets.lab.segmentation.record import SegmentationRecord
from softtargets.lab.summary import METRICS, Metric
from softtargets.lab.task_kind import Reference, TaskData

LEFT_OUT = "Left out"
_NAMED = 5  # of the files that are left out

_ERROR = "expected_calibration_error_debiased"
_SCALED = ("negative_log_likelihood", _ERROR, f"inside_{_ERROR}", f"boundary_{_ERROR}")


def _share(key: str, title: str, *, higher_is_better: bool) -> Metric:
    return Metric(key=key, title=title, higher_is_better=higher_is_better, digits=2, scale=100)


COLUMNS = (
    _share("mean_iou", "mean IoU %", higher_is_better=True),
    _share("boundary_iou", "boundary IoU %", higher_is_better=True),
    *(metric for metric in METRICS if metric.key in ("accuracy", *_SCALED)),
    _share(f"inside_{_ERROR}", "inner ECE % debiased", higher_is_better=False),
    _share(f"boundary_{_ERROR}", "boundary ECE % debiased", higher_is_better=False),
)


def class_metric(name: str) -> Metric:
    """Return the metric of the overlap with one class.

    Args:
        name: of the class.
    """
    return _share(f"iou of {name}", name, higher_is_better=True)


def values(record: SegmentationRecord, *, scaled: bool) -> dict[str, float]:
    """Return what a run reached, by key of `COLUMNS`, and the overlaps of the classes.

    Args:
        record: of the run.
        scaled: after temperature scaling, what that can change.
    """
    if scaled:
        return {key: record.scaled[key].value for key in _SCALED}
    classes = {
        class_metric(each.name).key: each.iou
        for each in record.classes
        if each.pixels and each.iou is not None
    }
    return {metric.key: record.metrics[metric.key].value for metric in COLUMNS} | classes


def describe(data: SegmentationData) -> TaskData:
    """Return what there is to know of the data."""
    height, width = data.size
    parts = {"to train on": data.train, "for validation": data.validation, "for testing": data.test}
    counts = ", ".join(f"{len(part):,} {words}" for words, part in parts.items())
    pixels = sum(part.masks.numel() for part in parts.values())
    void = sum(part.void for part in parts.values())
    return TaskData(
        name=data.name,
        digest=data.digest,
        test=len(data.test),
        facts=[
            ("Images", f"{counts}, {width} × {height} pixels."),
            ("Classes", f"{', '.join(data.class_names)}."),
            (
                "Void",
                f"{void:,} of {pixels:,} pixels have no class (value {data.ignore_index}); they "
                "take no part in training or measuring.",
            ),
            *([(LEFT_OUT, _left_out(data.left_out))] if data.left_out else []),
        ],
    )


def _left_out(names: Sequence[str]) -> str:
    """Say how many files belong to no pair, and the first of them."""
    # A name is any bytes, and what is told goes to a terminal and into JSON.
    told = [name if name.isprintable() else ascii(name) for name in names[:_NAMED]]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    belong = "one file belongs" if len(names) == 1 else f"{len(names):,} files belong"
    return f"{belong} to no pair of image and mask: {', '.join(told)}{more}."


def references(data: SegmentationData) -> list[Reference]:
    """Return what the training masks' classes reach by their frequencies alone."""
    seen, tested = (_counts(part, data.num_classes) for part in (data.train, data.test))
    matrix = torch.zeros(data.num_classes, data.num_classes, dtype=torch.int64)
    matrix[:, int(seen.argmax())] = tested
    shares = (seen + 1).double() / float((seen + 1).sum())
    total = float(tested.sum())
    return [
        Reference(
            title="one class",
            summary="The most frequent class of the training part at every pixel, and the NLL of "
            "the classes at their own frequencies.",
            values={
                "mean_iou": float(mean_over_classes(intersection_over_union(overlaps(matrix)))),
                "accuracy": float(matrix.trace()) / total,
                "negative_log_likelihood": -float((tested.double() * shares.log()).sum()) / total,
            },
        )
    ]


def _counts(part: Scenes, num_classes: int) -> Tensor:
    """Return the number of pixels of each class, `(K,)`."""
    found: Tensor = torch.bincount(part.masks.flatten().long(), minlength=num_classes)
    return found[:num_classes]
