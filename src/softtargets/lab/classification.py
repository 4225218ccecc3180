"""Runs of classifiers, as the laboratory computes them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softtargets.lab import data as datasets
from softtargets.lab.data import DataSet
from softtargets.lab.kinds import AbstractKind
from softtargets.lab.measuring import predict
from softtargets.lab.networks import network
from softtargets.lab.records import RunFolder, RunRecord, StoredRun
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.task import Teacher
from softtargets.lab.train import check_checkpoint, run


class Classification(AbstractKind):
    """Classifiers of vectors, images and texts; a teacher is another run of the folder."""

    spec = RunSpec
    record = RunRecord

    def load(self, source: str) -> DataSet:
        return datasets.load(source)

    def steps(self, spec: RunSpec, data: DataSet) -> int:
        return spec.epochs * math.ceil(len(data.train) / spec.batch_size)

    def perform(
        self, spec: RunSpec, data: DataSet, root: Path, on_epoch: Callable[[int], None]
    ) -> None:
        teacher = None if spec.teacher is None else _teacher(RunFolder(root, spec.teacher), data)
        run(spec, data, RunFolder(root, spec.run_id), teacher, on_epoch)

    def check_checkpoint(self, spec: RunSpec, data: DataSet, folder: StoredRun[Any]) -> None:
        check_checkpoint(spec, data, folder)


def _teacher(folder: RunFolder, data: DataSet) -> Teacher:
    """Rebuild the teacher and let it see the training data once, as they are."""
    record = folder.record()
    model = network(record.spec, data)
    try:
        model.load_state_dict(folder.model_state())
    except RuntimeError as error:
        raise folder.corrupt("model.pt does not fit the data") from error
    logits = predict(model.to(given(record.spec.device, "cpu")), data.train)
    return Teacher(logits=logits, temperature=record.temperature, model=model)


KIND = Classification()
