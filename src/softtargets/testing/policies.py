"""`check_policy`: what must hold for every smoothing policy."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from softtargets.losses import CrossEntropyLoss, cross_entropy
from softtargets.smoothing import AbstractSmoothing
from softtargets.target import Target
from softtargets.testing.compare import random_labels, random_logits, require, require_close
from softtargets.testing.targets import check_target

Context = Callable[[Tensor], Mapping[str, Any]]


def check_policy(
    make_policy: Callable[[], AbstractSmoothing],
    num_classes: int,
    *,
    distribution: bool = True,
    context: Context | None = None,
    compiles: bool = False,
    batch_shape: tuple[int, ...] = (12,),
    seed: int = 0,
) -> None:
    """Check a smoothing policy: its targets, its state, and what a loss makes of it.

    Args:
        make_policy: returns a fresh policy, in training mode.
        num_classes: K, at least 2.
        distribution: whether targets must sum to 1 and have no negative entry.
        context: returns further keywords, such as `teacher_logits`, for `(*batch, K)` logits.
        compiles: whether `CrossEntropyLoss` with it must run under
            `torch.compile(fullgraph=True, backend="aot_eager")`.
        batch_shape: of the labels, at least 4 of them; label maps for policies that look at
            neighbours.
        seed: of the logits and labels.

    Raises:
        AssertionError: with what does not hold.

    Example:
        >>> import softtargets as st
        >>> from softtargets import testing
        >>> testing.check_policy(lambda: st.LabelSmoothing(0.1), num_classes=3)
    """
    logits = random_logits((*batch_shape, num_classes), torch.float64, seed)
    labels = random_labels(batch_shape, num_classes, seed)
    keywords = dict(context(logits)) if context else {}
    given = Target.from_labels(labels, num_classes, dtype=torch.float64)
    require(callable(make_policy), "`make_policy` must be callable and return a new policy")
    policy = make_policy()
    require(isinstance(policy, AbstractSmoothing), "a policy must extend `AbstractSmoothing`")
    smoothed = policy(given, logits, **keywords)
    require(isinstance(smoothed, Target), "the policy must return a `Target`")
    _check_result(smoothed, given, distribution)
    check_target(smoothed, seed=seed)
    _check_refuses(make_policy(), smoothed, logits, keywords)
    _check_state(make_policy, given, logits, keywords)
    _check_eval(make_policy(), logits, labels, keywords)
    if compiles:
        _check_compiles(make_policy, logits, labels, keywords)


def _check_result(smoothed: Target, given: Target, distribution: bool) -> None:
    require(smoothed.smoothed, "the result is not marked: use `Target.smoothed_from`")
    require(smoothed.batch_shape == given.batch_shape, "the batch shape changed")
    require_close(smoothed.given.dense(), given.dense(), 0.0, "`given` of the result")
    dense = smoothed.dense()
    ignored = given.ignored()
    require(
        bool((dense[ignored] == 0).all()),
        "an ignored row has got mass: make targets by the algebra, which keeps it 0",
    )
    require(bool(smoothed.ignored()[ignored].all()), "an ignored row is no longer ignored")
    if distribution:
        ones = (~ignored).double()
        require_close(smoothed.mass(), ones, 1e-12, "mass of a distribution")
        require(bool((dense >= -1e-12).all()), f"negative entry {float(dense.min())!r}")


def _check_refuses(
    policy: AbstractSmoothing, smoothed: Target, logits: Tensor, keywords: dict[str, Any]
) -> None:
    try:
        policy(smoothed, logits, **keywords)
    except ValueError as error:
        require("smoothed" in str(error), f"the refusal does not say why: {error}")
        return
    raise AssertionError("the policy smooths a target twice: use `check_not_smoothed`")


def _check_state(
    make_policy: Callable[[], AbstractSmoothing],
    given: Target,
    logits: Tensor,
    keywords: dict[str, Any],
) -> None:
    policy = make_policy()
    policy(given, logits, **keywords)
    restored = make_policy()
    restored.load_state_dict(policy.state_dict())
    copied = copy.deepcopy(policy)
    for name, other in (("state_dict", restored), ("deepcopy", copied)):
        twin = copy.deepcopy(policy)
        for _ in range(2):
            expected = twin(given, logits, **keywords).dense()
            actual = other(given, logits, **keywords).dense()
            require(bool((actual == expected).all()), f"{name} gives another target")
            for each in (twin, other):
                each.step()
                end_epoch: Any = getattr(each, "end_epoch", None)
                if end_epoch is not None:
                    end_epoch()


def _check_eval(
    policy: AbstractSmoothing, logits: Tensor, labels: Tensor, keywords: dict[str, Any]
) -> None:
    criterion = CrossEntropyLoss(policy, class_dim=-1)
    trained = criterion(logits, labels, **keywords)
    require(bool(trained.isfinite()), f"the loss in training is {float(trained)}")
    criterion.eval()
    plain = cross_entropy(logits, labels, class_dim=-1)
    require_close(criterion(logits, labels, **keywords), plain, 0.0, "loss in eval mode")


def _check_compiles(
    make_policy: Callable[[], AbstractSmoothing],
    logits: Tensor,
    labels: Tensor,
    keywords: dict[str, Any],
) -> None:
    results = []
    torch.compiler.reset()
    for compiled in (False, True):
        criterion: Any = CrossEntropyLoss(make_policy(), class_dim=-1)
        if compiled:
            criterion = torch.compile(criterion, fullgraph=True, backend="aot_eager")
        leaf = logits.clone().requires_grad_()
        loss = criterion(leaf, labels, **keywords)
        loss.backward()
        results.append((loss, leaf.grad))
    (loss, gradient), (compiled_loss, compiled_gradient) = results
    assert gradient is not None
    assert compiled_gradient is not None
    require_close(compiled_loss, loss, 1e-12, "compiled loss")
    require_close(compiled_gradient, gradient, 1e-12, "compiled gradient")
