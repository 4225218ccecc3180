"""The methods that `softtargets compare` knows, with the settings it runs them at."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from softtargets.lab.spec import Parameters
from softtargets.lab.task import Task
from softtargets.losses import (
    AbstractPenalty,
    ACLSPenalty,
    ConfidencePenalty,
    CrossEntropyLoss,
    DistillationLoss,
    FocalLoss,
    MarginPenalty,
    ZipfPenalty,
)
from softtargets.smoothing import (
    AbstractSmoothing,
    Bootstrapping,
    ClassMatrixSmoothing,
    InstanceLabelSmoothing,
    LabelAwareSmoothing,
    LabelSmoothing,
    MaxSup,
    OnlineLabelSmoothing,
    QuadraticRate,
    Schedule,
)

BASELINE = "hard"
DEFAULT = (BASELINE, "ls", "ols", "ils1", "ils2", "ils")


class Family(StrEnum):
    """Where a method takes from what it does; the value is a heading."""

    RULE = "A fixed rule"
    MODEL = "The model's own predictions"
    TEACHER = "A teacher"
    LOSS = "Another loss, or a penalty"
    INPUTS = "Mixed inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method as a row of a comparison.

    Attributes:
        title: short name for tables.
        name: what the title stands for.
        summary: what it does, in one sentence for somebody who has never heard of it.
        family: methods that are alike are shown together; None for the baseline.
        parameters: its settings, as recorded; from the papers or chosen by hand, never tuned.
        build: the criterion for a task; called with `teacher_logits=` if it needs a teacher.
        needs_teacher: whether it wants the logits of the hard-label run of the same seed.
        mixes: whether inputs and targets of a batch are mixed before the model sees them, with
            the parameter `alpha`.
    """

    title: str
    name: str
    summary: str
    family: Family | None
    parameters: Parameters
    build: Callable[[Task], nn.Module]
    needs_teacher: bool = False
    mixes: bool = False


def _smoothed(policy: Callable[[Task], AbstractSmoothing]) -> Callable[[Task], nn.Module]:
    return lambda task: CrossEntropyLoss(policy(task))


def _penalised(penalty: Callable[..., AbstractPenalty]) -> Callable[[Task], nn.Module]:
    """The cross-entropy with a penalty whose arguments are the parameters."""
    return lambda task: CrossEntropyLoss(penalty=penalty(**task.parameters))


def _uniform(task: Task) -> LabelSmoothing:
    return LabelSmoothing(task.parameters["rate"])


def _frequencies(task: Task) -> LabelSmoothing:
    counts = task.class_counts
    return LabelSmoothing(task.parameters["rate"], prior=counts / counts.sum())


def _label_aware(task: Task) -> LabelAwareSmoothing:
    return LabelAwareSmoothing(task.class_counts, task.parameters["head"], task.parameters["tail"])


def _two_stages(task: Task) -> LabelSmoothing:
    stop = math.ceil(task.parameters["share"] * task.epochs)
    return LabelSmoothing(Schedule.step((task.parameters["rate"], 0.0), (stop,)))


def _suppressed(task: Task) -> MaxSup:
    start, end = task.parameters["start"], task.parameters["end"]
    return MaxSup(Schedule.linear(start, end, steps=max(1, task.epochs - 1)))


def _quadratic(task: Task) -> QuadraticRate:
    return QuadraticRate(
        p1=task.parameters["p1"],
        p2=task.parameters["p2"],
        max_rate=task.parameters["max_rate"],
        temperature=task.taught.temperature,
    )


