"""A run as a frozen value; its hash names its folder."""

import hashlib
import math
from typing import Any, ClassVar, Literal, TypeVar, get_args

import msgspec

Parameters = dict[str, float]

Optimizer = Literal["sgd", "adamw"]
Rates = Literal["cosine", "step", "one-cycle", "constant"]
Precision = Literal["float32", "bfloat16", "float16"]
Device = Literal["cpu", "cuda"]

MOST = 1_000_000

Value = TypeVar("Value")


class RunSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides the numbers of a run.

    A field that is not set is not encoded, so that adding one changes no earlier run.

    Attributes:
        data: name or path of the data set, as given.
        data_hash: hash of its contents and split.
        method: a name in `softtargets.lab.methods.METHODS`.
        parameters: the method's settings.
        seed: initial weights, data order, augmentation and label noise.
        noise: rate at which training labels are flipped to another class.
        epochs: passes over the training data.
        teacher: run_id of the teacher, for methods that have one.
        hidden: widths of the hidden layers of the model "mlp".
        batch_size: samples per step, of all ranks together; the last batch of an epoch may be
            smaller.
        learning_rate: of the optimiser, at its highest.
        momentum: Nesterov momentum of "sgd", the first of the two betas of "adamw".
        weight_decay: L2 penalty of "sgd", decoupled in "adamw".
        noise_kind: how labels are flipped, unless evenly to all other classes.
        noise_map: for asymmetric noise, which class to which.
        noisy_labels: hash of training labels given in a file.
        model: name of the network, "mlp" unless set.
        augment: name of the augmentation of training batches, none unless set.
        optimizer: "sgd" unless set.
        schedule: of the learning rate, "cosine" unless set; see `softtargets.lab.optimisation`.
        warm_up: epochs during which the learning rate rises from 0, before the schedule starts.
        precision: of the forward passes in training; losses, weights and what is measured stay
            float32.
        accumulate: parts that a batch is computed in, one after the other, to save memory.
        average: decay of an exponential moving average of the weights; what is measured and kept
            is then the average.
        patience: epochs without a new lowest validation NLL after which training stops; the weights
            of the lowest are then measured and kept.
        clip: largest norm of all gradients together.
        measured: training samples, the first ones, on which NLL and accuracy are measured after
            each epoch; all unless set.
        keep_features: whether the test data's features and the last layer are kept.
        resamples: draws of the test data behind the intervals of the record, 1,000 unless set; with
            0 it has none.
        device: "cpu" unless set.
        ranks: processes that compute the run together, one unless set.

    Raises:
        ValueError: a setting of training is out of range, or does not go with another.
    """

    kind: ClassVar[str] = "classification"

    data: str
    data_hash: str
    method: str
    parameters: Parameters
    seed: int
    noise: float
    epochs: int
    teacher: str | None = None
    hidden: tuple[int, ...] = (128, 128)
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    noise_kind: str | msgspec.UnsetType = msgspec.UNSET
    noise_map: tuple[tuple[int, int], ...] | msgspec.UnsetType = msgspec.UNSET
    noisy_labels: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    augment: str | msgspec.UnsetType = msgspec.UNSET
    optimizer: Optimizer | msgspec.UnsetType = msgspec.UNSET
    schedule: Rates | msgspec.UnsetType = msgspec.UNSET
    warm_up: int | msgspec.UnsetType = msgspec.UNSET
    precision: Precision | msgspec.UnsetType = msgspec.UNSET
    accumulate: int | msgspec.UnsetType = msgspec.UNSET
    average: float | msgspec.UnsetType = msgspec.UNSET
    patience: int | msgspec.UnsetType = msgspec.UNSET
    clip: float | msgspec.UnsetType = msgspec.UNSET
    measured: int | msgspec.UnsetType = msgspec.UNSET
    keep_features: bool | msgspec.UnsetType = msgspec.UNSET
    resamples: int | msgspec.UnsetType = msgspec.UNSET
    device: Device | msgspec.UnsetType = msgspec.UNSET
    ranks: int | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        for name, kinds in _CHOICES.items():
            value = getattr(self, name)
            if value is not msgspec.UNSET and value not in get_args(kinds):
                raise ValueError(
                    f"`{name}` must be one of {', '.join(get_args(kinds))}, got {value!r}"
                )
        for name, (lowest, highest) in _COUNTS.items():
            _check_count(name, getattr(self, name), lowest, highest)
        for name, (rule, holds) in _RATES.items():
            value = getattr(self, name)
            if value is not msgspec.UNSET and not (_is_number(value) and holds(value)):
                raise ValueError(f"`{name}` must be {rule}, got {value!r}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        warm_up = given(self.warm_up, 0)
        if warm_up >= max(self.epochs, 1):
            raise ValueError(
                f"`warm_up` must leave epochs to train in, got {warm_up} of {self.epochs} epochs"
            )
        if warm_up and self.schedule == "one-cycle":
            raise ValueError(
                "`warm_up` does not go with the schedule one-cycle, which rises by itself; leave "
                "it out"
            )
        if self.precision == "float16" and given(self.device, "cpu") == "cpu":
            raise ValueError(
                "`precision` float16 needs the scaled gradients of a CUDA device; take bfloat16, "
                "or the device cuda"
            )
        if self.hidden != (128, 128) and given(self.model, "mlp") != "mlp":
            raise ValueError(
                f"`hidden` is for the model mlp, and {self.model} has layers of its own, got "
                f"{self.hidden}; leave it out"
            )
        smallest = given(self.accumulate, 1) * given(self.ranks, 1)
        if smallest > self.batch_size:
            raise ValueError(
                f"`batch_size` must give each part of a batch a sample, got {self.batch_size} for "
                f"{smallest} parts (`accumulate` times `ranks`)"
            )

    @property
    def run_id(self) -> str:
        """A readable name with a hash of every field; the place of the data plays no part."""
        fields = msgspec.structs.replace(self, data="")
        digest = hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
        return f"{self.method}-seed{self.seed}-{digest[:12]}"


_CHOICES: dict[str, Any] = {
    "optimizer": Optimizer,
    "schedule": Rates,
    "precision": Precision,
    "device": Device,
}

_COUNTS = {
    "batch_size": (1, MOST),
    "warm_up": (0, MOST),
    "accumulate": (1, MOST),
    "patience": (1, MOST),
    "measured": (1, 10**12),
    "resamples": (0, MOST),
    "ranks": (1, 1024),
}

_RATES: dict[str, Any] = {
    "learning_rate": ("positive and finite", lambda value: 0 < value < math.inf),
    "momentum": ("in [0, 1)", lambda value: 0 <= value < 1),
    "weight_decay": ("at least 0 and finite", lambda value: 0 <= value < math.inf),
    "average": ("in (0, 1)", lambda value: 0 < value < 1),
    "clip": ("positive and finite", lambda value: 0 < value < math.inf),
}


def given(value: Value | msgspec.UnsetType, otherwise: Value) -> Value:
    """Return a field of a spec, or what holds where it is not set."""
    return otherwise if isinstance(value, msgspec.UnsetType) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: object, lowest: int, highest: int) -> None:
    if value is msgspec.UNSET:
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not lowest <= value <= highest:  # type: ignore[operator]
        raise ValueError(
            f"`{name}` must be a whole number from {lowest} to {highest}, got {value!r}"
        )
