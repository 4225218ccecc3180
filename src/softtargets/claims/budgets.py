"""How much is spent on a claim: seconds in the tests, minutes on a processor, hours on a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from softtargets.lab.synthetic import Schooling

BudgetName = Literal["smoke", "cpu", "full"]
BUDGETS: tuple[BudgetName, ...] = get_args(BudgetName)
SceneName = Literal[
    "easy",
    "noisy",
    "confident",
    "part",
    "objects",
    "people, aggre",
    "people, worse",
    "sentences",
    "streets",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a network is trained on, and how.

    Attributes:
        data: as `Sources.located` takes it.
        epochs: passes over the training data.
        fields: further fields of a `RunSpec`.
        student: those of them that are others for a network that learns from a teacher alone.
        kind: of runs, in `softtargets.lab.kinds.MODULES`.
        seeds: how many of the budget's are judged, the first ones; all unless set.
    """

    data: str
    epochs: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "classification"
    seeds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many runs of what a claim may have.

    Attributes:
        name: its name.
        scenes: easy (a network that is calibrated as it is), confident (one that is not), noisy
            (what is trained with negative rates), part (some of the classes alone),
            objects (colour pictures), people (labels by people), sentences (to translate), streets
            (to segment).
        seeds: of the runs that are judged.
        tuning_seeds: of the runs that settings are chosen by; none of the above.
        tries: how many settings each method may choose from, at most.
        draws: of the synthetic benchmark's data.
        networks: it trains for each method and draw.
        schooling: how, if not as in the paper.
    """

    name: BudgetName
    scenes: Mapping[SceneName, Scene]
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    tries: int
    draws: int
    networks: int
    schooling: Schooling | None = None

    def __post_init__(self) -> None:
        if set(self.seeds) & set(self.tuning_seeds):
            raise ValueError(
                "`seeds` and `tuning_seeds` must have no seed in common, got "
                f"{self.seeds} and {self.tuning_seeds}; number the latter from 100"
            )


_FASHION = "{root}/fashion_mnist/fashion_mnist_29k.npz.xz"
_PEOPLE = "cifar10:{root}/cifar10?noisy_labels=cifar10n.npz:"
_TINY = {"hidden": (16,), "batch_size": 256}
_SMALL = {"hidden": (128, 128), "batch_size": 128, "measured": 1000}
_CORPUS = "translation:{root}/multi30k"
_STREETS = "camvid:{root}/camvid/camvid.tar?size="
_BEAMS = (1, 2, 3, 4, 5, 6, 8, 10)
_STUDENT = {"hidden": (32,), "learning_rate": 0.03}


def _smoke() -> Mapping[SceneName, Scene]:
    tiny = Scene(data="digits", epochs=1, fields=_TINY, student={"hidden": (8,)})
    return {
        "easy": tiny,
        "noisy": tiny,
        "confident": tiny,
        "part": Scene(data="PART:digits", epochs=1, fields=_TINY),
        "objects": tiny,
        "people, aggre": tiny,
        "people, worse": tiny,
        "sentences": Scene(
            data=_CORPUS,
            epochs=1,
            fields={"vocabulary": 400, "width": 16, "layers": 1, "beams": (1, 2, 4)},
            kind="translation",
        ),
        "streets": Scene(
            data=f"{_STREETS}20x16",
            epochs=3,
            fields={"batch_size": 4, "width": 4, "depth": 2, "pixels": 50, "resamples": 0},
            kind="segmentation",
        ),
    }


def _cpu() -> Mapping[SceneName, Scene]:
    digits = Scene(data="digits", epochs=40)
    return {
        "easy": digits,
        "noisy": digits,
        "confident": Scene(
            data=f"{_FASHION}?samples=5000", epochs=20, fields=_SMALL, student=_STUDENT
        ),
        "part": Scene(data=f"PART:{_FASHION}?samples=3000", epochs=20, fields=_SMALL),
        "objects": Scene(data="cifar10:{root}/cifar10?samples=3000", epochs=20, fields=_SMALL),
        "people, aggre": Scene(data=f"{_PEOPLE}aggre&samples=5000", epochs=20, fields=_SMALL),
        "people, worse": Scene(data=f"{_PEOPLE}worse&samples=5000", epochs=20, fields=_SMALL),
        "sentences": Scene(
            data=_CORPUS, epochs=8, fields={"beams": _BEAMS}, kind="translation", seeds=3
        ),
        "streets": Scene(
            data=f"{_STREETS}80x60",
            epochs=8,
            fields={
                "width": 8,
                "depth": 3,
                "learning_rate": 1e-2,
                "pixels": 500,
                "resamples": 0,
            },
            kind="segmentation",
        ),
    }


def _full() -> Mapping[SceneName, Scene]:
    pictures: dict[str, Any] = {
        "model": "resnet56",
        "augment": "crop-flip",
        "batch_size": 128,
        "schedule": "step",
        "device": "cuda",
    }
    shallower = {**pictures, "model": "resnet32"}
    return {
        "easy": Scene(
            data="mnist:{root}/mnist",
            epochs=100,
            fields={"hidden": (1200, 1200), "batch_size": 128, "augment": "shift"},
        ),
        "noisy": Scene(data="cifar10:{root}/cifar10", epochs=200, fields=shallower),
        "confident": Scene(
            data="cifar100:{root}/cifar100",
            epochs=300,
            fields=pictures,
            student={"model": "resnet20"},
        ),
        "part": Scene(data=f"PART:{_FASHION}", epochs=60, fields={"model": "cnn"}),
        "objects": Scene(data="cifar10:{root}/cifar10", epochs=300, fields=pictures),
        "people, aggre": Scene(data=f"{_PEOPLE}aggre", epochs=200, fields=shallower),
        "people, worse": Scene(data=f"{_PEOPLE}worse", epochs=200, fields=shallower),
        "sentences": Scene(
            data=_CORPUS,
            epochs=40,
            fields={
                "vocabulary": 8000,
                "width": 256,
                "feed_forward": 1024,
                "dropout": 0.3,
                "learning_rate": 1e-3,
                "batch_tokens": 4000,
                "beams": (*_BEAMS, 16, 32),
            },
            kind="translation",
        ),
        "streets": Scene(
            data=f"{_STREETS}480x360",
            epochs=100,
            fields={"width": 32, "depth": 4, "resamples": 0},
            kind="segmentation",
        ),
    }


SMOKE = Budget(
    name="smoke",
    scenes=_smoke(),
    seeds=(0, 1),
    tuning_seeds=(100,),
    tries=2,
    draws=2,
    networks=2,
    schooling=Schooling(epochs=20),
)
CPU = Budget(
    name="cpu",
    scenes=_cpu(),
    seeds=tuple(range(5)),
    tuning_seeds=(100, 101),
    tries=4,
    draws=10,
    networks=30,
)
FULL = replace(CPU, name="full", scenes=_full(), draws=100)
BY_NAME: Mapping[BudgetName, Budget] = {"smoke": SMOKE, "cpu": CPU, "full": FULL}
