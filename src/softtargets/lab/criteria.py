"""The criteria of the laboratory's methods, each built for a task."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from softtargets.lab.task import Task
from softtargets.losses import (
    AbstractPenalty,
    CrossEntropyLoss,
    DistillationLoss,
    ForwardCorrection,
    SymmetricCrossEntropyLoss,
)
from softtargets.smoothing import (
    AbstractSmoothing,
    BackwardCorrection,
    ClassMatrixSmoothing,
    InstanceLabelSmoothing,
    LabelAwareSmoothing,
    LabelSmoothing,
    MaxSup,
    OnlineLabelSmoothing,
    QuadraticRate,
    Schedule,
)


def smoothed(policy: Callable[[Task], AbstractSmoothing]) -> Callable[[Task], nn.Module]:
    """Return the cross-entropy with the policy that is built for the task."""
    return lambda task: CrossEntropyLoss(policy(task))


def penalised(penalty: Callable[..., AbstractPenalty]) -> Callable[[Task], nn.Module]:
    """Return the cross-entropy with a penalty whose arguments are the parameters."""
    return lambda task: CrossEntropyLoss(penalty=penalty(**task.parameters))


def uniform(task: Task) -> LabelSmoothing:
    """Label smoothing; a rate below 0 is reached in steps, over a share `warm_up` of the epochs."""
    rate = task.parameters["rate"]
    if "warm_up" not in task.parameters:
        return LabelSmoothing(rate)
    steps = max(1, math.ceil(task.parameters["warm_up"] * task.epochs))
    return LabelSmoothing(Schedule.linear(0.0, rate, steps=steps))


class PeriodicOnline(nn.Module):
    """Online label smoothing that learns a matrix every few steps, instead of every epoch.

    Args:
        policy: the smoothing.
        period: steps from one matrix to the next.
    """

    steps: Tensor

    def __init__(self, policy: OnlineLabelSmoothing, period: int) -> None:
        super().__init__()
        self.loss, self.period = CrossEntropyLoss(policy), period
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss; in training, count a step."""
        loss: Tensor = self.loss(logits, target)
        if self.training:
            self.steps += 1
            if int(self.steps) % self.period == 0:
                for module in self.loss.children():
                    assert isinstance(module, OnlineLabelSmoothing)
                    module.end_epoch()
        return loss


def online(task: Task) -> nn.Module:
    """Online label smoothing; with a `period` in steps, or of all samples, if asked to."""
    policy = OnlineLabelSmoothing(
        task.num_classes,
        task.parameters["hard_weight"],
        correct_only=bool(task.parameters.get("correct_only", 1.0)),
    )
    period = int(task.parameters.get("period", 0))
    return PeriodicOnline(policy, period) if period else CrossEntropyLoss(policy)


def frequencies(task: Task) -> LabelSmoothing:
    """Label smoothing towards how often each class is a label."""
    counts = task.class_counts
    return LabelSmoothing(task.parameters["rate"], prior=counts / counts.sum())


def label_aware(task: Task) -> LabelAwareSmoothing:
    """A rate for each class by how often it is a label."""
    return LabelAwareSmoothing(task.class_counts, task.parameters["head"], task.parameters["tail"])


def two_stages(task: Task) -> LabelSmoothing:
    """Label smoothing for a share of the epochs, rounded up."""
    stop = math.ceil(task.parameters["share"] * task.epochs)
    return LabelSmoothing(Schedule.step((task.parameters["rate"], 0.0), (stop,)))


def suppressed(task: Task) -> MaxSup:
    """Max suppression whose weight reaches its end in the last epoch."""
    start, end = task.parameters["start"], task.parameters["end"]
    return MaxSup(Schedule.linear(start, end, steps=max(1, task.epochs - 1)))


def amount(task: Task) -> QuadraticRate:
    """How much a sample is smoothed, by its teacher's calibrated confidence."""
    return QuadraticRate(
        p1=task.parameters["p1"],
        p2=task.parameters["p2"],
        max_rate=task.parameters["max_rate"],
        temperature=task.taught.temperature,
    )


def amount_by_teacher(task: Task) -> InstanceLabelSmoothing:
    """ILS1."""
    return InstanceLabelSmoothing(amount(task))


def shape_by_teacher(task: Task) -> InstanceLabelSmoothing:
    """ILS2."""
    return InstanceLabelSmoothing(task.parameters["rate"], spread="teacher")


def both_by_teacher(task: Task) -> InstanceLabelSmoothing:
    """ILS."""
    return InstanceLabelSmoothing(amount(task), spread="teacher")


def by_class(task: Task) -> ClassMatrixSmoothing:
    """A class matrix of what a teacher says on average of each label's samples."""
    said = task.taught.said_of(task.labels)
    # A softmax of logarithms leaves the proportions as they are.
    logs = said.clamp(min=torch.finfo(said.dtype).tiny).log()
    return ClassMatrixSmoothing.from_similarities(logs.float(), task.parameters["rate"])


class FlattenedTeacher(nn.Module):
    """Distillation from the teacher at a temperature of its own; the student's is 1.

    With both at T the gradient is up to T times that of the cross-entropy, and at T = 20 that
    breaks training at the learning rate that suits all the other methods.
    """

    def __init__(self, temperature: float, hard_weight: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.loss = DistillationLoss(temperature=1.0, hard_weight=hard_weight)

    def forward(self, logits: Tensor, target: Tensor, *, teacher_logits: Tensor) -> Tensor:
        """Return the loss."""
        flat = teacher_logits / self.temperature
        loss: Tensor = self.loss(logits, target, teacher_logits=flat)
        return loss


def distilled(task: Task) -> nn.Module:
    """Distillation; with `matched`, teacher and student at the same temperature."""
    if task.parameters.get("matched"):
        return DistillationLoss(task.parameters["temperature"], task.parameters["hard_weight"])
    return FlattenedTeacher(task.parameters["temperature"], task.parameters["hard_weight"])


def symmetric(task: Task) -> SymmetricCrossEntropyLoss:
    """Symmetric cross-entropy."""
    return SymmetricCrossEntropyLoss(task.parameters["alpha"], task.parameters["beta"])


def forward_corrected(task: Task) -> CrossEntropyLoss:
    """Forward correction with the noise as it was drawn."""
    return CrossEntropyLoss(correction=ForwardCorrection(task.transition))


def forward_corrected_by_estimate(task: Task) -> CrossEntropyLoss:
    """Forward correction with the noise as it was estimated."""
    assert task.estimated is not None
    return CrossEntropyLoss(correction=ForwardCorrection(task.estimated))


def backward_corrected(task: Task) -> BackwardCorrection:
    """Backward correction with the noise as it was drawn, warmed up for a share of the epochs."""
    steps = math.ceil(task.parameters["warm_up"] * task.epochs)
    return BackwardCorrection(task.transition, Schedule.linear(0.0, 1.0, steps=steps))
