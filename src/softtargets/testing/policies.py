"""`check_policy`: what must hold for every smoothing policy."""

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softtargets.losses import CrossEntropyLoss, cross_entropy
from softtargets.smoothing import AbstractSmoothing
from softtargets.target import Target
from softtargets.testing.compare import (
    poisoned,
    random_alive,
    random_labels,
    random_logits,
    require,
    require_close,
    tried,
)
from softtargets.testing.copies import copies
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

    Targets, as `check_target` does; that smoothing happens once; copies and restored states;
    learning in training mode with gradients alone; NaN and infinities in ignored rows; masked
    classes; half precision, float32 and float64; mixed labels and one-hot rows, which it may
    refuse with a `TypeError`; a batch without samples; `.eval()` of the loss.

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
    require(callable(make_policy), "`make_policy` must be callable and return a new policy")
    policy = tried("`make_policy`", "when it was called", make_policy)
    require(isinstance(policy, AbstractSmoothing), "a policy must extend `AbstractSmoothing`")
    _check_signature(policy)
    case = _Case(
        make=make_policy,
        logits=logits,
        labels=labels,
        keywords=dict(context(logits)) if context else {},
        distribution=distribution,
    )
    name = type(policy).__name__
    smoothed = tried(name, "on labels", lambda: policy(case.given, logits, **case.keywords))
    require(isinstance(smoothed, Target), "the policy must return a `Target`")
    _check_result(smoothed, case.given, distribution)
    check_target(smoothed, seed=seed)
    checks: dict[str, Callable[[], None]] = {
        "on a smoothed target": lambda: _check_refuses(make_policy(), smoothed, case),
        "on copies and restored states": lambda: _check_copies(case),
        "in eval mode or without gradients": lambda: _check_learning(case),
        "on ignored rows of NaN": lambda: _check_ignored(case),
        "on masked classes": lambda: _check_masked(case, seed),
        "in float16, bfloat16, float32 or float64": lambda: _check_dtypes(case),
        "on mixed labels or one-hot rows": lambda: _check_mixtures(case),
        "on a batch without samples": lambda: _check_empty(case),
        "in the loss": lambda: _check_eval(case),
    }
    if compiles:
        checks["under torch.compile"] = lambda: _check_compiles(case)
    for when, check in checks.items():
        tried(name, when, check)


