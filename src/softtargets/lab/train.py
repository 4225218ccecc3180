"""One run: train, measure, record. It can be killed at any moment and goes on to the same numbers.

Nothing random has state that would have to be restored: the order of an epoch, and everything else
that is drawn in it, is a function of the seed and the epoch's number.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softtargets.lab.data import DataSet
from softtargets.lab.epoch import Trainer
from softtargets.lab.errors import LabError
from softtargets.lab.estimated_noise import check_folds, estimated_transition
from softtargets.lab.finish import finish
from softtargets.lab.label_noise import training_labels
from softtargets.lab.measuring import measure
from softtargets.lab.methods import METHODS
from softtargets.lab.records import RunRecord, StoredRun
from softtargets.lab.session import DivergedError, Session, announced
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.state import State
from softtargets.lab.task import Task, Teacher

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all processes that compute a run have to know; the data they have.

    Attributes:
        spec: of the run.
        folder: where it is kept.
        teacher: for methods that need one.
        estimated: the noise, for methods that estimate it.
        saved: the checkpoint, if there is one.
    """

    spec: RunSpec
    folder: StoredRun[RunRecord]
    teacher: Teacher | None
    estimated: Tensor | None
    saved: dict[str, Any] | None


def run(
    spec: RunSpec,
    data: DataSet,
    folder: StoredRun[RunRecord],
    teacher: Teacher | None,
    on_epoch: Told = lambda epoch: None,
) -> None:
    """Compute the run, from its last checkpoint if there is one, and write its record.

    Args:
        spec: what to run.
        data: the data set of the spec.
        folder: where it is kept.
        teacher: for methods that need one.
        on_epoch: called with the number of finished epochs, first with those of the checkpoint;
            with all of them at the end of a run that stops early.

    Raises:
        LabError: training diverged, the noise cannot be estimated, there is no such device, or the
            folder cannot be read or written.
    """
    session = Session.of(spec)
    began = time.perf_counter()
    labels = training_labels(spec, data)
    estimates = METHODS[spec.method].estimates_noise
    estimated = estimated_transition(spec, data, labels) if estimates else None
    estimating = time.perf_counter() - began
    saved = folder.checkpoint()
    job = _Job(spec=spec, folder=folder, teacher=teacher, estimated=estimated, saved=saved)
    session.announce(job)
    state = _started(job, data, labels, session)
    state.seconds += estimating
    on_epoch(len(state.history))
    try:
        _train(job, data, labels, state, session, on_epoch)
        state.go_back()
        finish(state, data, labels, folder, teacher, session)
    except DivergedError as error:
        folder.discard_checkpoint()
        raise LabError(
            f"{spec.run_id} diverged after {len(state.history)} of {spec.epochs} epochs: {error}; "
            "the same command would do so again, and nothing of this run is kept: lower "
            "--learning-rate, give --clip, rescale outlying inputs, or leave "
            f"{spec.method} out of --methods"
        ) from error
    if len(state.history) < spec.epochs:
        on_epoch(spec.epochs)


def follow(load: Callable[[], DataSet]) -> None:
    """Take part in the runs that rank 0 announces, until there are no more.

    Args:
        load: returns the data set of the runs; called once, before the first.
    """
    data = None
    while (job := announced()) is not None:
        data = data or load()
        session = Session.of(job.spec)
        labels = training_labels(job.spec, data)
        state = _started(job, data, labels, session)
        with suppress(DivergedError):  # the leader says so
            _train(job, data, labels, state, session, lambda epoch: None)


def check_checkpoint(spec: RunSpec, data: DataSet, folder: StoredRun[RunRecord]) -> None:
    """Raise `LabError` where the run has a checkpoint that it could not go on from."""
    labels = training_labels(spec, data)
    silent = None if spec.teacher is None else Teacher.silent(len(labels), data.num_classes)
    unknown = None
    if METHODS[spec.method].estimates_noise:
        check_folds(spec, data, labels)
        unknown = torch.eye(data.num_classes, dtype=torch.float64)
    saved = folder.checkpoint()
    job = _Job(spec=spec, folder=folder, teacher=silent, estimated=unknown, saved=saved)
    _started(job, data, labels, Session(torch.device("cpu")))


def _started(job: _Job, data: DataSet, labels: Tensor, session: Session) -> State:
    task = Task(
        parameters=job.spec.parameters,
        num_classes=data.num_classes,
        labels=labels,
        epochs=job.spec.epochs,
        true_labels=data.train.labels,
        teacher=job.teacher,
        estimated=job.estimated,
    )
    state = State.start(job.spec, data, task, session)
    state.restore(job.saved, job.folder)
    return state


def _train(
    job: _Job, data: DataSet, labels: Tensor, state: State, session: Session, on_epoch: Told
) -> None:
    """Train until the run is over; the leader measures and writes a checkpoint of each epoch."""
    placed = session.place(data)
    trainer = Trainer(
        spec=job.spec,
        session=session,
        split=placed.train,
        labels=labels.to(session.device),
        num_classes=data.num_classes,
        model=session.parallel(state.model),
        criterion=state.criterion,
        optimizer=state.optimizer,
        scaler=state.scaler,
        averaged=state.averaged,
        teacher=None if job.teacher is None else job.teacher.to(session.device),
    )
    measured = given(job.spec.measured, None)
    while not state.over:
        began = time.perf_counter()
        loss = trainer.epoch(len(state.history))
        row = session.from_leader(lambda: measure(state.measured, placed, labels, loss, measured))  # noqa: B023
        state.add(row)
        state.seconds += time.perf_counter() - began
        if session.leads:
            job.folder.save_checkpoint(state.save())
            on_epoch(len(state.history))
