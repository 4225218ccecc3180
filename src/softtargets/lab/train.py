"""One run: train, measure, record. It can be killed at any moment and goes on to the same numbers.

Nothing random has state that would have to be restored: the order of an epoch is a function of
the seed and the epoch's number.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from softtargets import calibration
from softtargets.lab import records, seeds
from softtargets.lab.data import DataSet, Split
from softtargets.lab.errors import LabError
from softtargets.lab.estimated_noise import check_folds, distance, estimated_transition
from softtargets.lab.label_noise import denoised, is_noisy, training_labels
from softtargets.lab.methods import METHODS
from softtargets.lab.models import seeded_mlp
from softtargets.lab.records import Denoising, Epoch, Estimate, Example, RunFolder, RunRecord
from softtargets.lab.spec import RunSpec
from softtargets.lab.task import Task, Teacher
from softtargets.losses import ForwardCorrection, cross_entropy
from softtargets.mixing import mixup
from softtargets.smoothing import AbstractSmoothing, OnlineLabelSmoothing
from softtargets.smoothing.schedule import step_schedules
from softtargets.target import Target

EXAMPLES = 12


class _DivergedError(Exception):
    """Training left the finite numbers; the message says where."""


@dataclass(slots=True, kw_only=True)
class _State:
    """What a run is for, and what changes during it; all of the latter is in the checkpoint."""

    task: Task
    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0

    def save(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": [msgspec.structs.asdict(epoch) for epoch in self.history],
            "seconds": self.seconds,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        self.criterion.load_state_dict(saved["criterion"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history = [Epoch(**epoch) for epoch in saved["history"]]
        self.seconds = saved["seconds"]


def run(
    spec: RunSpec,
    data: DataSet,
    folder: RunFolder,
    teacher: Teacher | None,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Compute the run, from its last checkpoint if there is one, and write its record.

    Args:
        spec: what to run.
        data: the data set of the spec.
        folder: where it is kept.
        teacher: for methods that need one.
        on_epoch: called with the number of finished epochs, first with those of the checkpoint.

    Raises:
        LabError: training diverged, the noise cannot be estimated, or the folder cannot be read or
            written.
    """
    labels = training_labels(spec, data)
    began = time.perf_counter()
    estimates = METHODS[spec.method].estimates_noise
    estimated = estimated_transition(spec, data, labels) if estimates else None
    estimating = time.perf_counter() - began
    state = _start(spec, data, _task(spec, data, labels, teacher, estimated))
    _restore(state, folder)
    state.seconds += estimating
    on_epoch(len(state.history))
    try:
        while len(state.history) < spec.epochs:
            began = time.perf_counter()
            loss = _train_epoch(spec, data, labels, state, teacher)
            state.history.append(_measure(state.model, data, labels, loss))
            state.seconds += time.perf_counter() - began
            folder.save_checkpoint(state.save())
            on_epoch(len(state.history))
        _finish(spec, data, labels, folder, state, teacher)
    except _DivergedError as error:
        folder.discard_checkpoint()
        raise LabError(
            f"{spec.run_id} diverged after {len(state.history)} of {spec.epochs} epochs: {error}; "
            "the same command would do so again, and nothing of this run is kept: clip or rescale "
            f"outlying inputs, lower --noise, or leave {spec.method} out of --methods"
        ) from error


def check_checkpoint(spec: RunSpec, data: DataSet, folder: RunFolder) -> None:
    """Raise `LabError` where the run has a checkpoint that it could not go on from."""
    labels = training_labels(spec, data)
    silent = None if spec.teacher is None else Teacher.silent(len(labels), data.num_classes)
    unknown = None
    if METHODS[spec.method].estimates_noise:
        check_folds(spec, data, labels)
        unknown = torch.eye(data.num_classes, dtype=torch.float64)
    _restore(_start(spec, data, _task(spec, data, labels, silent, unknown)), folder)


def _restore(state: _State, folder: RunFolder) -> None:
    saved = folder.checkpoint()
    if saved is None:
        return
    try:
        state.restore(saved)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise folder.corrupt("checkpoint.pt is of another kind of run") from error


