"""The cases of the fused output layer: hidden features, a weight, labels."""

import warnings
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

import softtargets as st
from softtargets.bench import peers, targets
from softtargets.bench.case import RATE, Built, Case, Unavailable
from softtargets.bench.cases import top_k_policy, uniform
from softtargets.bench.problem import Inputs


def _torch_full(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(hidden @ weight.T, labels, label_smoothing=RATE)


def _ours_full(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return st.cross_entropy(hidden @ weight.T, labels, smoothing=RATE)


def _ours_full_reuse(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    options = st.LossOptions(reuse_logits=True)
    return st.cross_entropy(hidden @ weight.T, labels, smoothing=RATE, options=options)


def _torch_fused(rate: float) -> Callable[[Inputs], Built]:
    """Torch's own; it leaves its chunks, with a warning, as soon as there is a rate."""

    def build(inputs: Inputs) -> Built:
        from torch import nn

        chunked = getattr(functional, "linear_cross_entropy", None)
        if chunked is None:
            raise Unavailable("this torch has no F.linear_cross_entropy")
        options = nn.LinearCrossEntropyOptions()

        def function(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "linear_cross_entropy: ")
                loss: Tensor = chunked(
                    hidden, weight, labels, label_smoothing=rate, options=options
                )
            return loss

        target = targets.uniform(inputs) if rate else None
        return Built(
            function,
            inputs.labels,
            target or targets.hard(inputs.labels, inputs.problem.classes),
        )

    return build


def _fused(
    hidden: Tensor, weight: Tensor, labels: Tensor, smoothing: st.AbstractSmoothing | float = RATE
) -> Tensor:
    return st.linear_cross_entropy(hidden, weight, labels, smoothing=smoothing)


def _prior(inputs: Inputs) -> Built:
    prior = targets.zipf(inputs)
    policy = st.LabelSmoothing(RATE, prior=prior.float()).to(inputs.labels.device)
    target = targets.toward(inputs.labels, inputs.problem.classes, RATE, prior)
    return Built(lambda h, w, y: _fused(h, w, y, policy), inputs.labels, target)


def _ols_top_k(inputs: Inputs) -> Built:
    labels = inputs.predictions()
    few = min(len(labels), max(1, (1 << 24) // inputs.problem.classes))
    hidden, weight = (x.detach() for x in inputs.tensors)
    policy = top_k_policy(inputs, labels[:few], (hidden[:few] @ weight.T).requires_grad_())
    target = targets.of_policy(policy, inputs, labels)
    return Built(lambda h, w, y: _fused(h, w, y, policy), labels, target)


LINEAR_CASES = {
    "torch": Case(title="torch, full logits, LS", build=uniform(_torch_full)),
    "torch-fused-hard": Case(title="torch, fused, hard labels", build=_torch_fused(0.0)),
    "torch-fused": Case(title="torch, fused, LS", build=_torch_fused(RATE)),
    "full": Case(title="softtargets, full logits, LS", build=uniform(_ours_full)),
    "full-reuse": Case(
        title="softtargets, full, LS, logits reused", build=uniform(_ours_full_reuse)
    ),
    "ls": Case(title="softtargets, fused, LS", build=uniform(_fused)),
    "prior": Case(title="softtargets, fused, a prior", build=_prior),
    "ols-top-k": Case(title="softtargets, fused, OLS, top-k rows", build=_ols_top_k),
    **peers.LINEAR_CASES,
}
