"""What a segmentation run leaves."""

import msgspec

from softtargets.lab.segmentation.spec import SegmentationSpec
from softtargets.lab.task_record import TaskRecord


class ClassOverlap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A class in the test data.

    Attributes:
        name: of the class.
        pixels: of it.
        iou: intersection over union of class and prediction; None if it is in neither.
        boundary_iou: the same of their boundaries.
    """

    name: str
    pixels: int
    iou: float | None
    boundary_iou: float | None


class SegmentationRecord(TaskRecord, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finished segmentation run.

    `arrays.npz` holds, by test image, `confusion` `(N, K, K)` and `boundary` `(N, K, 2)`; by zone
    (`all`, `inside`, `boundary`) and also with `scaled_` before, `ZONE_bins` `(N, 15, 3)` and
    `ZONE_nll` `(N, 2)`, see `softtargets.lab.segmentation.predictions`; and of a few images
    `example_index`, `example_images`, `example_masks`, `example_predictions` and
    `example_confidences` (0 to 255), all uint8 but for the index.

    Attributes:
        spec: what was run.
        classes: of the data, in their order.
        ignore_index: value of void pixels.
        void: void pixels of the test data.
        boundary_width: pixels from another class up to which is at a boundary.
        sampled: pixels that calibration was measured on, by zone.
        parameters: how many the model has.
    """

    spec: SegmentationSpec
    classes: list[ClassOverlap]
    ignore_index: int
    void: int
    boundary_width: int
    sampled: dict[str, int]
    parameters: int