def _task(
    spec: RunSpec,
    data: DataSet,
    labels: Tensor,
    teacher: Teacher | None,
    estimated: Tensor | None,
) -> Task:
    return Task(
        parameters=spec.parameters,
        num_classes=data.num_classes,
        labels=labels,
        epochs=spec.epochs,
        true_labels=data.train.labels,
        teacher=teacher,
        estimated=estimated,
    )


def _start(spec: RunSpec, data: DataSet, task: Task) -> _State:
    num_inputs = data.train.inputs[0].numel()
    model = seeded_mlp(num_inputs, spec.hidden, data.num_classes, spec.seed)
    try:
        criterion = METHODS[spec.method].build(task)
    except ValueError as error:
        raise LabError(
            f"{spec.method} cannot be trained on these labels: {error}; or leave it out of "
            "--methods"
        ) from error
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=spec.learning_rate,
        momentum=spec.momentum,
        nesterov=spec.momentum > 0,
        weight_decay=spec.weight_decay,
    )
    return _State(task=task, model=model, criterion=criterion, optimizer=optimizer)


def _train_epoch(
    spec: RunSpec, data: DataSet, labels: Tensor, state: _State, teacher: Teacher | None
) -> float:
    """Train for one epoch and return the mean loss against the method's targets."""
    epoch = len(state.history)
    for group in state.optimizer.param_groups:
        group["lr"] = spec.learning_rate * (1 + math.cos(math.pi * epoch / spec.epochs)) / 2
    order = torch.randperm(len(labels), generator=seeds.generator("order", spec.seed, epoch))
    mixing = seeds.generator("mixing", spec.seed, epoch)
    state.model.train()
    state.criterion.train()
    total = 0.0
    for batch in torch.split(order, spec.batch_size):
        inputs: Tensor = data.train.take(batch)
        target: Tensor | Target = labels[batch]
        if METHODS[spec.method].mixes:
            whole = Target.from_labels(labels[batch], data.num_classes)
            alpha = spec.parameters["alpha"]
            inputs, target, *_ = mixup(inputs, whole, alpha=alpha, generator=mixing)
        given = {} if teacher is None else {"teacher_logits": teacher.logits[batch]}
        loss = state.criterion(state.model(inputs), target, **given)
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        total += loss.item() * len(batch)
    if not math.isfinite(total):
        raise _DivergedError("the training loss is not finite")
    end_epoch(state.criterion)
    return total / len(labels)


def end_epoch(criterion: nn.Module) -> None:
    """Tell a criterion that an epoch is over: what learns, learns, and schedules go on."""
    for module in criterion.modules():
        if isinstance(module, OnlineLabelSmoothing):
            module.end_epoch()
    step_schedules(criterion)


@torch.no_grad()
def predict(model: nn.Module, part: Split) -> Tensor:
    """Return the logits of a part of the data, in eval mode."""
    model.eval()
    return torch.cat([model(inputs) for inputs in part.chunks()])


def _finite(model: nn.Module, samples: Split, part: str) -> Tensor:
    """Return the logits of a part of the data, which must be finite to be measured."""
    logits = predict(model, samples)
    if not bool(logits.isfinite().all()):
        raise _DivergedError(f"logits of the {part} data are not finite")
    return logits


def _measure(model: nn.Module, data: DataSet, labels: Tensor, loss: float) -> Epoch:
    train = _finite(model, data.train, "training")
    validation = _finite(model, data.validation, "validation")
    truth = data.validation.labels
    error = calibration.expected_calibration_error(validation.softmax(-1), truth, debiased=True)
    epoch = Epoch(
        loss=loss,
        train_nll=float(cross_entropy(train, labels)),
        train_accuracy=float(calibration.accuracy(train, labels)),
        validation_nll=float(cross_entropy(validation, truth)),
        validation_accuracy=float(calibration.accuracy(validation, truth)),
        validation_ece=float(error),
    )
    if not all(map(math.isfinite, msgspec.structs.astuple(epoch))):
        raise _DivergedError("the loss on training or validation data is not finite")
    return epoch


