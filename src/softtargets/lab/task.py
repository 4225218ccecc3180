"""What a method may look at when it is built: the task, and a teacher."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softtargets.lab.spec import Parameters


@dataclass(frozen=True, slots=True)
class Teacher:
    """What a run needs of its teacher.

    Attributes:
        logits: `(N, K)`, of all training samples as they are.
        temperature: fitted on validation data.
        model: what said so, in eval mode; asked again where training samples are augmented.
    """

    logits: Tensor
    temperature: float
    model: nn.Module | None = None

    @classmethod
    def silent(cls, samples: int, num_classes: int) -> "Teacher":
        """Return one that says nothing, where only the shapes of a run matter."""
        return cls(logits=torch.zeros(samples, num_classes), temperature=1.0)

    def to(self, device: torch.device) -> "Teacher":
        """Return the teacher on another device.

        Args:
            device: where it goes.
        """
        model = None if self.model is None else self.model.to(device)
        return Teacher(self.logits.to(device), self.temperature, model)

    def said_of(self, labels: Tensor) -> Tensor:
        """Return `(K, K)` float64, row y = the mean probabilities of the samples labelled y.

        A label without samples has a row of ones.

        Args:
            labels: `(N,)`.
        """
        probs = self.logits.double().softmax(-1)
        num_classes = probs.shape[-1]
        sums = probs.new_zeros(num_classes, num_classes).index_add_(0, labels, probs)
        counts = torch.bincount(labels, minlength=num_classes).unsqueeze(-1)
        return torch.where(counts > 0, sums / counts.clamp(min=1), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a method is built for.

    Attributes:
        parameters: the method's settings.
        num_classes: K.
        labels: `(N,)` int64, the training labels as given, noise included.
        epochs: passes over the training data.
        true_labels: `(N,)` int64, before noise; for methods that are told what the noise is.
        teacher: for methods that need one.
        estimated: `(K, K)` float64, the transition for methods that estimate it.
    """

    parameters: Parameters
    num_classes: int
    labels: Tensor
    epochs: int
    true_labels: Tensor
    teacher: Teacher | None = None
    estimated: Tensor | None = None

    @property
    def class_counts(self) -> Tensor:
        """`(K,)` int64: how many training labels each class has."""
        return torch.bincount(self.labels, minlength=self.num_classes)

    @property
    def transition(self) -> Tensor:
        """`(K, K)` float64: the share of each true class (row) that has which label."""
        table = torch.zeros(self.num_classes, self.num_classes, dtype=torch.float64)
        ones = torch.ones(len(self.labels), dtype=table.dtype)
        table.index_put_((self.true_labels, self.labels), ones, accumulate=True)
        totals = table.sum(-1, keepdim=True)
        identity = torch.eye(self.num_classes, dtype=table.dtype)
        return torch.where(totals > 0, table / totals.clamp(min=1), identity)

    @property
    def taught(self) -> Teacher:
        """The teacher of a method that needs one."""
        assert self.teacher is not None
        return self.teacher
