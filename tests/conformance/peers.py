"""Other libraries as the cases see them; each is imported when it is loaded."""

import importlib
import os
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tests.conformance.library import Library, definition, part_of, path_in
from tests.conformance.problem import IGNORED, NotOffered, Problem


def last(tensor: Tensor) -> Tensor:
    """The class dimension last."""
    return tensor.movedim(1, -1)


class Torch(Library):
    name = distribution = "torch"
    title = "`F.cross_entropy`, `F.linear_cross_entropy`"
    offers = frozenset({"labels", "weight", "soft", "smoothed soft", "rate", "reduction", "ignore"})

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

    def fused(self, hidden: Tensor, weight: Tensor, labels: Tensor, rate: float) -> Tensor:
        chunked = torch.nn.LinearCrossEntropyOptions()
        with warnings.catch_warnings():
            # It says that it holds the logits after all where there is a rate.
            warnings.simplefilter("ignore")
            return functional.linear_cross_entropy(
                hidden, weight, labels, label_smoothing=rate, options=chunked
            )


class Timm(Library):
    name, distribution, title = "timm", "timm", "`timm.loss`"
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
    title = "`LabelSmoother`"
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
    name, distribution, title = "optax", "optax", "optax on jax"
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

    def forward_mode(self, problem: Problem, direction: Tensor) -> Tensor:
        start, along = self.array(problem.logits), self.array(direction)
        found = self.jax.jvp(lambda z: self._value(problem, z), (start,), (along,))
        return torch.tensor(float(found[1]))

    def gradient_of_each(self, problem: Problem) -> Tensor:
        rows = self.optax.smooth_labels(self.array(problem.one_hot()), problem.rate)
        gradient = self.jax.grad(self.optax.softmax_cross_entropy)
        found = self.jax.vmap(gradient)(self.array(problem.logits), rows)
        return torch.tensor(found.tolist())

    def loss_dtype(self, problem: Problem) -> str:
        return str(self._value(problem, self.array(problem.logits)).dtype)

    def with_class_mask(self, problem: Problem, alive: Tensor) -> Tensor:
        where = self.array(alive)
        rows = self.optax.smooth_labels(self.array(problem.one_hot()), problem.rate, where=where)
        logits = self.array(problem.logits)
        loss = self.optax.softmax_cross_entropy(logits, rows, where=where)
        return torch.tensor(float(loss.mean()))


class Keras(Library):
    name, distribution, title = "keras", "keras", "`keras.losses`, torch backend"
    offers = frozenset({"labels", "soft", "smoothed soft", "rate", "reduction", "ignore"})

    def load(self) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        self.losses = importlib.import_module("keras").losses

    def loss(self, problem: Problem) -> Tensor:
        if problem.rate and "ignore" in problem.features():
            raise NotOffered("ignored labels in its loss with smoothing")
        return super().loss(problem)

    def cross_entropy(self, problem: Problem) -> Tensor:
        reductions = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}
        keywords = {"from_logits": True, "reduction": reductions[problem.reduction]}
        logits = last(problem.logits)
        if not problem.soft and not problem.rate:
            criterion = self.losses.SparseCategoricalCrossentropy(ignore_class=IGNORED, **keywords)
            return criterion(problem.target, logits)
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
    title = "segmentation-models-pytorch, `losses`"
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
    name, distribution, title = "monai", "monai", "`DiceCELoss` (whose CE is torch's), `DiceLoss`"
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
    name = distribution = "torch-uncertainty"
    title = "`CrossEntropyMaxSupLoss`, `BCEWithLogitsLSLoss`"
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
    name = distribution = "torchmetrics"
    title = "`multiclass_calibration_error`"

    def load(self) -> None:
        module = importlib.import_module("torchmetrics.functional.classification")
        self.error = module.multiclass_calibration_error

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return self.error(probs, labels, num_classes=probs.shape[1], n_bins=bins)

    def calibration_error_of_logits(self, logits: Tensor, labels: Tensor, bins: int) -> Any:
        return self.calibration_error(logits, labels, bins)


class NetCal(Library):
    name, distribution, title = "netcal", "netcal", "`netcal.metrics.ECE`"

    def load(self) -> None:
        self.metrics = importlib.import_module("netcal.metrics")

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return float(self.metrics.ECE(bins).measure(probs.numpy(), labels.numpy()))


class Cleanlab(Library):
    name, distribution, title = "cleanlab", "cleanlab", "`cleanlab.count`"

    def load(self) -> None:
        self.count = importlib.import_module("cleanlab.count")

    def confident_transition(self, probs: Tensor, labels: Tensor) -> Any:
        estimate = self.count.estimate_py_and_noise_matrices_from_probabilities
        # Its matrix has a column for each clean class.
        return torch.tensor(estimate(labels.numpy(), probs.numpy())[1]).T


class EspNet(Library):
    name, distribution, title = "espnet", "espnet", "`LabelSmoothingLoss`"
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


class Composer(Library):
    name, distribution, title = "composer", "mosaicml", "`smooth_labels`, `soft_cross_entropy`"
    how = (
        "the functions by themselves: installed without its dependencies, which ask for an older "
        "torch"
    )
    offers = frozenset({"labels", "soft", "smoothed soft", "rate", "weight", "reduction", "ignore"})

    def load(self) -> None:
        tools = part_of("composer", "loss/utils.py")
        self.smooth_labels = definition(
            path_in("composer", "algorithms/label_smoothing/label_smoothing.py"),
            "smooth_labels",
            ensure_targets_one_hot=tools.ensure_targets_one_hot,
        )
        self.soft_cross_entropy = definition(
            path_in("composer", "loss/loss.py"),
            "soft_cross_entropy",
            torch=torch,
            F=functional,
            infer_target_type=tools.infer_target_type,
            warnings=warnings,
        )

    def smoothed_target(self, problem: Problem) -> Tensor:
        return self.smooth_labels(problem.logits, problem.target, problem.rate)

    def cross_entropy(self, problem: Problem) -> Tensor:
        target = self.smoothed_target(problem) if problem.rate else problem.target
        return self.soft_cross_entropy(
            problem.logits, target, weight=problem.weight, reduction=problem.reduction
        )

    def smoothed_twice(self, problem: Problem) -> Tensor:
        return self.loss(problem.but(target=self.smoothed_target(problem)))


class Fairseq(Library):
    name, distribution = "fairseq", "fairseq"
    title = "`label_smoothed_nll_loss`"
    how = "the function by itself: installed without its dependencies, which pip no longer finds"
    offers = frozenset({"labels", "rate"})

    def load(self) -> None:
        file = path_in("fairseq", "criterions/label_smoothed_cross_entropy.py")
        self.function = definition(file, "label_smoothed_nll_loss")

    def cross_entropy(self, problem: Problem) -> Tensor:
        # Its models hand over log-probabilities in float32, its trainer divides by the tokens.
        logits = last(problem.logits).reshape(-1, problem.classes)
        log_probs = functional.log_softmax(logits, -1, dtype=torch.float32)
        total, _ = self.function(log_probs, problem.target.reshape(-1), problem.rate)
        return total / problem.target.numel()


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
    Cleanlab,
    EspNet,
    Composer,
    Fairseq,
]