def _finish(
    spec: RunSpec,
    data: DataSet,
    labels: Tensor,
    folder: RunFolder,
    state: _State,
    teacher: Teacher | None,
) -> None:
    validation = _finite(state.model, data.validation, "validation")
    test = _finite(state.model, data.test, "test")
    report = calibration.evaluate(
        test,
        data.test.labels,
        temperature_from=(validation, data.validation.labels),
        generator=seeds.generator("bootstrap", spec.seed),
    )
    assert report.scaled is not None
    assert report.temperature is not None
    transitions = _transitions(state) if METHODS[spec.method].estimates_noise else {}
    arrays = records.pack_arrays(
        test_logits=test.numpy(),
        test_labels=data.test.labels.numpy(),
        validation_logits=validation.numpy(),
        validation_labels=data.validation.labels.numpy(),
        **{name: each.numpy() for name, each in transitions.items()},
    )
    model = records.pack_state(state.model.state_dict())
    record = RunRecord(
        format=records.FORMAT,
        spec=spec,
        environment=records.environment(),
        seconds=state.seconds,
        history=state.history,
        metrics=_estimates(report),
        scaled=_estimates(report.scaled),
        temperature=report.temperature,
        temperature_at_bound=bool(report.temperature_at_bound),
        examples=_examples(data, labels, state, teacher),
        denoising=_denoising(data, labels, state) if is_noisy(spec) else msgspec.UNSET,
        transition_error=distance(*transitions.values()) if transitions else msgspec.UNSET,
        arrays_sha256=records.sha256(arrays),
        model_sha256=records.sha256(model),
    )
    folder.finish(record, arrays, model)


def _transitions(state: _State) -> dict[str, Tensor]:
    """The noise that the run was corrected for, also if it went on elsewhere, and as drawn."""
    correction = state.criterion.correction
    assert isinstance(correction, ForwardCorrection)
    return {
        "transition_estimated": correction.transition.dense(),
        "transition_drawn": state.task.transition,
    }


def _denoising(data: DataSet, labels: Tensor, state: _State) -> Denoising:
    predicted = _finite(state.model, data.train, "training").argmax(-1)
    return denoised(predicted, labels, data.train.labels)


def _estimates(report: calibration.CalibrationReport) -> dict[str, Estimate]:
    values = {name: getattr(report, name) for name in records.METRICS}
    estimates = {name: Estimate(each.value, each.low, each.high) for name, each in values.items()}
    # The signed forms are the ones whose mean over seeds is not biased by the floor at 0.
    for name in ("expected_calibration_error", "classwise_calibration_error"):
        interval = estimates[name]
        signed: float = getattr(report, f"{name}_signed")
        estimates[f"{name}_debiased"] = Estimate(signed, interval.low, interval.high)
    return estimates


@torch.no_grad()
def _examples(
    data: DataSet, labels: Tensor, state: _State, teacher: Teacher | None
) -> list[Example]:
    """The targets of a few samples at the end, the same samples for every method and seed."""
    chosen = example_indices(data)
    target = Target.from_labels(labels[chosen], data.num_classes)
    for policy in state.criterion.children():
        if isinstance(policy, AbstractSmoothing):
            given = None if teacher is None else teacher.logits[chosen]
            said = predict(state.model, data.train.select(chosen))
            target = policy(target, said, teacher_logits=given)
    rows = target.dense().tolist()
    return [
        Example(
            index=int(index),
            true_label=int(data.train.labels[index]),
            label=int(labels[index]),
            target=row,
        )
        for index, row in zip(chosen, rows, strict=True)
    ]


def example_indices(data: DataSet) -> Tensor:
    """Return the training samples shown as examples: those most like another class.

    The distance to the nearest other class mean, less the distance to their own, is smallest. A
    property of the data alone, so that every method and seed shows the same ones.
    """
    inputs, labels = data.train.take(slice(None)).flatten(1), data.train.labels
    totals = torch.zeros(data.num_classes, inputs.shape[1]).index_add_(0, labels, inputs)
    counts = torch.bincount(labels, minlength=data.num_classes).clamp(min=1)
    distances = torch.cdist(inputs, totals / counts.unsqueeze(-1))
    own = distances.gather(1, labels.unsqueeze(-1))
    others = distances.scatter(1, labels.unsqueeze(-1), torch.inf)
    margins = others.amin(1) - own[:, 0]
    ambiguous: Tensor = margins.topk(min(EXAMPLES, len(inputs)), largest=False).indices
    return ambiguous
