"""Repositories that are no packages, asked where a clone lies in the environment's `clones`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.library import Library, Online, definition, load_file
from tests.conformance.problem import IGNORED, NotOffered, Problem


class Clone(Library):
    """A library in a clone; its version is the commit."""

    repository = ""
    part = ""

    @property
    def how(self) -> str:  # type: ignore[override]
        return f"a clone of https://github.com/{self.repository}{self.part}"

    @property
    def folder(self) -> Path:
        return Path(sys.prefix, "clones", self.repository.partition("/")[2])

    def version(self) -> str:
        command = ["git", "-C", str(self.folder), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def file(self, path: str) -> Path:
        found = self.folder / path
        if not found.exists():
            raise FileNotFoundError(f"no clone of https://github.com/{self.repository}")
        return found


class CoinCheung(Clone):
    name, title = "CoinCheung", "pytorch-loss, `LabelSmoothSoftmaxCEV1`"
    repository = "CoinCheung/pytorch-loss"
    part = ", the class by itself: the file's imports want a compiled extension"
    offers = frozenset({"labels", "rate", "reduction", "ignore"})

    def load(self) -> None:
        file = self.file("pytorch_loss/label_smooth.py")
        self.make = definition(file, "LabelSmoothSoftmaxCEV1", torch=torch, nn=nn)

    def cross_entropy(self, problem: Problem) -> Tensor:
        criterion = self.make(problem.rate, problem.reduction, IGNORED)
        return criterion(problem.logits, problem.target)

    def default(self, problem: Problem) -> Tensor:
        return self.make()(problem.logits, problem.target)

    def evaluated(self, problem: Problem) -> Tensor:
        return self.make(problem.rate).eval()(problem.logits, problem.target)


class Ankandrew(Clone):
    name, title = "ankandrew", "`OnlineLabelSmoothing`"
    repository = "ankandrew/online-label-smoothing-pt"

    def load(self) -> None:
        self.make = load_file(self.file("ols/online_label_smooth.py")).OnlineLabelSmoothing

    def online(self, num_classes: int) -> Online:
        criterion = self.make(alpha=0.5, n_classes=num_classes)
        # Its soft labels are columns.
        return Online(criterion, criterion.next_epoch, lambda: criterion.supervise.T)


class Mmaher(Clone):
    name, title = "mmaher22", "`utils/loss.py` by the authors of ILS"
    repository = "mmaher22/Instance-based-label-smoothing"

    def load(self) -> None:
        self.losses = load_file(self.file("utils/loss.py"))

    def instance_based(
        self, problem: Problem, teacher: Tensor, spread: str, curve: tuple[float, float] | None
    ) -> Tensor:
        versions = {("uniform", True): "1", ("teacher", False): "2", ("teacher", True): "12"}
        make: Any = getattr(
            self.losses, f"ILabelSmoothingCrossEntropyLoss{versions[spread, curve is not None]}"
        )
        criterion = make(lambda _: teacher, smoothing=problem.rate, num_classes=problem.classes)
        return criterion(problem.logits, problem.target, None)


class Noisypy(Clone):
    name, title = "noisypy", "`methods/learning_strategies/FBT/utils.py`"
    repository = "KlemenVovk/noisy-labels"
    part = ", the file by itself: the package wants lightning"

    def load(self) -> None:
        self.module = load_file(self.file("src/noisypy/methods/learning_strategies/FBT/utils.py"))

    def forward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        return self.module.ForwardTLoss(transition)(problem.logits, problem.target)

    def backward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        return self.module.BackwardTLoss(transition)(problem.logits, problem.target)

    def anchor_transition(self, probs: Tensor, quantile: float | None) -> Tensor:
        if quantile not in (None, 0.97):
            raise NotOffered("another quantile than its own")
        # In a copy: it writes into what it is given.
        return self.module.estimate_noise_mtx(probs.clone(), filter_outlier=quantile is not None)


class DeepNoise(Clone):
    name, title = "DeepNoise", "`ForwardCorrectedLoss`, `BackwardCorrectedLoss`"
    repository = "MohammedAlkhrashi/DeepNoise"
    part = ", the classes by themselves"

    def load(self) -> None:
        file = self.file("DeepNoise/algorithms/loss_correction.py")
        names = {"torch": torch, "F": nn.functional, "Module": nn.Module, "List": list}
        self.forward_loss = definition(file, "ForwardCorrectedLoss", **names)
        self.backward_loss = definition(file, "BackwardCorrectedLoss", **names)

    def as_documented(self, transition: Tensor) -> Any:
        return transition.tolist()

    def forward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        return self.forward_loss(transition)(problem.logits, problem.target)

    def backward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        return self.backward_loss(transition)(problem.logits, problem.target)


CLONES = [CoinCheung, Ankandrew, Mmaher, Noisypy, DeepNoise]
