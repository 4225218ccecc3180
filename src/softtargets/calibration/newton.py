"""The least NLL of logits scaled class by class: Newton's method within bounds, in float64.

The logits of class k become w_k z_k + b_k. The NLL is convex in all w and b together, so within a
box there is a minimum and no other. Hessians are never formed: their products with a vector come
from passes over blocks of rows, and conjugate gradients solve the Newton equations.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK_ELEMENTS = 2**18  # rows are read in blocks of this many numbers (2 MB in float64)
_MOST_KEPT = 2**23  # up to here probabilities are kept between passes (64 MB in float64)
_LEAST_DECREASE = 1e-10  # the search ends where the model of the NLL promises less
_MAX_STEPS, _MAX_CONJUGATE_STEPS, _MAX_HALVINGS = 500, 100, 40
_ARMIJO = 1e-4
_EDGE = 1e-3  # a parameter this close to a bound that pushes against it counts as being there
_DAMPING = 1e-12  # a bias added to all classes changes nothing: the Hessian is singular


class Problem(NamedTuple):
    """Whose NLL is minimised, and where.

    Args:
        logits: `(N, K)`, floating point; -inf masks a class, but not a label's.
        labels: `(N,)`, integers.
        low: `(P, K)`, float64: lower bounds of the scales, and of the biases where P is 2.
        high: `(P, K)`, float64: upper bounds.
    """

    logits: Tensor
    labels: Tensor
    low: Tensor
    high: Tensor


def minimise(problem: Problem, start: Tensor) -> Tensor:
    """Return the `(P, K)` parameters of least NLL within the bounds.

    Args:
        problem: the problem.
        start: `(P, K)`, float64, within the bounds, where the NLL is finite.

    Raises:
        RuntimeError: the search did not end, which convexity rules out but for a defect.
    """
    point = start
    for _ in range(_MAX_STEPS):
        value, gradient, curvature = _expansion(problem, point)
        pushed = ((point - problem.low < _EDGE) & (gradient > 0)) | (
            (problem.high - point < _EDGE) & (gradient < 0)
        )
        step = _newton_step(problem, point, gradient, curvature, ~pushed)
        # What is held back at a bound goes there by the gradient, scaled by its own curvature.
        diagonal = torch.diagonal(curvature, dim1=-2, dim2=-1).T
        step = torch.where(pushed, -gradient / diagonal, step)
        reached = torch.where(pushed, (point + step).clamp(problem.low, problem.high), point + step)
        promised = -float((gradient * (reached - point)).sum())
        nearer = _line_search(problem, point, step, value, gradient)
        if nearer is None:
            return point
        point = nearer
        if promised <= _LEAST_DECREASE:
            return point
    raise RuntimeError(f"no minimum of the NLL within {_MAX_STEPS} steps; please report this")


def mean_loss(problem: Problem, point: Tensor) -> float:
    """NLL of the scaled logits."""
    total = 0.0
    for z, masked, labels in _row_blocks(problem):
        logs = torch.log_softmax(_scores(z, masked, point), -1)
        total -= float(logs.gather(-1, labels).sum())
    return total / len(problem.labels)


def _line_search(
    problem: Problem, point: Tensor, step: Tensor, value: float, gradient: Tensor
) -> Tensor | None:
    """The first of point + step, + step / 2, ... brought into the box that lowers the NLL.

    A bound that cuts a step off can turn it uphill; a shorter one does not reach the bound.
    None: at the minimum, to rounding.
    """
    for _ in range(_MAX_HALVINGS):
        moved = (point + step).clamp(problem.low, problem.high)
        slope = float((gradient * (moved - point)).sum())
        if slope < 0 and mean_loss(problem, moved) <= value + _ARMIJO * slope:
            return moved
        step = step / 2
    return None


def _newton_step(
    problem: Problem, point: Tensor, gradient: Tensor, curvature: Tensor, free: Tensor
) -> Tensor:
    """Solve H step = -gradient for the free parameters by preconditioned conjugate gradients."""
    hessian_times = _hessian(problem, point)
    step = torch.zeros_like(gradient)
    residual = -gradient * free
    scaled = _preconditioned(curvature, residual) * free
    direction, product = scaled, float((residual * scaled).sum())
    enough = product * min(0.25, product) ** 2
    for _ in range(_MAX_CONJUGATE_STEPS):
        if product <= enough or product <= 0:
            break
        image = hessian_times(direction) * free
        along = float((direction * image).sum())
        if along <= 0:
            break
        step = step + (product / along) * direction
        residual = residual - (product / along) * image
        scaled = _preconditioned(curvature, residual) * free
        previous, product = product, float((residual * scaled).sum())
        direction = scaled + (product / previous) * direction
    return step


def _preconditioned(curvature: Tensor, residual: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve(curvature, residual.T.unsqueeze(-1))
    return solved.squeeze(-1).T


def _expansion(problem: Problem, point: Tensor) -> tuple[float, Tensor, Tensor]:
    """NLL, its `(P, K)` gradient, and each class's own `(P, P)` block of the Hessian."""
    value, parameters = 0.0, len(point)
    moments = point.new_zeros(2 * parameters - 1, point.shape[1])
    gradient = torch.zeros_like(point)
    for z, masked, labels in _row_blocks(problem):
        logs = torch.log_softmax(_scores(z, masked, point), -1)
        value -= float(logs.gather(-1, labels).sum())
        probs = logs.exp()
        variance = probs * (1 - probs)
        residual = probs.scatter_add(-1, labels, -torch.ones_like(probs[:, :1]))
        gradient[0] += (residual * z).sum(0)
        moments[0] += (variance * z.square()).sum(0)
        if parameters == 2:
            gradient[1] += residual.sum(0)
            moments[1] += (variance * z).sum(0)
            moments[2] += variance.sum(0)
    count = len(problem.labels)
    blocks = moments[torch.tensor([[0, 1], [1, 2]])[:parameters, :parameters]] / count
    curvature = blocks.permute(2, 0, 1)  # (K, P, P)
    traces = torch.diagonal(curvature, dim1=-2, dim2=-1).sum(-1)
    identity = torch.eye(parameters, dtype=point.dtype, device=point.device)
    damping = (1e-8 * traces + _DAMPING).view(-1, 1, 1)
    return value / count, gradient / count, curvature + damping * identity


