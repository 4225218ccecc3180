"""The noise as a run can know it: estimated from its own training labels, by cross-validation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from softtargets.lab import seeds
from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.models import seeded_mlp
from softtargets.lab.spec import RunSpec
from softtargets.losses import cross_entropy
from softtargets.noise import estimate_transition, out_of_fold_probs


def estimated_transition(spec: RunSpec, data: DataSet, labels: Tensor) -> Tensor:
    """Return `(K, K)` float64, which labels are mistaken for which, by confident learning.

    The run's own network is trained on hard labels of all folds but one and predicts that one. The
    spec's seed decides initial weights, order and folds, so that the same labels give the same
    matrix; its parameters say `folds`, `fold_epochs` and `fold_decay`, the weight decay.

    Args:
        spec: of the run.
        data: its data set; the true labels are not looked at.
        labels: `(N,)` int64, the training labels as given.

    Raises:
        LabError: a class has fewer samples than there are folds, or no sample that a network is
            sure of.
    """
    try:
        probs = out_of_fold_probs(
            lambda inputs, given: _fitted(spec, data.num_classes, inputs, given),
            data.train.take(slice(None)),
            labels,
            data.num_classes,
            folds=int(spec.parameters["folds"]),
            generator=seeds.generator("folds", spec.seed),
        )
        return estimate_transition(probs, labels, method="confident")
    except ValueError as error:
        raise _not_estimated(spec, str(error)) from error


def check_folds(spec: RunSpec, data: DataSet, labels: Tensor) -> None:
    """Raise `LabError` unless every class has a sample for each fold."""
    counts = torch.bincount(labels, minlength=data.num_classes)
    folds = int(spec.parameters["folds"])
    if int(counts.min()) < folds:
        raise _not_estimated(
            spec,
            f"every class must have {folds} samples, one per fold, got {int(counts.min())} of "
            f"class {int(counts.argmin())}; leave that class out of the data",
        )


def distance(first: Tensor, second: Tensor) -> float:
    """Return the L1 distance of two rows, at most 2, on average over the rows."""
    return float((first - second).abs().sum(-1).mean())


def _not_estimated(spec: RunSpec, why: str) -> LabError:
    return LabError(
        f"{spec.method} cannot estimate the noise of these labels: {why}; or leave it out of "
        "--methods"
    )


def _fitted(
    spec: RunSpec, num_classes: int, inputs: Tensor, labels: Tensor
) -> Callable[[Tensor], Tensor]:
    """Train the run's network on hard labels and return what predicts by it."""
    epochs = int(spec.parameters["fold_epochs"])
    model = seeded_mlp(inputs[0].numel(), spec.hidden, num_classes, spec.seed)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=spec.learning_rate,
        momentum=spec.momentum,
        nesterov=spec.momentum > 0,
        weight_decay=spec.parameters["fold_decay"],
    )
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        order = torch.randperm(len(labels), generator=seeds.generator("order", spec.seed, epoch))
        for batch in torch.split(order, spec.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    @torch.no_grad()
    def predicted(held: Tensor) -> Tensor:
        return torch.cat([model(chunk) for chunk in torch.split(held, 4096)]).double().softmax(-1)

    return predicted
