"""Segmentation runs, as the laboratory computes them."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from softtargets.lab.kinds import AbstractKind
from softtargets.lab.records import StoredRun
from softtargets.lab.segmentation.data import SegmentationData, load
from softtargets.lab.segmentation.record import SegmentationRecord
from softtargets.lab.segmentation.spec import SegmentationSpec
from softtargets.lab.segmentation.training import Segmentation
from softtargets.lab.training_loop import restored, train


class SegmentationKind(AbstractKind):
    """U-Nets on images with a class for every pixel."""

    spec = SegmentationSpec
    record = SegmentationRecord

    def load(self, source: str) -> SegmentationData:
        return load(source)

    @property
    def missing(self) -> str:
        if find_spec("PIL"):
            return ""
        return "segmentation needs Pillow; pip install 'softtargets[images]'"

    def steps(self, spec: SegmentationSpec, data: SegmentationData) -> int:
        return spec.epochs * math.ceil(len(data.train) / spec.batch_size)

    def perform(
        self,
        spec: SegmentationSpec,
        data: SegmentationData,
        root: Path,
        on_epoch: Callable[[int], None],
    ) -> None:
        folder = StoredRun(root, spec.run_id, SegmentationRecord)
        train(Segmentation(spec, data), folder, on_epoch)

    def check_checkpoint(
        self, spec: SegmentationSpec, data: SegmentationData, folder: StoredRun[Any]
    ) -> None:
        if folder.checkpoint() is not None:
            restored(Segmentation(spec, data), folder)


KIND = SegmentationKind()