def _check_signature(policy: AbstractSmoothing) -> None:
    keywords = dict.fromkeys(("teacher_logits", "inputs", "index"))
    try:
        inspect.signature(policy.forward).bind(None, None, **keywords)
    except TypeError as error:
        raise AssertionError(
            "`forward` of a policy must take `(target, logits=None, *, teacher_logits=None, "
            f"inputs=None, index=None)`, also what it does not use; {error}"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What a policy is tried on.

    Attributes:
        make: returns a fresh policy.
        logits: `(*batch, K)` float64.
        labels: `(*batch)`, the fourth of them ignored.
        keywords: further keywords of the policy.
        distribution: whether targets are distributions.
    """

    make: Callable[[], AbstractSmoothing]
    logits: Tensor
    labels: Tensor
    keywords: dict[str, Any]
    distribution: bool

    @property
    def given(self) -> Target:
        return self.target(self.labels)

    def target(self, labels: Tensor, dtype: torch.dtype = torch.float64) -> Target:
        return Target.from_labels(labels, self.logits.shape[-1], dtype=dtype)

    def experienced(self) -> AbstractSmoothing:
        """A policy that has learned what there is to learn, and stands where an epoch begins."""
        policy = self.make()
        policy(self.given, self.logits, **self.keywords)
        _advance(policy)
        return policy


def _advance(policy: AbstractSmoothing) -> None:
    """Let an epoch end, also one in which nothing was learned."""
    policy.step()
    end_epoch: Any = getattr(policy, "end_epoch", None)
    if end_epoch is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            end_epoch()


def _read(
    policy: AbstractSmoothing, target: Target, logits: Tensor, keywords: dict[str, Any]
) -> Target:
    """The policy's target, without letting it learn."""
    before = policy.training
    with torch.no_grad():
        made: Target = policy.eval()(target, logits, **keywords)
    policy.train(before)
    return made


def _losses(
    policy: AbstractSmoothing, logits: Tensor, labels: Tensor, keywords: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Loss of each sample and the gradient of their sum."""
    criterion = CrossEntropyLoss(policy, reduction="none", class_dim=-1)
    leaf = logits.clone().requires_grad_()
    losses = criterion(leaf, labels, **keywords)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), gradient


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


def _check_refuses(policy: AbstractSmoothing, smoothed: Target, case: _Case) -> None:
    try:
        policy(smoothed, case.logits, **case.keywords)
    except ValueError as error:
        require("smoothed" in str(error), f"the refusal does not say why: {error}")
        return
    raise AssertionError("the policy smooths a target twice: use `check_not_smoothed`")


def _check_copies(case: _Case) -> None:
    policy = case.experienced()
    # Something of an epoch that has not ended belongs to the state too.
    policy(case.given, case.logits.flip(-1), **case.keywords)
    for name, other in copies(policy, case.make):
        twin = copy.deepcopy(policy)
        for _ in range(2):
            expected = twin(case.given, case.logits, **case.keywords).dense()
            actual = other(case.given, case.logits, **case.keywords).dense()
            require(bool((actual == expected).all()), f"{name} gives another target")
            _advance(twin)
            _advance(other)


def _check_learning(case: _Case) -> None:
    policy = case.experienced()
    twin = copy.deepcopy(policy)
    other = case.logits.flip(-1)
    policy.eval()(case.given, other, **case.keywords)
    policy.train()
    with torch.no_grad():
        policy(case.given, other, **case.keywords)
    for when in ("at once", "at the end of the epoch"):
        actual, expected = (
            _read(each, case.given, case.logits, case.keywords).dense() for each in (policy, twin)
        )
        require_close(actual, expected, 1e-12, f"what eval or no_grad taught {when}")
        _advance(policy)
        _advance(twin)


def _check_ignored(case: _Case) -> None:
    ignored = case.labels == -100
    policy = case.experienced()
    clean = copy.deepcopy(policy)
    # Others than those of the first epoch, so that learning nothing shows.
    unseen = case.logits.flip(-1)
    expected = _losses(clean, unseen, case.labels, case.keywords)
    _advance(clean)
    for emptied in (None, False, True):
        other = copy.deepcopy(policy)
        logits, keywords = unseen, case.keywords
        if emptied is not None:
            logits = poisoned(logits, ignored, emptied)
            keywords = {
                name: poisoned(value, ignored, emptied)
                if isinstance(value, Tensor) and value.shape == logits.shape
                else value
                for name, value in keywords.items()
            }
        losses, gradient = _losses(other, logits, case.labels, keywords)
        require(bool((losses[ignored] == 0).all()), "an ignored row has a loss")
        require(bool((gradient[ignored] == 0).all()), "an ignored row has a gradient")
        require_close(losses, expected[0], 1e-12, "losses beside an ignored row of NaN or inf")
        require_close(gradient, expected[1], 1e-12, "gradient beside an ignored row of NaN or inf")
        _advance(other)
        actual, wanted = (
            _read(each, case.given, case.logits, case.keywords).dense() for each in (other, clean)
        )
        require_close(actual, wanted, 1e-12, "what an ignored row of NaN or inf taught")


def _check_masked(case: _Case, seed: int) -> None:
    policy = case.experienced()
    labels = case.labels
    if policy.needs_whole_batch:
        # A position may get the label of any other, so one class is masked that none has.
        last = case.logits.shape[-1] - 1
        labels = torch.where(labels == last, 0, labels)
        alive = torch.arange(last + 1).expand(case.logits.shape) < last
    else:
        alive = random_alive(labels, case.logits.shape[-1], seed + 1)
    masked = case.logits.masked_fill(~alive, -torch.inf)
    made = _read(policy, case.target(labels), masked, case.keywords)
    counted = labels != -100
    if case.distribution:
        dense = made.dense(alive)
        require_close(dense.sum(-1), counted.double(), 1e-12, "mass beside masked classes")
        require(bool((dense >= -1e-12).all()), "a negative entry beside masked classes")
        require(bool((dense[~alive] == 0).all()), "a masked class has mass")
    losses, gradient = _losses(copy.deepcopy(policy), masked, labels, case.keywords)
    require(bool(losses.isfinite().all()), "a loss beside masked classes is not finite")
    require(bool((gradient[~alive] == 0).all()), "a masked class has a gradient")
    low = case.logits.masked_fill(~alive, -1e4)
    by_mask = _losses(copy.deepcopy(policy), low, labels, {**case.keywords, "class_mask": alive})
    require_close(by_mask[0], losses, 1e-10, "losses where `class_mask` masks the classes")
    require_close(by_mask[1], gradient, 1e-10, "gradient where `class_mask` masks the classes")
    first = torch.zeros_like(counted)
    first.view(-1)[0] = True
    empty = masked.masked_fill(first.unsqueeze(-1), -torch.inf)
    losses, gradient = _losses(copy.deepcopy(policy), empty, labels, case.keywords)
    require(bool(losses.isfinite().all()), "a loss beside a row without classes is not finite")
    none = bool((losses[first] == 0).all() and (gradient[first] == 0).all())
    require(none, "a row without classes has a loss or a gradient")


def _check_dtypes(case: _Case) -> None:
    policy = case.experienced()
    single = case.target(case.labels, torch.float32)
    rounded = case.logits.float()
    narrow = _read(policy, single, rounded, case.keywords)
    wide = _read(policy, case.given, rounded.double(), case.keywords)
    for made, dtype in ((narrow, torch.float32), (wide, torch.float64)):
        require(made.dtype == dtype, f"a target of {dtype} becomes one of {made.dtype}")
    require_close(narrow.dense(), wide.dense(), 1e-5, "target in float32")
    for dtype in (torch.float16, torch.bfloat16):
        low = case.logits.to(dtype)
        made = _read(policy, single, low, case.keywords)
        require(made.dtype == torch.float32, f"of {dtype} logits the target is {made.dtype}")
        losses, gradient = _losses(copy.deepcopy(policy), low, case.labels, case.keywords)
        expected = _losses(copy.deepcopy(policy), low.float(), case.labels, case.keywords)
        require(losses.dtype == torch.float32, f"losses of {dtype} logits are {losses.dtype}")
        require_close(losses, expected[0], 1e-5, f"losses of {dtype} logits")
        rounding = 2 * torch.finfo(dtype).eps
        require_close(gradient, expected[1], rounding, f"gradient of {dtype} logits")


def _check_mixtures(case: _Case) -> None:
    policy = case.experienced()
    size = case.logits.shape[-1]
    turned = torch.where(case.labels == -100, case.labels, (case.labels + 1) % size)
    given, other = case.given, case.target(turned)
    first, second = (_read(policy, each, case.logits, case.keywords) for each in (given, other))
    forms = {
        "mixed labels": (given.mix(other, 0.3), 0.3 * first.dense() + 0.7 * second.dense()),
        "one-hot rows": (Target.from_probs(given.dense()), first.dense()),
    }
    for name, (target, expected) in forms.items():
        try:
            made = _read(policy, target, case.logits, case.keywords)
        except TypeError:
            continue
        require_close(made.dense(), expected, 1e-12, f"target of {name}")


def _check_empty(case: _Case) -> None:
    none = {
        name: value[:0]
        if isinstance(value, Tensor) and value.shape[: case.labels.dim()] == case.labels.shape
        else value
        for name, value in case.keywords.items()
    }
    try:
        losses, _ = _losses(case.experienced(), case.logits[:0], case.labels[:0], none)
    except RuntimeError as error:
        raise AssertionError(f"a batch without samples fails: {error}") from error
    require(losses.shape == case.labels[:0].shape, "a batch without samples has losses")


def _check_eval(case: _Case) -> None:
    criterion = CrossEntropyLoss(case.make(), class_dim=-1)
    trained = criterion(case.logits, case.labels, **case.keywords)
    require(bool(trained.isfinite()), f"the loss in training is {float(trained)}")
    criterion.eval()
    plain = cross_entropy(case.logits, case.labels, class_dim=-1)
    actual = criterion(case.logits, case.labels, **case.keywords)
    require_close(actual, plain, 0.0, "loss in eval mode")


def _check_compiles(case: _Case) -> None:
    results = []
    torch.compiler.reset()
    for compiled in (False, True):
        criterion: Any = CrossEntropyLoss(case.make(), class_dim=-1)
        if compiled:
            criterion = torch.compile(criterion, fullgraph=True, backend="aot_eager")
        leaf = case.logits.clone().requires_grad_()
        loss = criterion(leaf, case.labels, **case.keywords)
        loss.backward()
        results.append((loss, leaf.grad))
    (loss, gradient), (compiled_loss, compiled_gradient) = results
    assert gradient is not None
    assert compiled_gradient is not None
    require_close(compiled_loss, loss, 1e-12, "compiled loss")
    require_close(compiled_gradient, gradient, 1e-12, "compiled gradient")
