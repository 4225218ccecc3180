"""How much is spent on a claim: seconds in the tests, minutes on a processor, hours on a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

BudgetName = Literal["smoke", "cpu", "full"]
BUDGETS: tuple[BudgetName, ...] = get_args(BudgetName)
SceneName = Literal["easy", "confident", "colour", "part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a network is trained on, and how.

    Attributes:
        data: a name of `softtargets.claims.sources`.
        epochs: passes over the training data.
        fields: further fields of a `RunSpec`.
    """

    data: str
    epochs: int
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many runs of what a claim may have.

    Attributes:
        name: its name.
        scenes: easy (a network that is calibrated as it is), confident (one that is not), colour
            (photographs, with labels by people), part (some of the classes alone).
        seeds: of the runs that are judged.
        tuning_seeds: of the runs that settings are chosen by; none of the above.
        tries: how many settings each method may choose from, at most.
        draws: data sets drawn for the synthetic benchmark.
    """

    name: BudgetName
    scenes: Mapping[SceneName, Scene]
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    tries: int
    draws: int

    def __post_init__(self) -> None:
        if set(self.seeds) & set(self.tuning_seeds):
            raise ValueError(
                "`seeds` and `tuning_seeds` must have no seed in common, got "
                f"{self.seeds} and {self.tuning_seeds}; number the latter from 100"
            )


_TINY = {"hidden": (16,), "batch_size": 256}
_SMALL = {"hidden": (128, 128), "batch_size": 128}

SMOKE = Budget(
    name="smoke",
    scenes={
        "easy": Scene(data="digits", epochs=2, fields=_TINY),
        "confident": Scene(data="digits", epochs=2, fields=_TINY),
        "part": Scene(data="digits-part", epochs=2, fields=_TINY),
    },
    seeds=(0, 1),
    tuning_seeds=(100,),
    tries=2,
    draws=2,
)
CPU = Budget(
    name="cpu",
    scenes={
        "easy": Scene(data="digits", epochs=40),
        "confident": Scene(data="fashion-5000", epochs=25, fields=_SMALL),
        "part": Scene(data="fashion-part", epochs=25, fields=_SMALL),
    },
    seeds=(0, 1, 2, 3, 4),
    tuning_seeds=(100, 101),
    tries=4,
    draws=10,
)
