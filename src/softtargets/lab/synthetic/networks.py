"""Many small networks of one shape, trained at once: every weight has a leading axis of networks.

A network ends as it would alone: it has its own data, targets, Adam moments and early stopping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from softtargets.losses import cross_entropy
from softtargets.target import Target

_BETAS, _EPS = (0.9, 0.999), 1e-8  # torch's defaults
_FULL = 0.93  # networks that have stopped are taken out once fewer than this share go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Schooling:
    """How networks are trained.

    Attributes:
        learning_rate: of Adam.
        epochs: at most this many passes over the data, a step each.
        patience: a network stops after this many epochs without a lower validation NLL.
    """

    learning_rate: float = 1e-2
    epochs: int = 500
    patience: int = 10


@dataclass(frozen=True, slots=True)
class Networks:
    """R multi-layer perceptrons with ReLU.

    Attributes:
        weights: `(R, inputs, outputs)` by layer.
        biases: `(R, 1, outputs)` by layer.
    """

    weights: list[Tensor]
    biases: list[Tensor]

    @classmethod
    def stacked(cls, models: Sequence[nn.Module]) -> Self:
        """Return copies of models whose linear layers, with ReLU between, are all they are."""
        layers = [
            [each for each in model.modules() if isinstance(each, nn.Linear)] for model in models
        ]
        return cls(
            [
                torch.stack([each.weight.detach().T for each in layer])
                for layer in zip(*layers, strict=True)
            ],
            [
                torch.stack([each.bias.detach()[None] for each in layer])
                for layer in zip(*layers, strict=True)
            ],
        )

    def logits(self, inputs: Tensor) -> Tensor:
        """Return `(R, N, K)` for inputs `(R, N, D)`."""
        hidden = inputs
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if place:
                hidden = hidden.relu()
            hidden = torch.baddbmm(bias, hidden, weight)
        return hidden

    def parameters(self) -> list[Tensor]:
        """Return all tensors, weights first."""
        return [*self.weights, *self.biases]

    def take(self, index: Tensor) -> "Networks":
        """Return copies of the networks of these numbers."""
        return self._of([each.detach()[index] for each in self.parameters()])

    def _of(self, parameters: Sequence[Tensor]) -> "Networks":
        return Networks(
            list(parameters[: len(self.weights)]), list(parameters[len(self.weights) :])
        )

    def __len__(self) -> int:
        return len(self.weights[0])


@dataclass(frozen=True, slots=True)
class Trained:
    """Networks at the epoch of their least validation NLL.

    Attributes:
        networks: R of them.
        validation_nll: `(R,)`.
        epochs: `(R,)` int64: the epoch, from 1.
    """

    networks: Networks
    validation_nll: Tensor
    epochs: Tensor


@dataclass(frozen=True, slots=True)
class Lesson:
    """What R networks learn from.

    Attributes:
        inputs: `(R, N, D)`.
        targets: `(R, N, K)`: target distributions.
        held_out: `(R, M, D)`: validation inputs.
        truth: `(R, M)` int64: their labels.
    """

    inputs: Tensor
    targets: Tensor
    held_out: Tensor
    truth: Tensor

    @classmethod
    def joined(cls, lessons: "Sequence[Lesson]") -> "Lesson":
        """Return the lessons of all their networks, in order."""
        parts = ((each.inputs, each.targets, each.held_out, each.truth) for each in lessons)
        return cls(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def take(self, index: Tensor) -> "Lesson":
        """Return the lessons of the networks of these numbers."""
        return Lesson(
            self.inputs[index], self.targets[index], self.held_out[index], self.truth[index]
        )


class _Adam:
    """Adam with torch's defaults; all networks are at the same step."""

    def __init__(self, parameters: list[Tensor], rate: float) -> None:
        self.rate = rate
        self.steps = 0
        self.moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in parameters]

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: Sequence[Tensor]) -> None:
        self.steps += 1
        first, second = (1 - beta**self.steps for beta in _BETAS)
        for value, gradient, (mean, square) in zip(
            parameters, gradients, self.moments, strict=True
        ):
            mean.lerp_(gradient, 1 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            scale = (square / second).sqrt_().add_(_EPS)
            value.addcdiv_(mean, scale, value=-self.rate / first)

    def take(self, index: Tensor) -> None:
        """Forget the other networks."""
        self.moments = [(mean[index], square[index]) for mean, square in self.moments]


def train(networks: Networks, lesson: Lesson, schooling: Schooling) -> Trained:
    """Train each network on its whole data at once until it stops getting better.

    Args:
        networks: R of them, left as they are.
        lesson: for R networks.
        schooling: how.
    """
    everyone = torch.arange(len(networks))
    best = networks.take(everyone)
    least = lesson.inputs.new_full((len(networks),), torch.inf)
    epochs = torch.zeros(len(networks), dtype=torch.int64)
    going, current, adam = (
        everyone,
        best.take(everyone),
        _Adam(best.parameters(), schooling.learning_rate),
    )
    for epoch in range(1, schooling.epochs + 1):
        parameters = current.parameters()
        adam.step(parameters, _gradients(current, lesson))
        nll = _validation_nll(current, lesson)
        better = (nll < least[going]) & (epoch - epochs[going] <= schooling.patience)
        at = going[better]
        least[at], epochs[at] = nll[better], epoch
        for kept, value in zip(best.parameters(), parameters, strict=True):
            kept[at] = value[better]
        stays = epoch - epochs[going] < schooling.patience
        if stays.double().mean() < _FULL:
            if not bool(stays.any()):
                break
            place = stays.nonzero().squeeze(-1)
            going, current, lesson = going[place], current.take(place), lesson.take(place)
            adam.take(place)
    return Trained(best, least, epochs)


def _gradients(networks: Networks, lesson: Lesson) -> tuple[Tensor, ...]:
    """Of each network's own mean loss: the sum of all has the same derivatives."""
    parameters = [each.detach().requires_grad_() for each in networks.parameters()]
    logits = networks._of(parameters).logits(lesson.inputs).flatten(0, 1)
    target = Target.from_probs(lesson.targets.flatten(0, 1), smoothed=True)
    loss = cross_entropy(logits, target, reduction="sum") / lesson.inputs.shape[1]
    return torch.autograd.grad(loss, parameters)


@torch.no_grad()
def _validation_nll(networks: Networks, lesson: Lesson) -> Tensor:
    logits = networks.logits(lesson.held_out)
    losses = cross_entropy(logits.flatten(0, 1), lesson.truth.flatten(), reduction="none")
    return losses.view(lesson.truth.shape).mean(-1)
