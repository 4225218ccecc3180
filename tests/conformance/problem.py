"""What a library is asked, and the right answer from a float64 formula."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
K_MINUS_1 = "K-1, the rate is spread over the other classes"


class NotOffered(Exception):
    """The library has no argument for it: no failure."""


@dataclass(frozen=True)
class Problem:
    """A cross-entropy to compute; the class dimension is 1."""

    logits: Tensor  # (N, K) or (N, K, H, W)
    target: Tensor  # labels (N, ...), or rows of the logits' shape
    rate: float = 0.0
    weight: Tensor | None = None
    reduction: str = "mean"

    @property
    def soft(self) -> bool:
        return self.target.is_floating_point()

    @property
    def classes(self) -> int:
        return self.logits.shape[1]

    def one_hot(self) -> Tensor:
        """Rows of the logits' shape; zeros where the label is ignored."""
        if self.soft:
            return self.target
        rows = torch.nn.functional.one_hot(self.target.clamp(min=0), self.classes)
        rows = rows * (self.target != IGNORED).unsqueeze(-1)
        return rows.movedim(-1, 1).to(torch.float32)

    def but(self, **changes: Any) -> "Problem":
        return replace(self, **changes)

    def features(self) -> dict[str, str]:
        """What it takes to answer, and what a library without it lacks."""
        labels = not self.soft
        asked = {
            "labels": (labels, "a loss of labels"),
            "weight": (self.weight is not None, "class weights"),
            "soft": (self.soft, "soft targets"),
            "smoothed soft": (self.soft and self.rate != 0, "smoothing of soft targets"),
            "rate": (self.rate != 0, "smoothing"),
            "reduction": (self.reduction != "mean", "`reduction`"),
            "ignore": (labels and bool((self.target == IGNORED).any()), "`ignore_index`"),
        }
        return {name: words for name, (needed, words) in asked.items() if needed}


@dataclass(frozen=True)
class Refused:
    """An exception that came where one was right."""

    error: str


@dataclass(frozen=True)
class Case:
    """One question to every library."""

    name: str
    source: str
    says: str
    ask: Any  # Library -> a number, several, or a word
    right: Any
    # Other answers that can be defended, and known wrong ones, each by the reason for it.
    others: Mapping[str, Any] = field(default_factory=dict)
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__


def or_refused(ask: Callable[[], Any]) -> Any:
    """An answer where an error is one, too."""
    try:
        return ask()
    except NotOffered:
        raise
    except Exception as error:
        return Refused(first_line(error))


def numbers(value: Any) -> Any:
    """A tensor or array as a float or a list of floats, words as they are."""
    if isinstance(value, str | Refused):
        return value
    if isinstance(value, list | tuple):
        return [numbers(part) for part in value]
    flat = [float(x) for x in torch.as_tensor(value).detach().reshape(-1).tolist()]
    return flat[0] if len(flat) == 1 else flat


def same(seen: Any, right: Any, tolerance: float) -> bool:
    """Whether an answer is the right one; relative above 1, absolute below."""
    if right is Refused:
        return isinstance(seen, Refused)
    if isinstance(right, str) or isinstance(seen, str | Refused):
        return bool(seen == right)
    seen, right = (torch.tensor(numbers(x), dtype=torch.float64).reshape(-1) for x in (seen, right))
    return seen.shape == right.shape and torch.allclose(
        seen, right, rtol=tolerance, atol=tolerance, equal_nan=True
    )


def outcome(case: Case, library: Any) -> dict[str, Any]:
    """Ask a library; return its verdict and what was seen."""
    try:
        seen = numbers(case.ask(library))
    except NotOffered as reason:
        return {"verdict": "n/a", "seen": f"has no {reason}"}
    except Exception as error:
        return {"verdict": "error", "seen": first_line(error)}
    return {
        "verdict": _verdict(case, seen),
        "seen": seen.error if isinstance(seen, Refused) else seen,
    }


def _verdict(case: Case, seen: Any) -> str:
    tolerance = max(case.tolerance, 1e-5)
    if same(seen, case.right, case.tolerance):
        return "pass"
    for kind, answers in (("other", case.others), ("fail", case.mistakes)):
        for reason, value in answers.items():
            if same(seen, value, tolerance):
                return f"{kind}: {reason}"
    return "fail"


def shares(problem: Problem, *, spread: str = "K", alive: Tensor | None = None) -> Tensor:
    """The smoothed target, `(M, K)` float64.

    `spread`: the rate over all K classes; "K-1", over the others; "light", the others get the
    share of one in K and the label nothing of it.
    """
    rows = problem.one_hot().double().movedim(1, -1).reshape(-1, problem.classes)
    mass = rows.sum(-1, keepdim=True)
    if spread in ("K-1", "light"):
        even = (mass - rows) / (problem.classes - (spread == "K-1"))
    else:
        alive = torch.ones_like(rows, dtype=torch.bool) if alive is None else alive
        even = mass * alive / alive.sum(-1, keepdim=True)
    return (1 - problem.rate) * rows + problem.rate * even


def cross_entropies(problem: Problem, rows: Tensor) -> Tensor:
    """-sum_k w_k q_k log p_k of each position, `(M,)` float64, with 0 log 0 = 0."""
    z = problem.logits.double().movedim(1, -1).reshape(-1, problem.classes)
    top = z.amax(-1, keepdim=True)
    log_p = z - top - (z - top).exp().sum(-1, keepdim=True).log()
    weight = torch.ones(problem.classes) if problem.weight is None else problem.weight
    q = rows * weight.double()
    return -torch.where(q == 0, 0, q * log_p).sum(-1)


def expected(
    problem: Problem,
    *,
    spread: str = "K",
    alive: Tensor | None = None,
    divergence: bool = False,
    divisor: float | None = None,
) -> Tensor:
    """The loss by the formula; the mean is over the (weighted) mass before smoothing."""
    rows = shares(problem, spread=spread, alive=alive)
    losses = cross_entropies(problem, rows)
    if divergence:
        losses = losses + torch.where(rows == 0, 0, rows * rows.log()).sum(-1)
    if problem.reduction == "none":
        return losses
    if problem.reduction == "sum":
        return losses.sum()
    weight = torch.ones(problem.classes) if problem.weight is None else problem.weight
    given = problem.one_hot().double().movedim(1, -1).reshape(-1, problem.classes)
    return losses.sum() / ((given * weight.double()).sum() if divisor is None else divisor)


def conventions(problem: Problem) -> dict[str, Tensor]:
    """What a library may define instead of the rate over all K classes."""
    return {
        K_MINUS_1: expected(problem, spread="K-1"),
        "K-1 and a KL divergence, the target's entropy is taken off": expected(
            problem, spread="K-1", divergence=True
        ),
    }


def slips(problem: Problem) -> dict[str, Tensor]:
    """Known mistakes with a rate."""
    return {"its target sums to 1 - rate / K": expected(problem, spread="light")}
