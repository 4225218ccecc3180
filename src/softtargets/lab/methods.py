"""The methods that `softtargets compare` knows, with the settings it runs them at."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from torch import nn

from softtargets.lab import criteria
from softtargets.lab.changes import Change, cut, mixed, mollified
from softtargets.lab.spec import Parameters
from softtargets.lab.task import Task
from softtargets.losses import (
    ACLSPenalty,
    ConfidencePenalty,
    CrossEntropyLoss,
    FocalLoss,
    GeneralizedCrossEntropyLoss,
    MarginPenalty,
    ZipfPenalty,
)
from softtargets.smoothing import Bootstrapping

BASELINE = "hard"
DEFAULT = (BASELINE, "ls", "ols", "ils1", "ils2", "ils")


class Family(StrEnum):
    """Where a method takes from what it does; the value is a heading."""

    RULE = "A fixed rule"
    MODEL = "The model's own predictions"
    TEACHER = "A teacher"
    LOSS = "Another loss, or a penalty"
    NOISE = "Made for wrong labels"
    INPUTS = "Changed inputs"


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
        teacher: the method whose run of the same seed gives it logits; None for no teacher.
        told_noise: whether it is told which labels are wrong how often, which only an experiment
            knows: a bound for others, nothing to recommend.
        estimates_noise: whether the noise is estimated from its training labels, with the
            parameters `folds`, `fold_epochs` and `fold_decay`.
        change: what is done to inputs and targets of a batch before the model sees them.
        pictures: whether it is for pictures alone.
    """

    title: str
    name: str
    summary: str
    family: Family | None
    parameters: Parameters
    build: Callable[[Task], nn.Module]
    teacher: str | None = None
    told_noise: bool = False
    estimates_noise: bool = False
    change: Change | None = None
    pictures: bool = False


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
        build=criteria.smoothed(criteria.uniform),
    ),
    "prior": Method(
        title="prior LS",
        name="label smoothing towards the label frequencies",
        summary="Label smoothing in which frequent classes get more: a fixed tenth of the target "
        "is spread over all classes in proportion to how often each is a label.",
        family=Family.RULE,
        parameters={"rate": 0.1},
        build=criteria.smoothed(criteria.frequencies),
    ),
    "las": Method(
        title="LAS",
        name="label-aware smoothing",
        summary="Label-aware: the more often a class is a label, the more its labels are smoothed; "
        "meant for data with rare classes. Settings of the authors for CIFAR-10.",
        family=Family.RULE,
        parameters={"head": 0.3, "tail": 0.0},
        build=criteria.smoothed(criteria.label_aware),
    ),
    "tsla": Method(
        title="TSLA",
        name="two-stage label smoothing",
        summary="Two stages: label smoothing for the first half of the epochs, hard labels for the "
        "rest. The half is chosen by hand, not tuned.",
        family=Family.RULE,
        parameters={"rate": 0.1, "share": 0.5},
        build=criteria.smoothed(criteria.two_stages),
    ),
    "ols": Method(
        title="OLS",
        name="online label smoothing",
        summary="Online label smoothing: half of the target is what the model itself said, on "
        "average, about correctly classified samples of that class in the epoch before.",
        family=Family.MODEL,
        parameters={"hard_weight": 0.5},
        build=criteria.online,
    ),
    "maxsup": Method(
        title="MaxSup",
        name="max suppression",
        summary="Max suppression: as label smoothing, but what is taken is taken from the class "
        "the model prefers, be it the label or not; from a tenth at first to a fifth at the end.",
        family=Family.MODEL,
        parameters={"start": 0.1, "end": 0.2},
        build=criteria.smoothed(criteria.suppressed),
    ),
    "ils1": Method(
        title="ILS1",
        name="instance-based smoothing of the amount",
        summary="Instance-based: a teacher's confidence decides how much each sample is smoothed; "
        "what moves is spread evenly over the other classes. Settings chosen by hand, not tuned.",
        family=Family.TEACHER,
        parameters={"p1": 0.95, "p2": 1.5, "max_rate": 0.2},
        build=criteria.smoothed(criteria.amount_by_teacher),
        teacher=BASELINE,
    ),
    "ils2": Method(
        title="ILS2",
        name="instance-based smoothing of the shape",
        summary="Instance-based: a fixed tenth moves from each label to the other classes, in the "
        "proportions a teacher gives for that sample.",
        family=Family.TEACHER,
        parameters={"rate": 0.1},
        build=criteria.smoothed(criteria.shape_by_teacher),
        teacher=BASELINE,
    ),
    "ils": Method(
        title="ILS",
        name="instance-based smoothing",
        summary="Instance-based, both: a teacher decides for each sample how much moves and where "
        "to. Settings chosen by hand, not tuned.",
        family=Family.TEACHER,
        parameters={"p1": 0.95, "p2": 1.5, "max_rate": 0.2},
        build=criteria.smoothed(criteria.both_by_teacher),
        teacher=BASELINE,
    ),
    "cls": Method(
        title="CLS",
        name="class-matrix smoothing",
        summary="Class matrix: a fixed tenth moves from each label to the other classes, in the "
        "proportions a teacher gives on average for that label's training samples.",
        family=Family.TEACHER,
        parameters={"rate": 0.1},
        build=criteria.smoothed(criteria.by_class),
        teacher=BASELINE,
    ),
    "distill": Method(
        title="distill",
        name="distillation",
        summary="Distillation: nine tenths of the loss ask for what a teacher says of the sample, "
        "flattened by a temperature of 20, and one tenth asks for the label.",
        family=Family.TEACHER,
        parameters={"temperature": 20.0, "hard_weight": 0.1},
        build=criteria.distilled,
        teacher=BASELINE,
    ),
    "distill-ls": Method(
        title="distill LS",
        name="distillation from a smoothed teacher",
        summary="Distillation from a teacher that was trained with label smoothing: the target is "
        "what the teacher says of the sample, as it is; labels play no part.",
        family=Family.TEACHER,
        parameters={"temperature": 1.0, "hard_weight": 0.0},
        build=criteria.distilled,
        teacher="ls",
    ),
    "distill-forward-est": Method(
        title="distill fwd",
        name="distillation from a corrected teacher",
        summary="Distillation from a teacher that was trained with forward correction by the "
        "estimated noise: the target is what the teacher says of the sample; labels play no part.",
        family=Family.TEACHER,
        parameters={"temperature": 1.0, "hard_weight": 0.0},
        build=criteria.distilled,
        teacher="forward-est",
    ),
    "mbls": Method(
        title="MbLS",
        name="margin-based label smoothing",
        summary="Margin-based: hard labels, and a penalty on outputs (logits) that lie more than a "
        "margin below the largest one.",
        family=Family.LOSS,
        parameters={"margin": 10.0, "weight": 0.1},
        build=criteria.penalised(MarginPenalty),
    ),
    "acls": Method(
        title="ACLS",
        name="adaptive and conditional label smoothing",
        summary="Adaptive and conditional: hard labels, and a penalty that grows with the square "
        "of how far outputs (logits) lie beyond a margin, above or below.",
        family=Family.LOSS,
        parameters={"margin": 10.0, "weight": 0.1, "top_weight": 1.0, "rest_weight": 0.1},
        build=criteria.penalised(ACLSPenalty),
    ),
    "cp": Method(
        title="CP",
        name="the confidence penalty",
        summary="Confidence penalty: hard labels, and a reward for predictions that spread their "
        "probability (entropy).",
        family=Family.LOSS,
        parameters={"weight": 0.1},
        build=criteria.penalised(ConfidencePenalty),
    ),
    "zipf": Method(
        title="Zipf",
        name="Zipf's label smoothing",
        summary="Zipf: hard labels, and a penalty unless the probabilities of the other classes "
        "fall with their rank by a fixed law: the second gets half of the first. Its weight is "
        "chosen by hand, not tuned.",
        family=Family.LOSS,
        parameters={"weight": 0.1, "exponent": 1.0},
        build=criteria.penalised(ZipfPenalty),
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
    "bootstrap-soft": Method(
        title="soft boot",
        name="soft bootstrapping",
        summary="Bootstrapping, soft: a twentieth of the target is the model's own probabilities "
        "for that very sample.",
        family=Family.NOISE,
        parameters={"beta": 0.95},
        build=criteria.smoothed(lambda task: Bootstrapping(task.parameters["beta"])),
    ),
    "bootstrap-hard": Method(
        title="hard boot",
        name="hard bootstrapping",
        summary="Bootstrapping, hard: a fifth of the target is the one class the model itself "
        "predicts for that very sample.",
        family=Family.NOISE,
        parameters={"beta": 0.8},
        build=criteria.smoothed(lambda task: Bootstrapping(task.parameters["beta"], hard=True)),
    ),
    "gce": Method(
        title="GCE",
        name="generalised cross-entropy",
        summary="Generalised cross-entropy: hard labels, but a sample weighs less, the less the "
        "model believes its label.",
        family=Family.NOISE,
        parameters={"q": 0.7},
        build=lambda task: GeneralizedCrossEntropyLoss(task.parameters["q"]),
    ),
    "sce": Method(
        title="SCE",
        name="symmetric cross-entropy",
        summary="Symmetric cross-entropy: a tenth of the usual loss, and beside it the same loss "
        "with label and prediction in each other's place, which a wrong label cannot drive far. "
        "Settings of the authors for CIFAR-10.",
        family=Family.NOISE,
        parameters={"alpha": 0.1, "beta": 1.0},
        build=criteria.symmetric,
    ),
    "forward": Method(
        title="forward",
        name="forward correction",
        summary="Forward correction: the prediction is sent through the noise before it meets the "
        "label. It is told the true noise, which only an experiment knows.",
        family=Family.NOISE,
        parameters={},
        build=criteria.forward_corrected,
        told_noise=True,
    ),
    "backward": Method(
        title="backward",
        name="backward correction",
        summary="Backward correction: the target is changed so that wrong labels cancel out on "
        "average, by negative entries, in full from the middle of training on. It is told the true "
        "noise, which only an experiment knows.",
        family=Family.NOISE,
        parameters={"warm_up": 0.5},
        build=criteria.smoothed(criteria.backward_corrected),
        told_noise=True,
    ),
    "forward-est": Method(
        title="forward est",
        name="forward correction with estimated noise",
        summary="Forward correction that estimates the noise from the training labels alone: "
        "networks trained on parts of them predict the rest (confident learning). Settings chosen "
        "by hand, not tuned.",
        family=Family.NOISE,
        parameters={"folds": 5.0, "fold_epochs": 10.0, "fold_decay": 0.01},
        build=criteria.forward_corrected_by_estimate,
        estimates_noise=True,
    ),
    "mixup": Method(
        title="MixUp",
        name="MixUp",
        summary="MixUp: the model is trained on weighted means of two samples, and the target is "
        "the same mean of their labels.",
        family=Family.INPUTS,
        parameters={"alpha": 0.2},
        build=lambda task: CrossEntropyLoss(),
        change=mixed,
    ),
    "mixup-ls": Method(
        title="MixUp + LS",
        name="MixUp with label smoothing",
        summary="MixUp, and then a fixed tenth of the target is spread evenly over all classes.",
        family=Family.INPUTS,
        parameters={"alpha": 0.2, "rate": 0.1},
        build=criteria.smoothed(criteria.uniform),
        change=mixed,
    ),
    "cutmix": Method(
        title="CutMix",
        name="CutMix",
        summary="CutMix: a box of each picture is replaced by a partner's, and so is the target, "
        "by the share of the area.",
        family=Family.INPUTS,
        parameters={"alpha": 1.0},
        build=lambda task: CrossEntropyLoss(),
        change=cut,
        pictures=True,
    ),
    "mollify": Method(
        title="mollify",
        name="mollification",
        summary="Mollification: a third of the pictures get noise, a third are blurred, each by "
        "its own amount, and the worse a picture becomes, the more its label is smoothed.",
        family=Family.INPUTS,
        parameters={"beta": 2.0},
        build=lambda task: CrossEntropyLoss(),
        change=mollified("clean", "noise", "blur"),
        pictures=True,
    ),
    "mollify-noise": Method(
        title="moll. noise",
        name="mollification by noise",
        summary="Mollification by noise alone: half of the samples get noise, each its own amount, "
        "and the more there is, the more the label is smoothed.",
        family=Family.INPUTS,
        parameters={"beta": 2.0},
        build=lambda task: CrossEntropyLoss(),
        change=mollified("clean", "noise"),
    ),
    "mollify-blur": Method(
        title="moll. blur",
        name="mollification by blur",
        summary="Mollification by blur alone: half of the pictures are blurred, each by its own "
        "amount, and the more, the more the label is smoothed.",
        family=Family.INPUTS,
        parameters={"beta": 2.0},
        build=lambda task: CrossEntropyLoss(),
        change=mollified("clean", "blur"),
        pictures=True,
    ),
}


def expanded(names: tuple[str, ...], *, texts: bool = False) -> tuple[str, ...]:
    """Return the names as given; `"all"` alone stands for every method that suits such data.

    Args:
        names: as on a command line.
        texts: whether the data are texts, whose numbers of words cannot be changed; all others
            may be no pictures.
    """
    if names != ("all",):
        return names
    return tuple(
        name
        for name, method in METHODS.items()
        if not method.pictures and not (texts and method.change is not None)
    )
