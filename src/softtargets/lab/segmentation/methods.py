"""What is compared in segmentation: each loss with each kind of target."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from softtargets.lab.spec import Parameters
from softtargets.losses import CrossEntropyLoss, DiceLoss
from softtargets.smoothing import (
    AbstractSmoothing,
    LabelSmoothing,
    OnlineLabelSmoothing,
    SpatialSmoothing,
)

BASELINE = "ce"
DEFAULT = (BASELINE, "ce-ls", "ce-ols", "ce-spatial")
LOSSES = ("ce", "dice", "ce+dice")


class SumOfLosses(nn.Module):
    """Cross-entropy and Dice loss, added.

    Each has the policy it was made with; one that learns online learns in each of them from the
    same predictions.

    Args:
        losses: to add.
    """

    def __init__(self, *losses: nn.Module) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum.

        Args:
            logits: `(N, K, H, W)`.
            target: `(N, H, W)` labels.
        """
        first, *others = self.losses
        total: Tensor = first(logits, target)
        for loss in others:
            total = total + loss(logits, target)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """A kind of target.

    Attributes:
        title: short name for tables.
        summary: what it is, in one sentence.
        parameters: settings, as recorded; from the papers or chosen by hand, never tuned.
        policy: made of the parameters and the number of classes; None for hard labels.
    """

    title: str
    summary: str
    parameters: Parameters
    policy: Callable[[Parameters, int], AbstractSmoothing | None]


TARGETS: dict[str, Targets] = {
    "hard": Targets(
        title="hard",
        summary="All of the target is on the pixel's label.",
        parameters={},
        policy=lambda parameters, num_classes: None,
    ),
    "ls": Targets(
        title="LS",
        summary="Label smoothing: a fixed tenth is spread evenly over all classes.",
        parameters={"rate": 0.1},
        policy=lambda parameters, num_classes: LabelSmoothing(parameters["rate"]),
    ),
    "ols": Targets(
        title="OLS",
        summary="Online label smoothing: half is what the model itself said, on average, about "
        "right pixels of that class in the epoch before.",
        parameters={"hard_weight": 0.5},
        policy=lambda parameters, num_classes: OnlineLabelSmoothing(
            num_classes, parameters["hard_weight"]
        ),
    ),
    "spatial": Targets(
        title="SVLS",
        summary="Spatial smoothing: half comes from the eight pixels around, so that the target is "
        "soft at boundaries alone. Its width is chosen by hand.",
        parameters={"sigma": 1.0},
        policy=lambda parameters, num_classes: SpatialSmoothing(parameters["sigma"]),
    ),
}
_TITLES = {"ce": "CE", "dice": "Dice", "ce+dice": "CE + Dice"}
_WORDS = {
    "ce": "Cross-entropy of every pixel.",
    "dice": "One minus the soft Dice coefficient of every class and image.",
    "ce+dice": "Cross-entropy and Dice loss, added with equal weights.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A loss with a kind of target.

    Attributes:
        title: short name for tables.
        summary: what it does.
        loss: one of `LOSSES`.
        targets: a name in `TARGETS`.
    """

    title: str
    summary: str
    loss: str
    targets: str

    @property
    def parameters(self) -> Parameters:
        """Settings, as recorded."""
        return dict(TARGETS[self.targets].parameters)

    def build(self, parameters: Parameters, num_classes: int, ignore_index: int) -> nn.Module:
        """Return the criterion, called with logits `(N, K, H, W)` and labels `(N, H, W)`.

        Args:
            parameters: settings, see `parameters`.
            num_classes: K.
            ignore_index: label of pixels that take no part.
        """

        def policy() -> AbstractSmoothing | None:
            return TARGETS[self.targets].policy(parameters, num_classes)

        losses: list[nn.Module] = []
        if "ce" in self.loss.split("+"):
            losses.append(CrossEntropyLoss(policy(), ignore_index=ignore_index))
        if "dice" in self.loss.split("+"):
            losses.append(DiceLoss(policy(), ignore_index=ignore_index))
        return losses[0] if len(losses) == 1 else SumOfLosses(*losses)


METHODS: dict[str, Method] = {
    loss if targets == "hard" else f"{loss}-{targets}": Method(
        title=_TITLES[loss] if targets == "hard" else f"{_TITLES[loss]} with {kind.title}",
        summary=f"{_WORDS[loss]} {kind.summary}",
        loss=loss,
        targets=targets,
    )
    for loss in LOSSES
    for targets, kind in TARGETS.items()
}
