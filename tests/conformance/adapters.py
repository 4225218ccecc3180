"""A library as the cases see it; softtargets and torch."""

import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import softtargets as st
from tests.conformance.problem import NotOffered, Problem


def part_of(package: str, path: str) -> ModuleType:
    """Load one file or folder of an installed package without importing the package.

    For packages whose own import needs torchvision, which has no build for every torch.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    file = Path(found.origin).parent / path
    folder = [str(file.parent)] if file.name == "__init__.py" else None
    name = f"part_of_{package}"
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Library:
    """What a library can be asked; what it does not override it does not offer."""

    name = ""
    distribution = ""
    title = ""
    how = "imported"
    # Names of `Problem.features` that `loss` has an argument for.
    offers: frozenset[str] = frozenset()

    def load(self) -> None:
        """Import it."""

    def version(self) -> str:
        return metadata.version(self.distribution)

    def loss(self, problem: Problem) -> Tensor:
        """The cross-entropy, after a look at what the library has arguments for."""
        for feature, words in problem.features().items():
            if feature not in self.offers:
                raise NotOffered(words)
        return self.cross_entropy(problem)

    def cross_entropy(self, problem: Problem) -> Tensor:
        raise NotOffered("cross-entropy")

    def gradient(self, problem: Problem, scale: float = 1.0) -> Tensor:
        """The gradient of the loss in float32 times a scale."""
        leaf = problem.logits.detach().clone().requires_grad_()
        loss = self.loss(problem.but(logits=leaf))
        return torch.autograd.grad(scale * loss.float(), leaf)[0]

    def gradient_along(self, problem: Problem, direction: Tensor) -> Tensor:
        """The product of the Hessian and a direction, by double backward."""
        leaf = problem.logits.detach().clone().requires_grad_()
        loss = self.loss(problem.but(logits=leaf))
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        return torch.autograd.grad((gradient * direction).sum(), leaf)[0]

    def functional_gradient(self, problem: Problem) -> Tensor:
        def loss(logits: Tensor) -> Tensor:
            return self.loss(problem.but(logits=logits))

        return torch.func.grad(loss)(problem.logits)

    def default(self, problem: Problem) -> Tensor:
        raise NotOffered("loss object")

    def evaluated(self, problem: Problem) -> Tensor:
        """The loss of a module with a rate, in `.eval()`."""
        raise NotOffered("module with a rate")

    def smoothed_twice(self, problem: Problem) -> Tensor:
        raise NotOffered("smoothing of soft targets")

    def with_class_mask(self, problem: Problem, alive: Tensor) -> Tensor:
        raise NotOffered("class mask")

    def in_micro_batches(self, parts: list[Problem], counted: int) -> Tensor:
        raise NotOffered("normaliser over several steps")

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        raise NotOffered("smoothed binary cross-entropy")

    def dice(self, logits: Tensor, target: Tensor) -> Tensor:
        """Dice loss of one sigmoid map `(N, 1, H, W)` against a soft one."""
        raise NotOffered("Dice loss of soft targets")

    def max_sup(self, problem: Problem, strength: float) -> Tensor:
        raise NotOffered("MaxSup")

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        raise NotOffered("calibration error")

    def calibration_error_of_logits(self, logits: Tensor, labels: Tensor, bins: int) -> Any:
        raise NotOffered("calibration error of logits")

    def classwise_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        raise NotOffered("class-wise calibration error")

    def debiased_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        raise NotOffered("debiased calibration error")

    def online(self, num_classes: int) -> Any:
        raise NotOffered("online label smoothing")


class SoftTargets(Library):
    name = distribution = title = "softtargets"
    offers = frozenset({"labels", "weight", "soft", "smoothed soft", "rate", "reduction", "ignore"})

    def version(self) -> str:
        return st.__version__

    def cross_entropy(self, problem: Problem) -> Tensor:
        return st.cross_entropy(
            problem.logits,
            problem.target,
            smoothing=problem.rate or None,
            weight=problem.weight,
            reduction=problem.reduction,
        )

    def default(self, problem: Problem) -> Tensor:
        return st.CrossEntropyLoss()(problem.logits, problem.target)

    def evaluated(self, problem: Problem) -> Tensor:
        criterion = st.CrossEntropyLoss(problem.rate, weight=problem.weight).eval()
        return criterion(problem.logits, problem.target)

    def smoothed_twice(self, problem: Problem) -> Tensor:
        once = st.Target.from_labels(problem.target, problem.classes).smooth(problem.rate)
        return st.cross_entropy(problem.logits, once, smoothing=problem.rate)

    def with_class_mask(self, problem: Problem, alive: Tensor) -> Tensor:
        return st.cross_entropy(
            problem.logits, problem.target, smoothing=problem.rate, class_mask=alive
        )

    def in_micro_batches(self, parts: list[Problem], counted: int) -> Tensor:
        losses = [
            st.cross_entropy(p.logits, p.target, smoothing=p.rate, normalizer=counted)
            for p in parts
        ]
        return torch.stack(losses).sum()

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        return st.BCEWithLogitsLoss(rate)(logits, answers)

    def dice(self, logits: Tensor, target: Tensor) -> Tensor:
        return st.dice_loss(logits, target, activation="sigmoid")

    def max_sup(self, problem: Problem, strength: float) -> Tensor:
        criterion = st.CrossEntropyLoss(
            st.MaxSup(strength), weight=problem.weight, reduction=problem.reduction
        )
        return criterion(problem.logits, problem.target)

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return st.calibration.expected_calibration_error(probs, labels, bins=bins)

    def calibration_error_of_logits(self, logits: Tensor, labels: Tensor, bins: int) -> Any:
        report = st.calibration.evaluate(logits, labels, bins=bins)
        return report.expected_calibration_error.value

    def classwise_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return st.calibration.classwise_calibration_error(probs, labels, bins=bins)

    def debiased_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return st.calibration.expected_calibration_error(probs, labels, bins=bins, debiased=True)

    def online(self, num_classes: int) -> Any:
        return st.CrossEntropyLoss(st.OnlineLabelSmoothing(num_classes))


class Torch(Library):
    name = distribution = "torch"
    title = "torch"
    offers = SoftTargets.offers

    def cross_entropy(self, problem: Problem) -> Tensor:
        return functional.cross_entropy(
            problem.logits,
            problem.target.to(problem.logits.dtype) if problem.soft else problem.target,
            weight=problem.weight,
            reduction=problem.reduction,
            label_smoothing=problem.rate,
        )

    def default(self, problem: Problem) -> Tensor:
        return torch.nn.CrossEntropyLoss()(problem.logits, problem.target)

    def evaluated(self, problem: Problem) -> Tensor:
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=problem.rate).eval()
        return criterion(problem.logits, problem.target)

    def smoothed_twice(self, problem: Problem) -> Tensor:
        once = (1 - problem.rate) * problem.one_hot() + problem.rate / problem.classes
        return self.loss(problem.but(target=once))
