"""How models were trained, in sentences."""

import math
from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from softtargets.lab.compare import Comparison
from softtargets.lab.records import RunRecord
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.task_record import TaskRecord
from softtargets.report.notation import counted

_FALLS = {
    "cosine": "falling to 0 along a cosine",
    "step": "falling tenfold at a half and at three quarters of the epochs",
    "one-cycle": "reached after 30 % of the steps and left again for 0, along half cosines",
    "constant": "throughout",
}


def model(comparison: Comparison, record: RunRecord) -> str:
    """Return what the network is.

    Args:
        comparison: finished runs.
        record: of one of them.
    """
    name = given(record.spec.model, "mlp")
    if name != "mlp":
        return f"{name}, with initial weights that depend on the seed alone."
    widths = [math.prod(comparison.data.shape), *record.spec.hidden, comparison.data.num_classes]
    return f"Multi-layer perceptron with ReLU, widths {' – '.join(map(str, widths))}."


def optimiser(spec: RunSpec) -> str:
    """Return how weights were changed.

    Args:
        spec: of one of the runs.
    """
    kind = f"SGD with Nesterov momentum {spec.momentum:g}"
    if given(spec.optimizer, "sgd") == "adamw":
        kind = f"AdamW with betas {spec.momentum:g} and 0.999"
    falls = _FALLS[given(spec.schedule, "cosine")]
    text = (
        f"{kind}, learning rate {spec.learning_rate:g} {falls}, weight decay "
        f"{spec.weight_decay:g}, batches of {spec.batch_size}. The same for all methods."
    )
    if given(spec.warm_up, 0):
        text += f" At first the rate rises from 0, for {counted(given(spec.warm_up, 0), 'epoch')}."
    if spec.clip is not UNSET:
        text += f" Gradients are scaled down to a norm of at most {spec.clip:g}."
    return text


def training(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Return a pair of a heading and whatever else is not usual; none if all is.

    Args:
        records: of all runs.
    """
    spec = records[0].spec
    sentences = {
        f"Training samples are augmented ({spec.augment}).": spec.augment,
        f"Forward passes in training are in {spec.precision}.": spec.precision,
        f"Each batch is computed in {spec.accumulate} parts.": spec.accumulate,
        f"Each run is computed by {spec.ranks} processes, on shares of every batch.": spec.ranks,
        f"A moving average of the weights, decay {spec.average}, is measured and kept.": (
            spec.average
        ),
        _stopping(records): spec.patience,
        f"Accuracy and NLL of training labels are of the first {spec.measured} samples.": (
            spec.measured
        ),
    }
    said = [text for text, value in sentences.items() if value is not UNSET]
    return [("Training", " ".join(said))] if said else []


def _stopping(records: Sequence[RunRecord]) -> str:
    patience = given(records[0].spec.patience, 0)
    lengths = sorted(len(record.history) for record in records)
    took = f"{lengths[0]} to {lengths[-1]}" if lengths[0] < lengths[-1] else f"{lengths[0]}"
    return (
        f"A run stops after {counted(patience, 'epoch')} without a lower validation NLL, and the "
        f"weights of the lowest are measured and kept; the runs took {took} epochs."
    )


def peak_memory(records: Sequence[RunRecord | TaskRecord]) -> str:
    """Return a sentence with the most memory that a process had; "" where it is not known.

    Args:
        records: of all runs.
    """
    own = _most([record.peak_memory for record in records])
    device = _most([getattr(record, "peak_device_memory", UNSET) for record in records])
    if not own:
        return ""
    on_device = f", and {device} of the GPU" if device else ""
    return f" A process took up to {own} of memory{on_device}."


def _most(values: Sequence[int | UnsetType]) -> str:
    known = [value for value in values if not isinstance(value, UnsetType)]
    return f"{max(known) / 1e6:,.0f} MB" if known else ""
