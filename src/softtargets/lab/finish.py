"""The end of a run: its last measurements, and its record."""

import sys
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from softtargets import calibration
from softtargets.lab import records, seeds
from softtargets.lab.data import DataSet
from softtargets.lab.estimated_noise import distance
from softtargets.lab.label_noise import denoised, is_noisy
from softtargets.lab.measuring import estimates, examples, finite, predict
from softtargets.lab.methods import METHODS
from softtargets.lab.models import penultimate
from softtargets.lab.records import Denoising, RunRecord, StoredRun
from softtargets.lab.session import Session
from softtargets.lab.spec import given
from softtargets.lab.state import State
from softtargets.lab.task import Teacher
from softtargets.losses import ForwardCorrection

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def finish(
    state: State,
    data: DataSet,
    labels: Tensor,
    folder: StoredRun[RunRecord],
    teacher: Teacher | None,
    session: Session,
) -> None:
    """Measure the network of a run on the test data and write the record.

    Args:
        state: after the last epoch.
        data: its data set.
        labels: `(N,)`, the training labels as given.
        folder: of the run.
        teacher: for methods that need one.
        session: where it was computed.

    Raises:
        DivergedError: logits are not finite.
        LabError: the folder cannot be written.
    """
    spec, model = state.spec, state.measured
    validation = finite(model, data.validation, "validation")
    test = finite(model, data.test, "test")
    report = calibration.evaluate(
        test,
        data.test.labels,
        temperature_from=(validation, data.validation.labels),
        bootstrap=given(spec.resamples, 1000),
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
        **(_features(model, data) if given(spec.keep_features, False) else {}),
    )
    weights = records.pack_state({name: each.cpu() for name, each in model.state_dict().items()})
    record = RunRecord(
        format=records.FORMAT,
        spec=spec,
        environment=records.environment(session.device),
        seconds=state.seconds,
        history=state.history,
        metrics=estimates(report),
        scaled=estimates(report.scaled),
        temperature=report.temperature,
        temperature_at_bound=bool(report.temperature_at_bound),
        examples=examples(model, state.criterion.cpu(), data, labels, teacher),
        denoising=_denoising(model, data, labels) if is_noisy(spec) else msgspec.UNSET,
        transition_error=distance(*transitions.values()) if transitions else msgspec.UNSET,
        peak_memory=peak_memory(),
        peak_device_memory=_peak_device_memory(session.device),
        arrays_sha256=records.sha256(arrays),
        model_sha256=records.sha256(weights),
    )
    folder.finish(record, arrays, weights)


def _transitions(state: State) -> dict[str, Tensor]:
    """The noise that the run was corrected for, also if it went on elsewhere, and as drawn."""
    correction = state.criterion.correction
    assert isinstance(correction, ForwardCorrection)
    return {
        "transition_estimated": correction.transition.dense(),
        "transition_drawn": state.task.transition,
    }


def _denoising(model: nn.Module, data: DataSet, labels: Tensor) -> Denoising:
    predicted = finite(model, data.train, "training").argmax(-1)
    return denoised(predicted, labels, data.train.labels)


def _features(model: nn.Module, data: DataSet) -> dict[str, Any]:
    """What the last layer is given for the test data, and the layer."""
    features, head = penultimate(model)
    found = {"test_features": predict(model, data.test, ask=features), "head_weight": head.weight}
    if head.bias is not None:
        found["head_bias"] = head.bias
    return {name: each.detach().cpu().numpy() for name, each in found.items()}


def peak_memory() -> int | msgspec.UnsetType:
    """Return the most bytes of memory that this process has had, where the system says so."""
    if resource is None:
        return msgspec.UNSET
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _peak_device_memory(device: torch.device) -> int | msgspec.UnsetType:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else msgspec.UNSET
