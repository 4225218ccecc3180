"""What is compared in segmentation: each loss with each kind of target."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softtargets.lab.spec import Parameters
from softtargets.losses import CrossEntropyLoss, DiceLoss, cross_entropy, dice_loss
from softtargets.smoothing import (
    AbstractSmoothing,
    LabelSmoothing,
    OnlineLabelSmoothing,
    SpatialSmoothing,
)
from softtargets.target import Target

BASELINE = "ce"
DEFAULT = (BASELINE, "ce-ls", "ce-ols", "ce-spatial")
LOSSES = ("ce", "dice", "ce+dice")


class SumOfLosses(nn.Module):
    """Cross-entropy and Dice loss of one target, added.

    The target is made once: a dense one is in memory once, and a policy that learns learns once.

    Args:
        policy: makes the target in training; None for hard labels.
        num_classes: K.
        ignore_index: label of pixels that take no part.
    """

    def __init__(
        self, policy: AbstractSmoothing | None, num_classes: int, ignore_index: int
    ) -> None:
        super().__init__()
        self.policy, self.num_classes, self.ignore_index = policy, num_classes, ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum.

        Args:
            logits: `(N, K, H, W)`.
            labels: `(N, H, W)`.
        """
        dtype = torch.promote_types(logits.dtype, torch.float32)
        target = Target.from_labels(labels, self.num_classes, self.ignore_index, dtype=dtype)
        if self.policy is not None and self.training:
            target = self.policy(target, logits.movedim(1, -1))
        return cross_entropy(logits, target) + dice_loss(logits, target)


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
        policy = TARGETS[self.targets].policy(parameters, num_classes)
        if self.loss == "ce+dice":
            return SumOfLosses(policy, num_classes, ignore_index)
        loss = CrossEntropyLoss if self.loss == "ce" else DiceLoss
        return loss(policy, ignore_index=ignore_index)


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