class _Flattened(nn.Module):
    """Distillation from the teacher at a temperature of its own; the student's is 1.

    With both at T the gradient is up to T times that of the cross-entropy, and at T = 20 that
    breaks training at the learning rate that suits all the other methods.
    """

    def __init__(self, temperature: float, hard_weight: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.loss = DistillationLoss(temperature=1.0, hard_weight=hard_weight)

    def forward(self, logits: Tensor, target: Tensor, *, teacher_logits: Tensor) -> Tensor:
        flat = teacher_logits / self.temperature
        loss: Tensor = self.loss(logits, target, teacher_logits=flat)
        return loss


def _by_class(task: Task) -> ClassMatrixSmoothing:
    said = task.taught.said_of(task.labels)
    # A softmax of logarithms leaves the proportions as they are.
    logs = said.clamp(min=torch.finfo(said.dtype).tiny).log()
    return ClassMatrixSmoothing.from_similarities(logs.float(), task.parameters["rate"])


METHODS: dict[str, Method] = {
    BASELINE: Method(
        title="hard labels",
        name="hard labels",
        summary="The usual target: all of it on the label.",
        family=None,
        parameters={},
        build=lambda task: CrossEntropyLoss(),
    ),
    "ls": Method(
        title="LS",
        name="label smoothing",
        summary="Label smoothing: a fixed tenth of the target is spread evenly over all classes.",
        family=Family.RULE,
        parameters={"rate": 0.1},
        build=_smoothed(_uniform),
    ),
    "prior": Method(
        title="prior LS",
        name="label smoothing towards the label frequencies",
        summary="Label smoothing in which frequent classes get more: a fixed tenth of the target "
        "is spread over all classes in proportion to how often each is a label.",
        family=Family.RULE,
        parameters={"rate": 0.1},
        build=_smoothed(_frequencies),
    ),
    "las": Method(
        title="LAS",
        name="label-aware smoothing",
        summary="Label-aware: the more often a class is a label, the more its labels are smoothed; "
        "meant for data with rare classes. Settings of the authors for CIFAR-10.",
        family=Family.RULE,
        parameters={"head": 0.3, "tail": 0.0},
        build=_smoothed(_label_aware),
    ),
    "tsla": Method(
        title="TSLA",
        name="two-stage label smoothing",
        summary="Two stages: label smoothing for the first half of the epochs, hard labels for the "
        "rest. The half is chosen by hand, not tuned.",
        family=Family.RULE,
        parameters={"rate": 0.1, "share": 0.5},
        build=_smoothed(_two_stages),
    ),
    "ols": Method(
        title="OLS",
        name="online label smoothing",
        summary="Online label smoothing: half of the target is what the model itself said, on "
        "average, about correctly classified samples of that class in the epoch before.",
        family=Family.MODEL,
        parameters={"hard_weight": 0.5},
        build=_smoothed(
            lambda task: OnlineLabelSmoothing(task.num_classes, task.parameters["hard_weight"])
        ),
    ),
    "maxsup": Method(
        title="MaxSup",
        name="max suppression",
        summary="Max suppression: as label smoothing, but what is taken is taken from the class "
        "the model prefers, be it the label or not; from a tenth at first to a fifth at the end.",
        family=Family.MODEL,
        parameters={"start": 0.1, "end": 0.2},
        build=_smoothed(_suppressed),
    ),
    "bootstrap-soft": Method(
        title="soft boot",
        name="soft bootstrapping",
        summary="Bootstrapping, soft: a twentieth of the target is the model's own probabilities "
        "for that very sample; meant for wrong labels.",
        family=Family.MODEL,
        parameters={"beta": 0.95},
        build=_smoothed(lambda task: Bootstrapping(task.parameters["beta"])),
    ),
    "bootstrap-hard": Method(
        title="hard boot",
        name="hard bootstrapping",
        summary="Bootstrapping, hard: a fifth of the target is the one class the model itself "
        "predicts for that very sample; meant for wrong labels.",
        family=Family.MODEL,
        parameters={"beta": 0.8},
        build=_smoothed(lambda task: Bootstrapping(task.parameters["beta"], hard=True)),
    ),
    "ils1": Method(
        title="ILS1",
        name="instance-based smoothing of the amount",
        summary="Instance-based: a teacher's confidence decides how much each sample is smoothed; "
        "what moves is spread evenly over the other classes. Settings chosen by hand, not tuned.",
        family=Family.TEACHER,
        parameters={"p1": 0.95, "p2": 1.5, "max_rate": 0.2},
        build=_smoothed(lambda task: InstanceLabelSmoothing(_quadratic(task))),
        needs_teacher=True,
    ),
    "ils2": Method(
        title="ILS2",
        name="instance-based smoothing of the shape",
        summary="Instance-based: a fixed tenth moves from each label to the other classes, in the "
        "proportions a teacher gives for that sample.",
        family=Family.TEACHER,
        parameters={"rate": 0.1},
        build=_smoothed(
            lambda task: InstanceLabelSmoothing(task.parameters["rate"], spread="teacher")
        ),
        needs_teacher=True,
    ),
    "ils": Method(
        title="ILS",
        name="instance-based smoothing",
        summary="Instance-based, both: a teacher decides for each sample how much moves and where "
        "to. Settings chosen by hand, not tuned.",
        family=Family.TEACHER,
        parameters={"p1": 0.95, "p2": 1.5, "max_rate": 0.2},
        build=_smoothed(lambda task: InstanceLabelSmoothing(_quadratic(task), spread="teacher")),
        needs_teacher=True,
    ),
    "cls": Method(
        title="CLS",
        name="class-matrix smoothing",
        summary="Class matrix: a fixed tenth moves from each label to the other classes, in the "
        "proportions a teacher gives on average for that label's training samples.",
        family=Family.TEACHER,
        parameters={"rate": 0.1},
        build=_smoothed(_by_class),
        needs_teacher=True,
    ),
    "distill": Method(
        title="distill",
        name="distillation",
        summary="Distillation: nine tenths of the loss ask for what a teacher says of the sample, "
        "flattened by a temperature of 20, and one tenth asks for the label.",
        family=Family.TEACHER,
        parameters={"temperature": 20.0, "hard_weight": 0.1},
        build=lambda task: _Flattened(**task.parameters),
        needs_teacher=True,
    ),
    "mbls": Method(
        title="MbLS",
        name="margin-based label smoothing",
        summary="Margin-based: hard labels, and a penalty on outputs (logits) that lie more than a "
        "margin below the largest one.",
        family=Family.LOSS,
        parameters={"margin": 10.0, "weight": 0.1},
        build=_penalised(MarginPenalty),
    ),
    "acls": Method(
        title="ACLS",
        name="adaptive and conditional label smoothing",
        summary="Adaptive and conditional: hard labels, and a penalty that grows with the square "
        "of how far outputs (logits) lie beyond a margin, above or below.",
        family=Family.LOSS,
        parameters={"margin": 10.0, "weight": 0.1, "top_weight": 1.0, "rest_weight": 0.1},
        build=_penalised(ACLSPenalty),
    ),
    "cp": Method(
        title="CP",
        name="the confidence penalty",
        summary="Confidence penalty: hard labels, and a reward for predictions that spread their "
        "probability (entropy).",
        family=Family.LOSS,
        parameters={"weight": 0.1},
        build=_penalised(ConfidencePenalty),
    ),
    "zipf": Method(
        title="Zipf",
        name="Zipf's label smoothing",
        summary="Zipf: hard labels, and a penalty unless the probabilities of the other classes "
        "fall with their rank by a fixed law: the second gets half of the first. Its weight is "
        "chosen by hand, not tuned.",
        family=Family.LOSS,
        parameters={"weight": 0.1, "exponent": 1.0},
        build=_penalised(ZipfPenalty),
    ),
    "focal": Method(
        title="focal",
        name="the focal loss",
        summary="Focal loss: hard labels, but a sample weighs less, the surer the model already is "
        "of its label.",
        family=Family.LOSS,
        parameters={"gamma": 3.0},
        build=lambda task: FocalLoss(task.parameters["gamma"]),
    ),
    "mixup": Method(
        title="MixUp",
        name="MixUp",
        summary="MixUp: the model is trained on weighted means of two samples, and the target is "
        "the same mean of their labels.",
        family=Family.INPUTS,
        parameters={"alpha": 0.2},
        build=lambda task: CrossEntropyLoss(),
        mixes=True,
    ),
    "mixup-ls": Method(
        title="MixUp + LS",
        name="MixUp with label smoothing",
        summary="MixUp, and then a fixed tenth of the target is spread evenly over all classes.",
        family=Family.INPUTS,
        parameters={"alpha": 0.2, "rate": 0.1},
        build=_smoothed(_uniform),
        mixes=True,
    ),
}


def expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names as given; `"all"` alone stands for every method there is."""
    return tuple(METHODS) if names == ("all",) else names
