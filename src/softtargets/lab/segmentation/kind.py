"""Segmentation runs, as the laboratory computes and compares them."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from softtargets.lab.records import StoredRun
from softtargets.lab.segmentation import comparing
from softtargets.lab.segmentation.data import SegmentationData, load
from softtargets.lab.segmentation.methods import BASELINE, DEFAULT, METHODS
from softtargets.lab.segmentation.record import SegmentationRecord
from softtargets.lab.segmentation.spec import SegmentationSpec
from softtargets.lab.segmentation.training import Segmentation
from softtargets.lab.summary import Metric
from softtargets.lab.task_kind import AbstractTaskKind, Reference, TaskData
from softtargets.lab.training_loop import restored, train


class SegmentationKind(AbstractTaskKind):
    """U-Nets on images with a class for every pixel."""

    spec = SegmentationSpec
    record = SegmentationRecord
    methods = METHODS
    baseline = BASELINE
    default = DEFAULT

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

    def metrics(self, spec: SegmentationSpec) -> tuple[Metric, ...]:
        return comparing.COLUMNS

    def values(self, record: SegmentationRecord, *, scaled: bool) -> dict[str, float]:
        return comparing.values(record, scaled=scaled)

    def describe(self, data: SegmentationData) -> TaskData:
        return comparing.describe(data)

    def references(self, data: SegmentationData, spec: SegmentationSpec) -> list[Reference]:
        return comparing.references(data)


KIND = SegmentationKind()
