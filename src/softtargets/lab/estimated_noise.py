"""The noise as a run can know it: estimated from its own training labels, by cross-validation."""

from collections.abc import Callable

import msgspec
import torch
from torch import Tensor

from softtargets.lab import seeds
from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.measuring import VECTORS
from softtargets.lab.networks import network
from softtargets.lab.optimisation import learning_rate, optimizer
from softtargets.lab.spec import RunSpec, given
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
            lambda inputs, given: _fitted(spec, data, inputs, given),
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
    spec: RunSpec, data: DataSet, inputs: Tensor, labels: Tensor
) -> Callable[[Tensor], Tensor]:
    """Train the run's network on hard labels, not augmented, and return what predicts by it."""
    epochs, device = int(spec.parameters["fold_epochs"]), given(spec.device, "cpu")
    decay = spec.parameters["fold_decay"]
    spec = msgspec.structs.replace(spec, epochs=epochs, weight_decay=decay, warm_up=0)
    model = network(spec, data).to(device)
    fitting = optimizer(spec, model.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.generator("fold layers", spec.seed).initial_seed())
        for epoch in range(epochs):
            drawn = seeds.generator("order", spec.seed, epoch)
            batches = torch.split(torch.randperm(len(labels), generator=drawn), spec.batch_size)
            for step, batch in enumerate(batches):
                for group in fitting.param_groups:
                    group["lr"] = learning_rate(spec, epoch, step, len(batches))
                fitting.zero_grad()
                logits = model(inputs[batch].to(device))
                cross_entropy(logits, labels[batch].to(device)).backward()  # type: ignore[no-untyped-call]
                fitting.step()

    @torch.no_grad()
    def predicted(held: Tensor) -> Tensor:
        model.eval()
        chunks = torch.split(held, VECTORS)
        return torch.cat([model(chunk.to(device)).cpu() for chunk in chunks]).double().softmax(-1)

    return predicted
