"""What is measured of a model: after an epoch, and at the end of a run."""

import math
from collections.abc import Callable

import msgspec
import torch
from torch import Tensor, nn

from softtargets import calibration
from softtargets.lab import records
from softtargets.lab.data import DataSet, Split
from softtargets.lab.models import MLP
from softtargets.lab.records import Epoch, Estimate, Example
from softtargets.lab.resampling import estimate
from softtargets.lab.session import DivergedError
from softtargets.lab.task import Teacher
from softtargets.losses import cross_entropy
from softtargets.smoothing import AbstractSmoothing
from softtargets.target import Target

EXAMPLES = 12
# Samples that are predicted at once; a convolutional network keeps much more of each.
VECTORS, IMAGES = 4096, 512


@torch.no_grad()
def predict(
    model: nn.Module,
    split: Split,
    samples: int | None = None,
    ask: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the logits of a part of the data, in eval mode and float32, on the CPU.

    Args:
        model: on any device.
        split: the part.
        samples: how many, the first ones; None for all.
        ask: what to call instead of the model, for another output of it.
    """
    model.eval()
    ask = ask or model
    device = next(model.parameters()).device
    total = len(split) if samples is None else min(samples, len(split))
    size = VECTORS if isinstance(model, MLP) else IMAGES
    chunks = [slice(start, min(start + size, total)) for start in range(0, total, size)]
    return torch.cat([ask(split.take(chunk).to(device)).cpu() for chunk in chunks])


def finite(model: nn.Module, split: Split, part: str, samples: int | None = None) -> Tensor:
    """Return the logits of a part of the data, which must be finite to be measured.

    Args:
        model: to ask.
        split: the part.
        part: its name.
        samples: see `predict`.

    Raises:
        DivergedError: they are not.
    """
    logits = predict(model, split, samples)
    if not bool(logits.isfinite().all()):
        raise DivergedError(f"logits of the {part} data are not finite")
    return logits


def measure(
    model: nn.Module, data: DataSet, labels: Tensor, loss: float, samples: int | None
) -> Epoch:
    """Return the row of an epoch.

    Args:
        model: after the epoch.
        data: its data set.
        labels: `(N,)`, the training labels as given.
        loss: in training.
        samples: how many of the training part are measured; None for all.

    Raises:
        DivergedError: something is not finite.
    """
    train = finite(model, data.train, "training", samples)
    labels = labels[: len(train)]
    validation = finite(model, data.validation, "validation")
    truth = data.validation.labels.cpu()
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
        raise DivergedError("the loss on training or validation data is not finite")
    return epoch


def estimates(report: calibration.CalibrationReport) -> dict[str, Estimate]:
    """Return test metrics by name, as a record keeps them."""
    values = {name: getattr(report, name) for name in records.METRICS}
    estimates = {name: estimate(each.value, each.low, each.high) for name, each in values.items()}
    # The signed forms are the ones whose mean over seeds is not biased by the floor at 0.
    for name in ("expected_calibration_error", "classwise_calibration_error"):
        interval = estimates[name]
        signed: float = getattr(report, f"{name}_signed")
        estimates[f"{name}_debiased"] = Estimate(signed, interval.low, interval.high)
    return estimates


@torch.no_grad()
def examples(
    model: nn.Module,
    criterion: nn.Module,
    data: DataSet,
    labels: Tensor,
    teacher: Teacher | None,
) -> list[Example]:
    """Return the targets of a few samples at the end, the same for every method and seed.

    Args:
        model: as trained.
        criterion: as it is after the last epoch, on the CPU.
        data: its data set.
        labels: `(N,)`, the training labels as given.
        teacher: for methods that need one.
    """
    chosen = example_indices(data)
    target = Target.from_labels(labels[chosen], data.num_classes)
    for policy in criterion.modules():
        if isinstance(policy, AbstractSmoothing):
            given = None if teacher is None else teacher.logits[chosen]
            said = predict(model, data.train.select(chosen))
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
    labels = data.train.labels
    chunks = torch.split(torch.arange(len(labels)), VECTORS)
    width = data.train.features(slice(0, 1)).shape[1]
    totals = torch.zeros(data.num_classes, width)
    for chunk in chunks:
        totals.index_add_(0, labels[chunk], data.train.features(chunk))
    counts = torch.bincount(labels, minlength=data.num_classes).clamp(min=1)
    means = totals / counts.unsqueeze(-1)
    distances = torch.cat([torch.cdist(data.train.features(chunk), means) for chunk in chunks])
    own = distances.gather(1, labels.unsqueeze(-1))
    others = distances.scatter(1, labels.unsqueeze(-1), torch.inf)
    margins = others.amin(1) - own[:, 0]
    ambiguous: Tensor = margins.topk(min(EXAMPLES, len(labels)), largest=False).indices
    return ambiguous
