"""How the models of a comparison are trained: the options, and the fields of a spec they become."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from softtargets.lab.errors import LabError
from softtargets.lab.spec import Device, Optimizer, Precision, Rates, RunSpec

_ADAPTIVE = {"learning_rate": 1e-3, "weight_decay": 1e-2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How every model of a comparison is trained; see `softtargets.lab.spec.RunSpec`.

    Attributes:
        model: name of the network.
        augment: what is done to training batches.
        optimizer: SGD with Nesterov momentum, or AdamW.
        learning_rate: highest; 0.1 for sgd and 0.001 for adamw unless given.
        momentum: of sgd, or adamw's first beta.
        weight_decay: 0.0005 for sgd and 0.01 for adamw unless given.
        batch_size: samples per step.
        schedule: how the learning rate falls: along a cosine, tenfold at a half and at three
            quarters (step), first up and then down (one-cycle), not at all (constant).
        warm_up: epochs in which the learning rate rises from 0 first.
        precision: of the forward passes in training; float16 needs cuda.
        accumulate: parts that a batch is computed in, to save memory.
        average: decay of a moving average of the weights, as 0.999; the average is what is
            measured and kept.
        patience: epochs without a lower validation NLL until training stops and goes back to the
            weights of the lowest.
        clip: largest norm of the gradient.
        measured: training samples measured after each epoch, to save time; all unless given.
        keep_features: keep features of the test data and the last layer.
        device: cpu or cuda.
        ranks: processes that compute each run together, on shares of every batch.
    """

    model: str = "mlp"
    augment: str = "none"
    optimizer: Optimizer = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    batch_size: int = 64
    schedule: Rates = "cosine"
    warm_up: int = 0
    precision: Precision = "float32"
    accumulate: int = 1
    average: float | None = None
    patience: int | None = None
    clip: float | None = None
    measured: int | None = None
    keep_features: bool = False
    device: Device = "cpu"
    ranks: int = 1

    def fields(self, *, epochs: int) -> dict[str, Any]:
        """Return the fields of a spec; those that say what is usual are left out.

        Args:
            epochs: of the runs.

        Raises:
            LabError: they make no spec; it names the option as the command line does.
        """
        given = {each.name: getattr(self, each.name) for each in dataclasses.fields(Training)}
        usual = {each.name: each.default for each in dataclasses.fields(Training)}
        fields = {name: value for name, value in given.items() if value != usual[name]}
        if self.optimizer == "adamw":
            fields = _ADAPTIVE | fields
        try:
            RunSpec(
                data="", data_hash="", method="", parameters={}, seed=0, noise=0.0, epochs=epochs,
                **fields,
            )  # fmt: skip
        except ValueError as error:
            raise as_options(error) from error
        return fields


def as_options(error: ValueError) -> LabError:
    """Return an error of a spec with its fields named as the command line does.

    Args:
        error: whose text names fields in backticks.

    Example:
        >>> as_options(ValueError("`learning_rate` must be positive"))
        LabError('--learning-rate must be positive')
    """
    return LabError(re.sub(r"`(\w+)`", _flag, str(error)))


def _flag(name: re.Match[str]) -> str:
    return f"--{name[1].replace('_', '-')}"
