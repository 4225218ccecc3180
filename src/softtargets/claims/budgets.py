"""How much is spent on a claim: seconds in the tests, minutes on a processor, hours on a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

BudgetName = Literal["smoke", "cpu", "full"]
BUDGETS: tuple[BudgetName, ...] = get_args(BudgetName)
SceneName = Literal[
    "easy", "confident", "part", "synthetic", "people, aggre", "people, worse"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a network is trained on, and how.

    Attributes:
        data: as `Sources.located` takes it; `{seed}` stands for the seed of a run, where each has
            data of its own.
        epochs: passes over the training data, at most.
        fields: further fields of a `RunSpec`.
        seeds: of the runs that are judged, where they are others than the budget's.
        tuning_seeds: the same of the runs that settings are chosen by.
    """

    data: str
    epochs: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    tuning_seeds: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many runs of what a claim may have.

    Attributes:
        name: its name.
        scenes: easy (a network that is calibrated as it is), confident (one that is not), part
            (some of the classes alone), synthetic (points of a plane, drawn anew for each seed),
            people (labels of photographs by people).
        seeds: of the runs that are judged.
        tuning_seeds: of the runs that settings are chosen by; none of the above.
        tries: how many settings each method may choose from, at most.
    """

    name: BudgetName
    scenes: Mapping[SceneName, Scene]
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    tries: int

    def __post_init__(self) -> None:
        if set(self.seeds) & set(self.tuning_seeds):
            raise ValueError(
                "`seeds` and `tuning_seeds` must have no seed in common, got "
                f"{self.seeds} and {self.tuning_seeds}; number the latter from 100"
            )


_FASHION = "{root}/fashion_mnist/fashion_mnist_29k.npz.xz"
_PEOPLE = "cifar10:{root}/cifar10?noisy_labels=cifar10n.npz:"
# As in the paper; the size of its batches is not printed.
_PLANE = {
    "hidden": (64,) * 5,
    "batch_size": 50,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "schedule": "constant",
    "patience": 10,
}
_TINY = {"hidden": (16,), "batch_size": 256}
_PHOTOS = {"hidden": (128, 128), "batch_size": 128}
_SMALL = {"hidden": (128, 128), "batch_size": 128}

SMOKE = Budget(
    name="smoke",
    scenes={
        "easy": Scene(data="digits", epochs=2, fields=_TINY),
        "confident": Scene(data="digits", epochs=2, fields=_TINY),
        "part": Scene(data="PART:digits", epochs=2, fields=_TINY),
        "synthetic": Scene(data="digits", epochs=2, fields={**_PLANE, **_TINY}),
        "people, aggre": Scene(data="digits", epochs=2, fields=_TINY),
        "people, worse": Scene(data="digits", epochs=2, fields=_TINY),
    },
    seeds=(0, 1),
    tuning_seeds=(100,),
    tries=2,
)
CPU = Budget(
    name="cpu",
    scenes={
        "easy": Scene(data="digits", epochs=40),
        "confident": Scene(data=f"{_FASHION}?samples=5000", epochs=25, fields=_SMALL),
        "part": Scene(data=f"PART:{_FASHION}?samples=3000", epochs=25, fields=_SMALL),
        "synthetic": Scene(
            data="two-gaussians?seed={seed}",
            epochs=500,
            fields=_PLANE,
            seeds=tuple(range(10)),
            tuning_seeds=tuple(range(100, 105)),
        ),
        "people, aggre": Scene(data=f"{_PEOPLE}aggre&samples=5000", epochs=20, fields=_PHOTOS),
        "people, worse": Scene(data=f"{_PEOPLE}worse&samples=5000", epochs=20, fields=_PHOTOS),
    },
    seeds=(0, 1, 2, 3, 4),
    tuning_seeds=(100, 101),
    tries=4,
)
FULL = Budget(
    name="full",
    scenes={},
    seeds=CPU.seeds,
    tuning_seeds=CPU.tuning_seeds,
    tries=CPU.tries,
)
BY_NAME: Mapping[BudgetName, Budget] = {"smoke": SMOKE, "cpu": CPU, "full": FULL}
