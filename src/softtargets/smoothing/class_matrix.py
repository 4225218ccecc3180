"""Smoothing towards a row of a class matrix: similarity, hierarchy, confusion."""

from typing import Any, Self, final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.smoothing.base import (
    AbstractSmoothing,
    check_not_smoothed,
    check_policy_classes,
)
from softtargets.smoothing.per_class import kept_rows, rows_in
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target


@final
class ClassMatrixSmoothing(AbstractSmoothing):
    r"""Smoothing with one distribution per label: similar classes get more.

        q = (1 - rate) * e_y + rate * matrix[y]

    Mixed labels and rows of probabilities take the mixture of their rows. Make the matrix of what
    is known about the classes with `from_distances`, `from_similarities`, `from_features` or
    `from_confusion`, or bring any whose rows sum to 1.

    Args:
        matrix: `(K, K)` floating point, row y = where the share of label y goes; rows off by
            rounding are divided by their sum.
        rate: the share that moves, in [0, 1], or a `Schedule`.

    Attributes:
        matrix: `(K, K)` buffer.

    Raises:
        TypeError: the matrix is not floating point, the rate no number.
        ValueError: the matrix is not square, a row is no distribution, or the rate is out of
            range.

    Example:
        >>> import torch, softtargets as st
        >>> matrix = torch.tensor([[0.0, 0.9, 0.1], [0.8, 0.0, 0.2], [0.5, 0.5, 0.0]])
        >>> target = st.Target.from_labels(torch.tensor([0]), 3)
        >>> st.ClassMatrixSmoothing(matrix, rate=0.1)(target).dense()
        tensor([[0.9000, 0.0900, 0.0100]])

    References:
        Bertinetto et al., "Making Better Mistakes: Leveraging Class Hierarchies with Deep
        Networks", CVPR 2020 (`from_distances`).
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor, rate: float | Schedule) -> None:
        super().__init__()
        rows = kept_rows(_check_square(matrix, "matrix"), "matrix")
        self.rate: float | Schedule = check_scheduled(rate, checks.check_rate)
        self.register_buffer("matrix", rows)

    @classmethod
    def from_distances(cls, distances: Tensor, beta: float, rate: float | Schedule = 1.0) -> Self:
        r"""Return smoothing that falls with the distance of the classes.

            matrix[y, k] = exp(-beta d(y, k) / d_max) / sum_j exp(-beta d(y, j) / d_max)

        The label is its own nearest class, so a row is a whole target: rate 1.

        Args:
            distances: `(K, K)`, >= 0, 0 on the diagonal; in a tree, the height of the lowest
                common ancestor. d_max is the largest of all.
            beta: how steeply it falls, > 0; the larger, the nearer to one-hot.
            rate: the share of the target that is the row.

        Raises:
            TypeError: `distances` is not floating point.
            ValueError: an argument is out of range.
        """
        wide = _check_square(distances, "distances").double()
        beta = checks.check_positive(beta, "beta")
        wrong = ~(wide.isfinite() & (wide >= 0))
        if bool(wrong.any()) or bool((wide.diagonal() != 0).any()):
            raise ValueError(
                "`distances` must be finite, >= 0 and 0 on the diagonal, got "
                f"{float(wide[wrong][0] if wrong.any() else wide.diagonal().abs().max()):g}; "
                "for similarities use `from_similarities`"
            )
        largest = wide.max()
        if not bool(largest > 0):
            raise ValueError(
                "`distances` must hold one above 0, got 0 alone; for equal classes use "
                "`LabelSmoothing`"
            )
        return cls(torch.softmax(-beta * wide / largest, -1).to(_kept(distances)), rate)

    @classmethod
    def from_similarities(
        cls, similarities: Tensor, rate: float | Schedule, temperature: float = 1.0
    ) -> Self:
        r"""Return smoothing over the other classes, by a softmax of similarities.

            matrix[y, k] = exp(s(y, k) / T) / sum_{j != y} exp(s(y, j) / T)     matrix[y, y] = 0

        Args:
            similarities: `(K, K)` finite, larger = more alike; the diagonal is not read.
            rate: the share that leaves the label.
            temperature: T > 0; the larger, the more even.

        Raises:
            TypeError: `similarities` is not floating point.
            ValueError: an argument is out of range, or there is one class alone.
        """
        wide = _check_square(similarities, "similarities").double()
        checks.check_two_classes(len(wide), "from_similarities")
        temperature = checks.check_positive(temperature, "temperature")
        own = torch.eye(len(wide), dtype=torch.bool, device=wide.device)
        wide = wide.masked_fill(own, 0.0)
        if not bool(wide.isfinite().all()):
            row = int((~wide.isfinite()).any(-1).nonzero()[0])
            raise ValueError(
                f"`similarities` must be finite off the diagonal, row {row} is not; give unrelated "
                "classes a low number"
            )
        rows = torch.softmax((wide / temperature).masked_fill(own, -torch.inf), -1)
        return cls(rows.to(_kept(similarities)), rate)

    @classmethod
    def from_features(
        cls, features: Tensor, rate: float | Schedule, temperature: float = 1.0
    ) -> Self:
        """Return `from_similarities` of the cosine between the classes' vectors.

        Args:
            features: `(K, D)`, one vector per class: mean features, word vectors, the weights of
                a trained output layer.
            rate: see `from_similarities`.
            temperature: see `from_similarities`.

        Raises:
            TypeError: `features` is not floating point.
            ValueError: another shape, or a vector is 0 or not finite.
        """
        checks.check_floating(features, "features")
        if features.dim() != 2:
            raise ValueError(
                "`features` must have shape (K, D), one vector per class, got "
                f"{tuple(features.shape)}; average the features of each class first"
            )
        norms = features.detach().double().norm(dim=-1, keepdim=True)
        usable = (norms > 0) & norms.isfinite()
        if not bool(usable.all()):
            row = int((~usable)[:, 0].nonzero()[0])
            raise ValueError(
                f"`features` must be finite and not 0, row {row} has norm {float(norms[row, 0]):g};"
                " a cosine needs a direction"
            )
        unit = features.detach().double() / norms
        return cls.from_similarities((unit @ unit.T).to(_kept(features)), rate, temperature)

    @classmethod
    def from_confusion(
        cls, counts: Tensor, rate: float | Schedule, pseudocount: float = 0.0
    ) -> Self:
        """Return smoothing by how often each class was taken for which.

            matrix[y, k] = (counts[y, k] + pseudocount) / sum_j (counts[y, j] + pseudocount)

        Args:
            counts: `(K, K)` >= 0, integers or floats: row = true class, column = predicted (or as
                a second annotator said); right answers are on the diagonal.
            rate: the share of the target that is the row.
            pseudocount: added to each count, >= 0.

        Raises:
            TypeError: `counts` is no tensor of numbers.
            ValueError: another shape, a count below 0 or not finite, or a row of zeros.
        """
        if isinstance(counts, Tensor) and not counts.is_floating_point():
            checks.check_labels_dtype(counts, "counts")
            counts = counts.to(torch.promote_types(torch.get_default_dtype(), torch.float32))
        wide = _check_square(counts, "counts").double()
        pseudocount = checks.check_fraction(pseudocount, "pseudocount", 0, float("inf"))
        wide = wide + pseudocount
        total = wide.sum(-1, keepdim=True)
        wrong = ~((total[:, 0] > 0) & total[:, 0].isfinite() & (wide >= pseudocount).all(-1))
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"`counts` must be finite, >= 0 and not all 0 in a row, row {row} sums to "
                f"{float(total[row, 0]):g}; for a class never seen pass `pseudocount=1`"
            )
        return cls((wide / total).to(_kept(counts)), rate)

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "ClassMatrixSmoothing")
        check_policy_classes(target, len(self.matrix))
        matrix = rows_in(self.matrix, target.dtype)
        return target.blend(current(self.rate, target.entries.weights), matrix)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return f"matrix={tuple(self.matrix.shape)}, rate={shown(self.rate)}"


def _check_square(matrix: Tensor, name: str) -> Tensor:
    """Return the matrix without a graph if it is floating point and `(K, K)`, or raise."""
    checks.check_floating(matrix, name)
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(
            f"`{name}` must have shape (K, K), one row per class, got {tuple(matrix.shape)}; for "
            "one distribution for all classes use `LabelSmoothing(rate, prior=...)`"
        )
    return matrix.detach()


def _kept(tensor: Tensor) -> torch.dtype:
    """The dtype a matrix is kept in: float64 if it came so, else float32."""
    return torch.promote_types(tensor.dtype, torch.float32)
