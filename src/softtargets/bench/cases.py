"""The cases of the suites on logits: copies, torch, softtargets."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import softtargets as st
from softtargets.bench import peers, targets
from softtargets.bench.case import RATE, Built, Case, Function, Unavailable
from softtargets.bench.problem import Inputs, free_bytes

TOP_K = 10


def _copy(inputs: Inputs) -> Built:
    room = torch.empty_like(inputs.tensors[0], requires_grad=False)
    return Built(lambda logits, _: room.copy_(logits), inputs.labels, None)


def _clone(inputs: Inputs) -> Built:
    return Built(lambda logits, _: logits.clone(), inputs.labels, None)


def uniform(function: Function) -> Callable[[Inputs], Built]:
    """A case of uniform smoothing at `RATE`."""
    return lambda inputs: Built(function, inputs.labels, targets.uniform(inputs))


def _torch(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, label_smoothing=RATE)


def _torch_hard(inputs: Inputs) -> Built:
    target = targets.hard(inputs.labels, inputs.problem.classes)
    return Built(functional.cross_entropy, inputs.labels, target)


def _compiled(function: Function) -> Function:
    # Every shape is compiled for itself, as the other cases run.
    compiled: Function = torch.compile(function, fullgraph=True, dynamic=False)
    return compiled


def _torch_compiled(inputs: Inputs) -> Built:
    return Built(_compiled(_torch), inputs.labels, targets.uniform(inputs))


def _ls_torch_compile(inputs: Inputs) -> Built:
    return Built(_compiled(st.CrossEntropyLoss(RATE)), inputs.labels, targets.uniform(inputs))


def _ls(**options: Any) -> Callable[[Inputs], Built]:
    """Uniform smoothing with these `LossOptions`; a reason to skip it where they are unknown."""

    def build(inputs: Inputs) -> Built:
        if options.get("impl") == "triton" and inputs.problem.device != "cuda":
            raise Unavailable("Triton needs a CUDA device")
        try:
            criterion = st.CrossEntropyLoss(RATE, options=st.LossOptions(**options))
        except ValueError as error:
            raise Unavailable(str(error)) from error
        return Built(criterion, inputs.labels, targets.uniform(inputs))

    return build


def _prior(inputs: Inputs) -> Built:
    prior = targets.zipf(inputs)
    criterion = st.CrossEntropyLoss(st.LabelSmoothing(RATE, prior=prior.float()))
    target = targets.toward(inputs.labels, inputs.problem.classes, RATE, prior)
    return Built(criterion.to(inputs.labels.device), inputs.labels, target)


def _online(inputs: Inputs) -> Any:
    """The table of online label smoothing, shared by the cases; far too large for many classes."""
    if "online" not in inputs.shared:
        classes, free = inputs.problem.classes, free_bytes(inputs.problem.device)
        needed = 12 * classes**2
        if free is not None and needed > free / 2:
            raise Unavailable(f"its K x K tables take {needed / 2**30:.0f} GiB")
        policy = st.OnlineLabelSmoothing(classes)
        inputs.shared["online"] = policy.to(inputs.labels.device)
    return inputs.shared["online"]


def _ols(right: bool) -> Callable[[Inputs], Built]:
    """Online smoothing in training, all predictions right (each is learned from) or none."""

    def build(inputs: Inputs) -> Built:
        policy, labels = _online(inputs), inputs.predictions()
        if not right:
            labels = (labels + 1) % inputs.problem.classes
        # Rows unlike each other, or the gate could not tell one from another.
        generator = torch.Generator(labels.device).manual_seed(1)
        size = (len(labels), inputs.problem.classes)
        rows = torch.rand(size, generator=generator, device=labels.device)
        policy.matrix[labels] = rows / rows.sum(-1, keepdim=True)
        return Built(st.CrossEntropyLoss(policy), labels, targets.table(labels, policy.matrix, 0.5))

    return build


def top_k_policy(inputs: Inputs, labels: Tensor, logits: Tensor) -> Any:
    """Return online smoothing that keeps the top of each row, after an epoch on these logits."""
    storage: dict[str, Any] = {"storage": "top_k"}
    try:
        policy = st.OnlineLabelSmoothing(inputs.problem.classes, **storage)
    except (TypeError, ValueError) as error:
        raise Unavailable(str(error)) from error
    policy = policy.to(labels.device)
    policy(st.Target.from_labels(labels, inputs.problem.classes), logits)
    policy.end_epoch()
    return policy


def _ols_top_k(inputs: Inputs) -> Built:
    labels = inputs.predictions()
    policy = top_k_policy(inputs, labels, inputs.tensors[0])
    target = targets.of_policy(policy, inputs, labels)
    return Built(st.CrossEntropyLoss(policy), labels, target)


def _teacher(inputs: Inputs) -> Built:
    indices, weights, target = targets.teacher(inputs, TOP_K)

    def function(logits: Tensor, _: Tensor) -> Tensor:
        top = st.Target.from_top_k(indices, weights, logits.shape[-1])
        return st.cross_entropy(logits, top)

    return Built(function, inputs.labels, target)


COPIES = {
    "copy": Case(title="copy into existing memory", build=_copy),
    "clone": Case(title="copy into fresh memory", build=_clone),
}
TORCH = {
    "torch": Case(title="torch, LS", build=uniform(_torch)),
    "torch-hard": Case(title="torch, hard labels", build=_torch_hard),
    "torch-compiled": Case(title="torch, LS, torch.compile", build=_torch_compiled, compiled=True),
}
OURS = {
    "ls": Case(title="softtargets, LS", build=_ls()),
    "ls-reuse": Case(title="softtargets, LS, logits reused", build=_ls(reuse_logits=True)),
    "ls-compiled": Case(
        title="softtargets, LS, compiled", build=_ls(impl="compiled"), compiled=True
    ),
    "ls-compiled-reuse": Case(
        title="softtargets, LS, compiled, reused",
        build=_ls(impl="compiled", reuse_logits=True),
        compiled=True,
    ),
    "ls-triton": Case(title="softtargets, LS, Triton", build=_ls(impl="triton")),
    "ls-triton-reuse": Case(
        title="softtargets, LS, Triton, reused", build=_ls(impl="triton", reuse_logits=True)
    ),
    "ls-torch-compile": Case(
        title="softtargets, LS, torch.compile", build=_ls_torch_compile, compiled=True
    ),
    "prior": Case(title="softtargets, a prior", build=_prior),
    "ols-right": Case(title="softtargets, OLS, all right", build=_ols(right=True)),
    "ols-wrong": Case(title="softtargets, OLS, none right", build=_ols(right=False)),
    "ols-top-k": Case(title="softtargets, OLS, top-k rows", build=_ols_top_k),
    "teacher": Case(title=f"softtargets, teacher's top {TOP_K}", build=_teacher),
}
LOGITS_CASES = {**COPIES, **TORCH, **OURS, **peers.LOGITS_CASES}
