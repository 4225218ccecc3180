"""Other libraries as the cases see them; each is imported when it is loaded."""

import importlib
import os
from typing import Any

import torch
from torch import Tensor

from tests.conformance.adapters import Library, SoftTargets, Torch, part_of
from tests.conformance.problem import IGNORED, NotOffered, Problem


def last(tensor: Tensor) -> Tensor:
    """The class dimension last."""
    return tensor.movedim(1, -1)


class Timm(Library):
    name, distribution, title = "timm", "timm", "timm"
    how = "its folder `timm/loss` by itself: the package's import needs torchvision"
    offers = frozenset({"labels", "soft", "rate"})

    def load(self) -> None:
        self.losses = part_of("timm", "loss/__init__.py")

    def cross_entropy(self, problem: Problem) -> Tensor:
        if problem.soft:
            return self.losses.SoftTargetCrossEntropy()(last(problem.logits), last(problem.target))
        criterion = self.losses.LabelSmoothingCrossEntropy(problem.rate)
        return criterion(last(problem.logits), problem.target)

    def default(self, problem: Problem) -> Tensor:
        return self.losses.LabelSmoothingCrossEntropy()(problem.logits, problem.target)

    def evaluated(self, problem: Problem) -> Tensor:
        criterion = self.losses.LabelSmoothingCrossEntropy(problem.rate).eval()
        return criterion(problem.logits, problem.target)

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        return self.losses.BinaryCrossEntropy(rate, smooth_dense=True)(logits, answers)


class Transformers(Library):
    name, distribution = "transformers", "transformers"
    title = "transformers, `LabelSmoother`"
    offers = frozenset({"labels", "rate", "ignore"})

    def load(self) -> None:
        module = importlib.import_module("transformers.trainer_pt_utils")
        self.smoother = module.LabelSmoother

    def cross_entropy(self, problem: Problem) -> Tensor:
        smoother = self.smoother(epsilon=problem.rate)
        return smoother({"logits": last(problem.logits)}, problem.target)

    def default(self, problem: Problem) -> Tensor:
        return self.smoother()({"logits": problem.logits}, problem.target)

    def in_micro_batches(self, parts: list[Problem], counted: int) -> Tensor:
        losses = [
            self.smoother(epsilon=p.rate)(
                {"logits": p.logits}, p.target, num_items_in_batch=counted
            )
            for p in parts
        ]
        return torch.stack(losses).sum()


class Optax(Library):
    name, distribution, title = "optax", "optax", "optax (with jax)"
    offers = frozenset({"labels", "soft", "smoothed soft", "rate"})

    def load(self) -> None:
        self.optax = importlib.import_module("optax")
        self.jax = importlib.import_module("jax")

    def array(self, tensor: Tensor) -> Any:
        if tensor.dtype == torch.bfloat16:
            return self.array(tensor.float()).astype(self.jax.numpy.bfloat16)
        return self.jax.numpy.asarray(tensor.numpy())

    def _value(self, problem: Problem, logits: Any) -> Any:
        if not problem.soft and not problem.rate:
            labels = self.array(problem.target)
            return self.optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        rows = self.array(last(problem.one_hot()))
        if problem.rate:
            rows = self.optax.smooth_labels(rows, problem.rate)
        masked = bool((problem.logits == -torch.inf).any())
        name = "safe_softmax_cross_entropy" if masked else "softmax_cross_entropy"
        return getattr(self.optax, name)(logits, rows).mean()

    def cross_entropy(self, problem: Problem) -> Tensor:
        return torch.tensor(float(self._value(problem, self.array(last(problem.logits)))))

    def gradient(self, problem: Problem, scale: float = 1.0) -> Tensor:
        self.loss(problem)

        def loss(logits: Any) -> Any:
            return scale * self._value(problem, logits).astype("float32")

        found = self.jax.grad(loss)(self.array(last(problem.logits)))
        return torch.from_dlpack(found).movedim(-1, 1)

    def gradient_along(self, problem: Problem, direction: Tensor) -> Tensor:
        gradient = self.jax.grad(lambda z: self._value(problem, z))
        start, along = self.array(last(problem.logits)), self.array(direction)
        return torch.tensor(self.jax.jvp(gradient, (start,), (along,))[1].tolist())

    def functional_gradient(self, problem: Problem) -> Tensor:
        return self.gradient(problem)

    def with_class_mask(self, problem: Problem, alive: Tensor) -> Tensor:
        where = self.array(alive)
        rows = self.optax.smooth_labels(self.array(problem.one_hot()), problem.rate, where=where)
        logits = self.array(problem.logits)
        loss = self.optax.softmax_cross_entropy(logits, rows, where=where)
        return torch.tensor(float(loss.mean()))


