"""A segmentation run as a frozen value; its hash names its folder."""

import math
from typing import ClassVar

import msgspec

from softtargets.lab.spec import Parameters
from softtargets.lab.task_record import run_name

_COUNTS = ("epochs", "batch_size", "width", "depth", "pixels")
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
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.depth > DEEPEST:
            raise ValueError(f"`depth` must be at most {DEEPEST}, got {self.depth}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"`learning_rate` must be positive and finite, got {self.learning_rate}"
            )
        for name in ("weight_decay", "resamples"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"`warm_up` must be in [0, 1), got {self.warm_up}")

    @property
    def run_id(self) -> str:
        """A readable name with a hash of every field; the place of the data plays no part."""
        return run_name(self, self.method, self.seed)
