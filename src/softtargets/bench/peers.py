"""Other libraries' losses, imported when a case asks for them; a reason where they are missing."""

from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from torch import Tensor

from softtargets.bench import targets
from softtargets.bench.case import RATE, Built, Case, Function, Unavailable
from softtargets.bench.problem import Inputs

# Distribution names, for the record.
DISTRIBUTIONS = ("timm", "liger-kernel", "quack-kernels", "cut-cross-entropy")

Maker = Callable[[Any], Function]


def versions() -> dict[str, str]:
    """Return the version of each peer, or `"not installed"`."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _peer(
    module: str, make: Maker, *, smoothed: bool = True, cuda: bool = True
) -> Callable[[Inputs], Built]:
    """A case of a peer's module: uniform smoothing, or hard labels where it has none."""

    def build(inputs: Inputs) -> Built:
        top = module.partition(".")[0]
        if cuda and inputs.problem.device != "cuda":
            raise Unavailable(f"{top} needs a CUDA device")
        try:
            function = make(import_module(module))
        except Exception as error:  # whatever a package does when it is imported
            if isinstance(error, ModuleNotFoundError) and error.name == top:
                raise Unavailable(f"{top} is not installed") from error
            raise Unavailable(f"{top} cannot be used: {_first_line(error)}") from error
        hard = targets.hard(inputs.labels, inputs.problem.classes)
        return Built(function, inputs.labels, targets.uniform(inputs) if smoothed else hard)

    return build


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0]


def _timm_soft(module: Any) -> Function:
    """The loss of a dense target, which timm's users make outside of it, here in the step."""
    criterion = module.SoftTargetCrossEntropy()

    def function(logits: Tensor, labels: Tensor) -> Tensor:
        dense = logits.new_full(logits.shape, RATE / logits.shape[-1], requires_grad=False)
        dense.scatter_(-1, labels.unsqueeze(-1), 1 - RATE + RATE / logits.shape[-1])
        loss: Tensor = criterion(logits, dense)
        return loss

    return function


def _liger_linear(module: Any) -> Function:
    criterion = module.LigerFusedLinearCrossEntropyLoss(label_smoothing=RATE)
    return lambda hidden, weight, labels: criterion(weight, hidden, labels)


def _quack(reuse: bool) -> Maker:
    def make(module: Any) -> Function:
        return lambda logits, labels: module.cross_entropy(
            logits, labels, reduction="mean", inplace_backward=reuse
        )

    return make


def _cut(module: Any) -> Function:
    return lambda hidden, weight, labels: module.linear_cross_entropy(
        hidden, weight, labels, filter_eps=None
    )


LIGER = "liger_kernel.transformers"
LOGITS_CASES = {
    "timm": Case(
        title="timm, LS",
        build=_peer("timm.loss", lambda m: m.LabelSmoothingCrossEntropy(RATE), cuda=False),
    ),
    "timm-soft": Case(
        title="timm, LS as a dense target", build=_peer("timm.loss", _timm_soft, cuda=False)
    ),
    # It writes the gradient into the logits.
    "liger": Case(
        title="Liger, LS, logits reused",
        build=_peer(LIGER, lambda m: m.LigerCrossEntropyLoss(label_smoothing=RATE)),
    ),
    "quack": Case(
        title="quack, hard labels",
        build=_peer("quack.cross_entropy", _quack(reuse=False), smoothed=False),
    ),
    "quack-reuse": Case(
        title="quack, hard labels, logits reused",
        build=_peer("quack.cross_entropy", _quack(reuse=True), smoothed=False),
    ),
}
LINEAR_CASES = {
    "liger": Case(title="Liger, fused, LS", build=_peer(LIGER, _liger_linear)),
    "quack": Case(
        title="quack, chunked, hard labels",
        build=_peer(
            "quack.linear_cross_entropy", lambda m: m.chunked_linear_cross_entropy, smoothed=False
        ),
    ),
    "cut": Case(
        title="cut-cross-entropy, hard, unfiltered",
        build=_peer("cut_cross_entropy", _cut, smoothed=False),
    ),
}
