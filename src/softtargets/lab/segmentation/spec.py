"""A segmentation run as a frozen value; its hash names its folder."""

from typing import ClassVar

import msgspec

from softtargets.lab.spec import Parameters
from softtargets.lab.task_record import check_numbers, run_name

DEEPEST = 6


class SegmentationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides the numbers of a segmentation run.

    Attributes:
        data: as `softtargets.lab.segmentation.data.load` reads it, the size included.
        data_hash: hash of all images and masks as they were scaled.
        method: a name in `softtargets.lab.segmentation.methods.METHODS`.
        parameters: the method's settings.
        seed: initial weights, data order and flips.
        epochs: passes over the training data.
        teacher: none; methods here have no teacher.
        batch_size: images per step; the last batch of an epoch may be smaller.
        learning_rate: of AdamW, at its highest.
        warm_up: share of all steps in which the rate rises from 0; it falls along a cosine then.
        weight_decay: decoupled.
        width: channels of the U-Net at full size.
        depth: how often it halves the sides.
        flip: whether half of the training images are mirrored, left to right.
        pixels: of each image and zone that calibration is measured on, at most.
        resamples: draws of the test images behind the intervals of the record.

    Raises:
        ValueError: a setting is out of range.
    """

    kind: ClassVar[str] = "segmentation"

    data: str
    data_hash: str
    method: str
    parameters: Parameters
    seed: int
    epochs: int
    teacher: None = None
    batch_size: int = 8
    learning_rate: float = 3e-3
    warm_up: float = 0.1
    weight_decay: float = 0.01
    width: int = 8
    depth: int = 4
    flip: bool = True
    pixels: int = 1000
    resamples: int = 1000

    def __post_init__(self) -> None:
        check_numbers(
            self,
            counts=("epochs", "batch_size", "width", "depth", "pixels"),
            positive=("learning_rate",),
            not_negative=("weight_decay", "resamples"),
            shares=("warm_up",),
        )
        if self.depth > DEEPEST:
            raise ValueError(f"`depth` must be at most {DEEPEST}, got {self.depth}")

    @property
    def run_id(self) -> str:
        """A readable name with a hash of every field; the place of the data plays no part."""
        return run_name(self, self.method, self.seed)