def _hessian(problem: Problem, point: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that multiplies `(P, K)` directions by the Hessian at a point."""

    def rows() -> Iterator[tuple[Tensor, Tensor]]:
        for z, masked, _ in _row_blocks(problem):
            yield z, torch.softmax(_scores(z, masked, point), -1)

    kept = list(rows()) if problem.logits.numel() <= _MOST_KEPT else None

    def times(direction: Tensor) -> Tensor:
        product = torch.zeros_like(point)
        for z, probs in rows() if kept is None else kept:
            change = z * direction[0]
            if len(point) == 2:
                change += direction[1]
            weighted = change.mul_(probs)
            weighted -= probs * weighted.sum(-1, keepdim=True)
            if len(point) == 2:
                product[1] += weighted.sum(0)
            product[0] += weighted.mul_(z).sum(0)
        return product / len(problem.labels) + _DAMPING * direction

    return times


def _scores(z: Tensor, masked: Tensor | None, point: Tensor) -> Tensor:
    scores = z * point[0]
    if len(point) == 2:
        scores += point[1]
    return scores if masked is None else scores.masked_fill_(masked, -torch.inf)


def _row_blocks(problem: Problem) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """Blocks of rows in float64 with 0 for masked classes, which are masked, `(n, 1)` labels."""
    logits, labels = problem.logits.detach(), problem.labels
    size = max(1, _BLOCK_ELEMENTS // logits.shape[1])
    for start in range(0, len(labels), size):
        rows, at = logits[start : start + size].double(), labels[start : start + size, None].long()
        if bool(rows.amin() == -torch.inf):
            masked = rows == -torch.inf
            yield rows.masked_fill(masked, 0), masked, at
        else:
            yield rows, None, at
