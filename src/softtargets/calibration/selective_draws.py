"""Selective risk under the weights of a bootstrap, many draws at once."""

import torch
from torch import Tensor

_COVERAGE = 0.8
_ROUNDING = 1e-12  # 0.8 * 10 may come out a little above 8


class SelectiveDraws:
    """AURC, E-AURC and risk at 80 % coverage of weighted samples, ties as in `selective`.

    With whole weights the values are those of a sample that holds each of its members so often.
    They follow from the places of the errors: with H(n) = 1 + 1/2 + ... + 1/n, an error that is
    the p-th of N samples adds (H(N) - H(p - 1)) / N to the area, in a group of equal scores the
    mean of that over the group.

    Args:
        scores: `(N,)`, higher is surer.
        errors: `(N,)`, 1 where the prediction is wrong.
    """

    def __init__(self, scores: Tensor, errors: Tensor) -> None:
        ordered, self._order = scores.sort(descending=True, stable=True)
        self._errors = errors[self._order].int()
        _, sizes = torch.unique_consecutive(ordered, return_counts=True)
        ends = sizes.cumsum(0)
        wrong = torch.zeros(len(ends), dtype=torch.int32)
        wrong.index_add_(0, torch.arange(len(ends)).repeat_interleave(sizes), self._errors)
        self._starts, self._ends = (ends - sizes)[wrong > 0], ends[wrong > 0]
        self._ties = bool((sizes > 1).any())

    def __call__(self, weights: Tensor) -> Tensor:
        """`(b, 3)` float64 values for `(b, N)` int32 weights, no row of them all 0."""
        weights = weights.index_select(1, self._order)
        kept = _running_sums(weights)
        before, after = kept.index_select(1, self._starts), kept.index_select(1, self._ends)
        wrong = after - before
        if self._ties:
            errors = _running_sums(weights.mul_(self._errors))
            wrong = errors.index_select(1, self._ends) - errors.index_select(1, self._starts)
        return self._values(kept[:, -1], before, after, wrong.double())

    @staticmethod
    def _values(size: Tensor, before: Tensor, after: Tensor, wrong: Tensor) -> Tensor:
        """From the groups that hold errors: samples up to them, and errors in them."""
        harmonic = _harmonic_numbers(int(size.max()))
        # H(0) + ... + H(n - 1) = n H(n) - n.
        sums = harmonic * torch.arange(len(harmonic)) - torch.arange(len(harmonic))
        below, above = (
            sums.index_select(0, place.flatten()).view(place.shape) for place in (before, after)
        )
        count = (after - before).clamp_min(1)
        errors, total = wrong.sum(-1), size.double()
        area = errors * harmonic[size] - (wrong * (above - below) / count).sum(-1)
        right = total - errors
        best = errors - right * (harmonic[size] - harmonic[right.long()])
        answered = (_COVERAGE * total * (1 - _ROUNDING)).ceil()
        share = ((answered.unsqueeze(-1) - before) / count).clamp(0, 1)
        excess = ((area - best) / total).clamp_min(0)
        return torch.stack([area / total, excess, (wrong * share).sum(-1) / answered], -1)


def _running_sums(weights: Tensor) -> Tensor:
    """`(b, N + 1)`: of the first 0 .. N."""
    sums = weights.new_zeros(weights.shape[0], weights.shape[1] + 1)
    torch.cumsum(weights, -1, dtype=torch.int32, out=sums[:, 1:])
    return sums


def _harmonic_numbers(largest: int) -> Tensor:
    """`(largest + 1,)`: 1 + 1/2 + ... + 1/n for n = 0 .. largest."""
    terms = torch.zeros(largest + 1, dtype=torch.float64)
    terms[1:] = 1 / torch.arange(1, largest + 1, dtype=torch.float64)
    return terms.cumsum(0)
