"""A library as the cases see it, and ways to load a part of one."""

import ast
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.problem import NotOffered, Problem


def load_file(file: Path) -> ModuleType:
    """Run one Python file, or the `__init__.py` of a folder, as a module of its own."""
    folder = [str(file.parent)] if file.name == "__init__.py" else None
    name = "part_" + "_".join(file.with_suffix("").parts[-3:]).replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def path_in(package: str, path: str) -> Path:
    """A file of an installed package, without importing the package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(found.origin).parent / path


def part_of(package: str, path: str) -> ModuleType:
    """Load one file or folder of an installed package without importing the package.

    For packages whose own import needs torchvision, which has no build for every torch.
    """
    return load_file(path_in(package, path))


def definition(file: Path, name: str, **names: Any) -> Any:
    """Run one function or class of a file by itself, as the file has it, with the names it uses.

    For files whose own imports need more than the environment holds.
    """
    tree = ast.parse(file.read_text())
    futures = [x for x in tree.body if isinstance(x, ast.ImportFrom) and x.module == "__future__"]
    found = [
        x for x in tree.body if isinstance(x, ast.FunctionDef | ast.ClassDef) and x.name == name
    ]
    if not found:
        raise AttributeError(f"{file.name} has no {name!r}")
    module = ast.Module([*futures, *found], type_ignores=[])
    exec(compile(module, str(file), "exec", dont_inherit=True), names)
    return names[name]


@dataclass(frozen=True)
class Online:
    """A criterion that learns soft labels; row y of the matrix is the one of class y."""

    criterion: nn.Module
    end_epoch: Callable[[], None]
    matrix: Callable[[], Tensor]


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

    def forward_mode(self, problem: Problem, direction: Tensor) -> Tensor:
        """The loss's derivative along a direction."""
        self.loss(problem)

        def loss(logits: Tensor) -> Tensor:
            return self.loss(problem.but(logits=logits))

        with warnings.catch_warnings():
            # torch's own forward mode uses what torch deprecates.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            return torch.func.jvp(loss, (problem.logits,), (direction,))[1]

    def gradient_of_each(self, problem: Problem) -> Tensor:
        """Each row's own gradient, by `vmap`."""
        self.loss(problem)

        def loss(logits: Tensor, label: Tensor) -> Tensor:
            row = problem.but(logits=logits.unsqueeze(0), target=label.unsqueeze(0))
            return self.cross_entropy(row)

        return torch.func.vmap(torch.func.grad(loss))(problem.logits, problem.target)

    def loss_dtype(self, problem: Problem) -> str:
        return str(self.loss(problem).dtype).removeprefix("torch.")

    def smoothed_target(self, problem: Problem) -> Tensor:
        """The rows that the loss is taken of."""
        raise NotOffered("smoothed target on its own")

    def default(self, problem: Problem) -> Tensor:
        raise NotOffered("loss object")

    def evaluated(self, problem: Problem) -> Tensor:
        """The loss of a module with a rate, in `.eval()`."""
        raise NotOffered("module with a rate")

    def smoothed_twice(self, problem: Problem) -> Tensor:
        raise NotOffered("smoothing of soft targets")

    def mixed_with_a_smoothed_one(self, problem: Problem) -> Tensor:
        """The loss of half a smoothed target and half a target that is not."""
        raise NotOffered("target that knows whether it was smoothed")

    def negative(self, problem: Problem) -> Tensor:
        """The loss for a negative rate that the caller asks for in so many words."""
        raise NotOffered("negative rate on request")

    def with_prior(self, problem: Problem, prior: Tensor) -> Tensor:
        """The rate is spread as `prior` says."""
        raise NotOffered("smoothing towards a prior")

    def validated(self, problem: Problem) -> Tensor:
        """The loss with every check on."""
        raise NotOffered("checks of values on request")

    def fused(self, hidden: Tensor, weight: Tensor, labels: Tensor, rate: float) -> Tensor:
        """The loss of `hidden @ weight.T`, without the logits as a whole."""
        raise NotOffered("output layer and loss in one")

    def instance_based(
        self, problem: Problem, teacher: Tensor, spread: str, curve: tuple[float, float] | None
    ) -> Tensor:
        """The loss of ILS; `curve` is P1 and P2 of a rate per sample, None for a constant one."""
        raise NotOffered("instance-based label smoothing")

    def forward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        """The loss of `transition' p`; `transition[i, j]` is P(noisy j | clean i)."""
        raise NotOffered("forward correction of noisy labels")

    def backward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        """The loss of the labels times the inverse of `transition`."""
        raise NotOffered("backward correction of noisy labels")

    def anchor_transition(self, probs: Tensor, quantile: float | None) -> Tensor:
        """The rows of `probs` that are largest, or at a quantile, in each column."""
        raise NotOffered("transition matrix from anchor points")

    def confident_transition(self, probs: Tensor, labels: Tensor) -> Any:
        raise NotOffered("transition matrix by confident learning")

    def as_documented(self, transition: Tensor) -> Any:
        """A transition matrix in the form that the library's signature names."""
        return transition

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

    def online(self, num_classes: int) -> Online:
        raise NotOffered("online label smoothing")
