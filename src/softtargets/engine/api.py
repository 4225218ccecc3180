"""The one entrance of the engine: options, checks, and the choice of an implementation."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softtargets import checks
from softtargets.engine import formula
from softtargets.engine.corrected import CorrectedEngine
from softtargets.engine.eager import EagerEngine
from softtargets.engine.frame import AbstractEngine, Call
from softtargets.engine.observer import Observer
from softtargets.target import Target
from softtargets.terms import DenseRows
from softtargets.transition import AbstractTransition


class ExampleLosses(NamedTuple):
    """Per-example losses and the log-partition; `-inf` in the latter is a row without a class."""

    losses: Tensor
    logsumexp: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """Rare switches of the losses.

    Attributes:
        impl: `"eager"`, the chunked closed form, on any device; `"compiled"`, two kernels that
            TorchInductor writes at the first call (seconds), on a CPU with a C++ compiler or on
            CUDA with Triton; `"triton"`, one fused kernel for
            each direction, on CUDA where Triton is installed (tried in Triton's interpreter and
            compiler, not yet on a device, hence only by name). None chooses: the plain
            differentiable formula under `torch.compile`, `torch.func`, forward mode or where a
            gradient flows into the target, else `"eager"`. One that is named and cannot run is an
            error.
        validate: check values. None checks label ranges, teachers and divisors where that does not
            make a GPU wait; True checks them everywhere, and rows that are no distribution, masked
            labels and targets that are not finite too; False leaves them unread, but for what a
            policy checks of its own teacher where that is free.
        weight_mode: what class weights do to a smoothed target: `"per_class"` weighs each class's
            term, as torch does; `"per_sample"` weighs the whole sample by the weight of its label,
            which leaves the smoothing distribution as it was asked for, and is an error where
            there are no weights.
        reuse_logits: let the gradient take the logits' memory. Nobody may read the logits after
            the backward pass; autograd raises if another operation needs them.
    """

    impl: Literal["eager", "compiled", "triton"] | None = None
    validate: bool | None = None
    weight_mode: Literal["per_class", "per_sample"] = "per_class"
    reuse_logits: bool = False

    def __post_init__(self) -> None:
        if self.impl not in (None, "eager", "compiled", "triton"):
            raise ValueError(
                f'`impl` must be None, "eager", "compiled" or "triton", got {self.impl!r}'
            )
        checks.check_validate(self.validate)
        if self.weight_mode not in ("per_class", "per_sample"):
            raise ValueError(
                f'`weight_mode` must be "per_class" or "per_sample", got {self.weight_mode!r}'
            )


def check_options(options: object) -> LossOptions:
    """Return `options`, the defaults for None, or raise."""
    if options is None:
        return LossOptions()
    if isinstance(options, LossOptions):
        return options
    raise TypeError(
        f"`options` must be a `LossOptions` or None, got {type(options).__name__}; write "
        "`LossOptions(impl=..., validate=...)`, of a dict `LossOptions(**options)`"
    )


def example_losses(
    logits: Tensor,
    target: Target,
    *,
    weight: Tensor | None = None,
    class_mask: Tensor | None = None,
    transition: AbstractTransition | None = None,
    observer: Observer | None = None,
    options: LossOptions,
) -> ExampleLosses:
    """Return the cross-entropy of each example.

        loss = sum_k w_k q_k * logsumexp(z) - sum_k w_k q_k z_k

    With a transition z is `log(exp(z) @ T)`; observers see the logits before that.

    Args:
        logits: `(*batch, K)` floating point, classes last, any strides.
        target: of batch shape `(*batch)` on the same device.
        weight: `(K,)` class weights, or None.
        class_mask: `(*batch, K)` bool, False for a masked class, or None.
        transition: noise between the softmax and the target, or None; on the logits' device.
        observer: is shown the logits block by block, or None; `impl="triton"` adds for a
            `SummingObserver` instead, in no fixed order.
        options: see `LossOptions`; `weight_mode` is resolved by the caller.

    Returns:
        `losses` and `logsumexp`, each `(*batch)` in float32 (float64 for float64 logits).

    Raises:
        ValueError: `reuse_logits` where it cannot be done, or a named `impl` that is not available.
    """
    if weight is not None:
        weight = weight.to(logits.device, formula.compute_dtype(logits))
    graph = _needs_graph(logits, target, weight)
    if options.reuse_logits:
        _check_reusable(logits, graph)
    if graph and options.impl is None:
        logits = formula.masked_logits(logits, class_mask)
        if observer is not None:
            with torch.no_grad():
                observer((), logits, torch.softmax(logits.detach(), -1))
        if transition is None:
            result = formula.values(logits, target, weight)
        else:
            result = formula.noisy_values(logits, target, weight, transition)
        return ExampleLosses(result.losses, result.logsumexp)
    if graph:
        raise ValueError(
            f'`impl="{options.impl}"` cannot run under torch.compile, torch.func, forward mode or '
            "with a gradient into the target; leave `impl` at None"
        )
    if transition is not None and options.impl not in (None, "eager"):
        raise ValueError(
            f'`impl="{options.impl}"` cannot run a forward correction; leave `impl` at None'
        )
    call = Call(
        logits=logits,
        target=target,
        weight=weight,
        class_mask=class_mask,
        transition=transition,
    )
    engine = CorrectedEngine() if transition is not None else _engine(options.impl, logits.device)
    return ExampleLosses(*engine.example_losses(call, observer, reuse_logits=options.reuse_logits))


def _engine(impl: str | None, device: torch.device) -> AbstractEngine:
    """The engine that was named, or the one that serves every device."""
    if impl in (None, "eager"):
        return EagerEngine()
    # The others are imported when asked for: it takes longer than everything else.
    if impl == "compiled":
        from softtargets.engine.compiled import CompiledEngine

        return CompiledEngine()
    reason: str | None = "Triton is not installed"
    if find_spec("triton") is not None:
        from softtargets.engine import triton

        reason = triton.unavailable(device)
        if reason is None:
            return triton.TritonEngine()
    raise ValueError(
        f'`impl="triton"` is not available: {reason}; pass `impl="eager"`, or leave it at None'
    )


def _needs_graph(logits: Tensor, target: Target, weight: Tensor | None) -> bool:
    if checks.traced():
        return True
    return torch.is_grad_enabled() and (
        target.requires_grad or (weight is not None and weight.requires_grad)
    )


def _check_reusable(logits: Tensor, graph: bool) -> None:
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return
    if graph:
        raise ValueError(
            "`reuse_logits` works in eager mode only, not under torch.compile, torch.func, "
            "forward mode or with a gradient into the target; leave it at False"
        )
    owner = logits if logits._base is None else logits._base
    if owner.is_leaf:
        raise ValueError(
            "`reuse_logits` would overwrite a leaf tensor with its own gradient; it is meant for "
            "the output of a model"
        )
    end = 1
    for step, size in sorted(zip(logits.stride(), logits.shape, strict=True)):
        if size > 1 and step < end:
            raise ValueError(
                "`reuse_logits` needs logits with memory of their own, got a tensor with entries "
                "in the same place (expanded or overlapping); leave it at False"
            )
        end = max(end, step * size)


def check_target(
    logits: Tensor,
    target: Target,
    class_mask: Tensor | None,
    key: tuple[slice, ...] = (),
    transition: AbstractTransition | None = None,
) -> None:
    """Raise, naming the first one, if a target that counts is not finite or its label impossible.

    Args:
        logits: `(*batch, K)`, classes last.
        target: of the same batch shape.
        class_mask: `(*batch, K)` bool or None.
        key: where in a larger batch this part begins.
        transition: noise between prediction and target, or None.
    """
    seen = formula.masked_logits(logits.detach(), class_mask)
    dead = seen == -torch.inf
    living = ~dead.all(-1)
    if transition is not None:
        alive = ~dead | ~living.unsqueeze(-1)
        even = torch.zeros_like(seen).masked_fill(~alive, -torch.inf)
        dead |= transition.noisy_logits(even, alive) == -torch.inf
    given = target.given
    wrong = (dead.gather(-1, given.entries.classes) & (given.entries.weights != 0)).any(-1)
    for term in given.others:
        if isinstance(term, DenseRows):
            wrong |= (dead & (term.values != 0)).any(-1) & (term.weights != 0)
    wrong &= living
    if bool(wrong.any()):
        raise ValueError(
            "`target` must not put mass on a masked class (logit -inf or `class_mask` False), nor "
            "on a noisy label that a forward correction's transition never makes, it does at "
            f"{_first(wrong, key)}; unmask the class, correct the transition, or ignore the "
            "position"
        )
    # Where an entry is not finite, the mass is not.
    wrong = living & ~target.ignored() & ~target.mass().isfinite()
    if bool(wrong.any()):
        raise ValueError(
            f"`target` must be finite where it counts, it is not at {_first(wrong, key)}; check "
            "what it is made of: rows, a teacher's logits, or the model's own"
        )


def _first(wrong: Tensor, key: tuple[slice, ...]) -> tuple[int, ...]:
    """Where the first True is in the batch of which `key` selects this part."""
    starts = [part.start or 0 for part in key] + [0] * (wrong.dim() - len(key))
    first = wrong.nonzero()[0].tolist()
    return tuple(i + start for i, start in zip(first, starts, strict=True))
