"""Every class's probabilities counted into bins of equal width, block of rows by block."""

import math

import torch
from torch import Tensor


class ClassCounts:
    """Counts, score sums and outcome sums of all classes.

    Of a row at most `bins` entries exceed 1 / bins, for it sums to 1: only those are sought one by
    one, and all the rest of a class goes into its first bin as a sum.

    Args:
        num_classes: K.
        bins: number of bins.
        device: of the rows to come.
    """

    def __init__(self, num_classes: int, bins: int, device: torch.device) -> None:
        self.bins = bins
        self.inner_edges = torch.arange(1, bins, device=device).double() / bins
        # Below the first edge whatever the rounding of a narrow dtype.
        self.surely_first = 0.98 / bins if bins > 1 else math.inf
        self.num_samples = 0
        self.totals = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self.sums = torch.zeros(3, num_classes * bins, dtype=torch.float64, device=device)

    def add(self, rows: Tensor, labels: Tensor) -> None:
        """Count `(n, K)` probabilities with `(n,)` int64 labels."""
        self.num_samples += len(labels)
        self.totals += rows.sum(0, dtype=torch.float64)
        sample, label = (rows > self.surely_first).nonzero(as_tuple=True)
        scores = rows[sample, label].double()
        counts, score_sums, outcome_sums = self.sums
        index = self._index(scores, label)
        counts.index_add_(0, index, torch.ones_like(scores))
        score_sums.index_add_(0, index, scores)
        at_label = rows.gather(1, labels.unsqueeze(1)).squeeze(1).double()
        outcome_sums.index_add_(0, self._index(at_label, labels), torch.ones_like(at_label))

    def result(self) -> Tensor:
        """`(3, K, bins)`, float64: counts, sums of scores, sums of outcomes."""
        sums = self.sums.view(3, -1, self.bins).clone()
        counts, score_sums, _ = sums
        counts[:, 0] += self.num_samples - counts.sum(-1)
        # What is left of a class after the subtraction is rounding where nothing was left out.
        rest = (self.totals - score_sums.sum(-1)).clamp_min(0)
        score_sums[:, 0] += torch.where(counts[:, 0] > 0, rest, 0)
        return sums

    def _index(self, scores: Tensor, label: Tensor) -> Tensor:
        return label * self.bins + torch.searchsorted(self.inner_edges, scores)