class Keras(Library):
    name, distribution, title = "keras", "keras", "keras (torch backend)"
    offers = frozenset({"labels", "soft", "smoothed soft", "rate", "reduction", "ignore"})

    def load(self) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        self.losses = importlib.import_module("keras").losses

    def cross_entropy(self, problem: Problem) -> Tensor:
        reductions = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}
        keywords = {"from_logits": True, "reduction": reductions[problem.reduction]}
        logits = last(problem.logits)
        if not problem.soft and not problem.rate:
            ignored = IGNORED if "ignore" in problem.features() else None
            criterion = self.losses.SparseCategoricalCrossentropy(ignore_class=ignored, **keywords)
            return criterion(problem.target, logits)
        if "ignore" in problem.features():
            raise NotOffered("ignored labels in its loss with smoothing")
        criterion = self.losses.CategoricalCrossentropy(label_smoothing=problem.rate, **keywords)
        return criterion(last(problem.one_hot()), logits)

    def smoothed_twice(self, problem: Problem) -> Tensor:
        once = (1 - problem.rate) * problem.one_hot() + problem.rate / problem.classes
        return self.loss(problem.but(target=once))

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        criterion = self.losses.BinaryCrossentropy(from_logits=True, label_smoothing=rate)
        return criterion(answers, logits)


class SegmentationModels(Library):
    name, distribution = "smp", "segmentation-models-pytorch"
    title = "segmentation-models-pytorch"
    how = "its folder `losses` by itself: the package's import needs torchvision"
    offers = frozenset({"labels", "rate", "reduction", "ignore"})

    def load(self) -> None:
        self.losses = part_of("segmentation_models_pytorch", "losses/__init__.py")

    def cross_entropy(self, problem: Problem) -> Tensor:
        criterion = self.losses.SoftCrossEntropyLoss(problem.reduction, problem.rate)
        return criterion(problem.logits, problem.target)

    def default(self, problem: Problem) -> Tensor:
        return self.losses.SoftCrossEntropyLoss()(problem.logits, problem.target)

    def evaluated(self, problem: Problem) -> Tensor:
        criterion = self.losses.SoftCrossEntropyLoss(smooth_factor=problem.rate).eval()
        return criterion(problem.logits, problem.target)

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        return self.losses.SoftBCEWithLogitsLoss(smooth_factor=rate)(logits, answers)

    def dice(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.losses.DiceLoss("binary")(logits, target)


class Monai(Library):
    name, distribution, title = "monai", "monai", "MONAI, `DiceCELoss` (torch's CE), `DiceLoss`"
    offers = frozenset({"labels", "soft", "smoothed soft", "rate", "weight"})

    def load(self) -> None:
        self.losses = importlib.import_module("monai.losses")

    def cross_entropy(self, problem: Problem) -> Tensor:
        criterion = self.losses.DiceCELoss(weight=problem.weight, label_smoothing=problem.rate)
        target = problem.target if problem.soft else problem.target.unsqueeze(1)
        return criterion.ce(problem.logits, target)

    def dice(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.losses.DiceLoss(sigmoid=True, soft_label=True)(logits, target)


class TorchUncertainty(Library):
    name, distribution, title = "torch-uncertainty", "torch-uncertainty", "torch-uncertainty"
    how = "its file `losses/classification.py` by itself: the package's import needs lightning"

    def load(self) -> None:
        self.losses = part_of("torch_uncertainty", "losses/classification.py")

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        return self.losses.BCEWithLogitsLSLoss(rate)(logits, answers)

    def max_sup(self, problem: Problem, strength: float) -> Tensor:
        criterion = self.losses.CrossEntropyMaxSupLoss(
            max_sup=strength, weight=problem.weight, reduction=problem.reduction
        )
        return criterion(problem.logits, problem.target)


class TorchMetrics(Library):
    name, distribution, title = "torchmetrics", "torchmetrics", "torchmetrics"

    def load(self) -> None:
        module = importlib.import_module("torchmetrics.functional.classification")
        self.error = module.multiclass_calibration_error

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return self.error(probs, labels, num_classes=probs.shape[1], n_bins=bins)

    def calibration_error_of_logits(self, logits: Tensor, labels: Tensor, bins: int) -> Any:
        return self.calibration_error(logits, labels, bins)


class NetCal(Library):
    name, distribution, title = "netcal", "netcal", "netcal"

    def load(self) -> None:
        self.metrics = importlib.import_module("netcal.metrics")

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return float(self.metrics.ECE(bins).measure(probs.numpy(), labels.numpy()))


class EspNet(Library):
    name, distribution, title = "espnet", "espnet", "ESPnet, `LabelSmoothingLoss`"
    how = "the file of the loss by itself: installed without its many dependencies"
    offers = frozenset({"labels", "rate", "ignore"})

    def load(self) -> None:
        self.losses = part_of("espnet", "nets/pytorch_backend/transformer/label_smoothing_loss.py")

    def cross_entropy(self, problem: Problem) -> Tensor:
        logits = last(problem.logits).reshape(1, -1, problem.classes)
        criterion = self.losses.LabelSmoothingLoss(
            problem.classes, IGNORED, problem.rate, normalize_length=True
        )
        return criterion(logits, problem.target.reshape(1, -1))


PEERS = [
    Torch,
    Timm,
    Transformers,
    Optax,
    Keras,
    SegmentationModels,
    Monai,
    TorchUncertainty,
    TorchMetrics,
    NetCal,
    EspNet,
]
LIBRARIES = [SoftTargets, *PEERS]
