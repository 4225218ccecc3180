"""The dense float64 targets of the cases, written without the library."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from softtargets.bench.case import RATE, Rows
from softtargets.bench.problem import Inputs


def hard(labels: Tensor, classes: int) -> Rows:
    """One-hot labels."""
    return lambda rows: functional.one_hot(labels[rows], classes).double()


def toward(labels: Tensor, classes: int, rate: float, other: Tensor | float) -> Rows:
    """One-hot labels that gave a share to `other`."""
    onehot = hard(labels, classes)
    return lambda rows: (1 - rate) * onehot(rows) + rate * other


def uniform(inputs: Inputs) -> Rows:
    """One-hot labels that gave a tenth to all classes."""
    classes = inputs.problem.classes
    return toward(inputs.labels, classes, RATE, 1 / classes)


def zipf(inputs: Inputs) -> Tensor:
    """A prior as words have it, float64 `(K,)`."""
    device = inputs.labels.device
    counts = 1 / torch.arange(1, inputs.problem.classes + 1, dtype=torch.float64, device=device)
    return counts / counts.sum()


def table(labels: Tensor, matrix: Tensor, hard_weight: float) -> Rows:
    """Labels with the rest on the labels' rows of a table."""
    onehot = hard(labels, len(matrix))

    def rows_of(rows: slice) -> Tensor:
        return hard_weight * onehot(rows) + (1 - hard_weight) * matrix[labels[rows]].double()

    return rows_of


def teacher(inputs: Inputs, k: int) -> tuple[Tensor, Tensor, Rows]:
    """A teacher's k largest classes, what it gives them, and the dense target of both.

    The teacher is sure to 0.9 of its k classes and spreads the rest evenly over the others.
    """
    classes = inputs.problem.classes
    k = min(k, classes - 1)
    first = inputs.labels.unsqueeze(-1)
    indices = (first + torch.arange(k, device=first.device)) % classes
    weights = torch.arange(k, 0, -1, dtype=torch.float32, device=first.device)
    weights = (0.9 * weights / weights.sum()).expand(len(first), k).contiguous()

    def rows_of(rows: slice) -> Tensor:
        given = weights[rows].double()
        rest = (1 - given.sum(-1, keepdim=True)) / (classes - k)
        return rest.expand(-1, classes).scatter(-1, indices[rows], given)

    return indices, weights, rows_of


def of_policy(policy: Any, inputs: Inputs, labels: Tensor) -> Rows:
    """What a policy says its target is; the gate then tries the engine, not the policy."""
    import softtargets as st

    def rows_of(rows: slice) -> Tensor:
        given = st.Target.from_labels(labels[rows], inputs.problem.classes)
        learning = policy.training
        try:
            dense: Tensor = policy.eval()(given).dense()
        finally:
            policy.train(learning)
        return dense.double()

    return rows_of
