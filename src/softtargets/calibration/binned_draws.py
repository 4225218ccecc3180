"""Gaps of bins under the weights of a bootstrap."""

import torch
from torch import Tensor

from softtargets.calibration.binning import BinStatistics, bin_index
from softtargets.calibration.class_counts import ClassCounts
from softtargets.calibration.gaps import GapModel
from softtargets.calibration.resampling import Block, WeightedSums, averages


class EventDraws:
    """The bins of the scores of one event, or of each of several labels.

    Args:
        edges: `(bins + 1,)`, float64; of several labels `(L, bins + 1)`.
        draws: B, at least 0.
    """

    def __init__(self, edges: Tensor, draws: int) -> None:
        self._edges = edges
        self._bins = edges.shape[-1] - 1
        self._labels = edges.shape[:-1].numel()
        self._residuals = WeightedSums(self._labels * self._bins, draws)
        self._totals = WeightedSums(self._labels, draws)
        self._sums = torch.zeros(3, self._labels * self._bins, dtype=torch.float64)

    def add(
        self, scores: Tensor, outcomes: Tensor, block: Block, answered: Tensor | None = None
    ) -> None:
        """Add samples of every label.

        Args:
            scores: `(n,)` or `(L, n)`, float64.
            outcomes: the same shape, bool.
            block: their weights.
            answered: the same shape, bool: what counts; None: all.
        """
        shape = (self._labels, scores.shape[-1])
        counted = torch.ones(shape).bool() if answered is None else answered.view(shape)
        index = bin_index(scores, self._edges).view(shape)
        label, sample = counted.nonzero(as_tuple=True)
        cell = label * self._bins + index[counted]
        scores, happened = scores.view(shape)[counted], outcomes.view(shape)[counted].double()
        self._residuals.add_sparse(cell, sample, happened - scores, block)
        self._totals.add(counted.double().T, block)
        for sums, values in zip(
            self._sums, (torch.ones_like(scores), scores, happened), strict=True
        ):
            sums.index_add_(0, cell, values)

    def statistics(self) -> BinStatistics:
        """The bins without weights."""
        counts, scores, outcomes = self._sums.view(3, *self._edges.shape[:-1], self._bins)
        return BinStatistics(
            edges=self._edges, counts=counts.long(), confidence_sums=scores, outcome_sums=outcomes
        )

    def totals(self) -> Tensor:
        """`(L, 1 + B)`: sums of the weights of the samples that count."""
        return self._totals.matrix

    def model(self) -> GapModel:
        """Their gaps with noise; once, after all samples."""
        sums = self._residuals.matrix.view(self._labels, self._bins, -1)
        drawn = averages(sums, self.totals().unsqueeze(1))
        return GapModel(self.statistics(), drawn.flatten(0, 1))


class ClassDraws:
    """The bins of every class, over all samples.

    Args:
        num_classes: K.
        bins: number of equal-width bins.
        draws: B, at least 0.
    """

    def __init__(self, num_classes: int, bins: int, draws: int) -> None:
        self._bins = bins
        self._edges = equal_width_edges(bins)
        self._totals = WeightedSums(num_classes, draws)
        self._cells = WeightedSums(num_classes * bins, draws)
        self._size = torch.zeros(1 + draws, dtype=torch.float64)
        self._counts = ClassCounts(num_classes, bins, torch.device("cpu"))

    def add(self, probs: Tensor, labels: Tensor, block: Block) -> Tensor:
        """Add `(n, K)` probabilities and `(n,)` labels with their weights.

        Of a row at most `bins` entries exceed 1 / bins, for it sums to 1: only those are binned
        one by one. What they leave of a class's residuals is that of its first bin.

        Returns:
            `(n, K)`, float64: outcome - probability.
        """
        self._counts.add(probs, labels)
        self._size += block.totals()
        errors = probs.double().clamp_max(1)
        sample, label = (errors > self._edges[1]).nonzero(as_tuple=True)
        scores = errors[sample, label]
        cell = label * self._bins + bin_index(scores, self._edges)
        residuals = (labels[sample] == label).double() - scores
        self._cells.add_sparse(cell, sample, residuals, block)
        errors.neg_()[torch.arange(len(labels)), labels] += 1
        self._totals.add(errors, block)
        return errors

    def statistics(self) -> BinStatistics:
        """The bins without weights."""
        counts, confidence_sums, outcome_sums = self._counts.result()
        return BinStatistics(
            edges=self._edges,
            counts=counts.long(),
            confidence_sums=confidence_sums,
            outcome_sums=outcome_sums,
        )

    def model(self) -> GapModel:
        """Their gaps with noise; once, after all samples."""
        cells = self._cells.matrix.view(-1, self._bins, self._cells.matrix.shape[-1])
        cells[:, 0] = self._totals.matrix - cells[:, 1:].sum(1)
        return GapModel(self.statistics(), averages(self._cells.matrix, self._size))


def equal_width_edges(bins: int) -> Tensor:
    """`(bins + 1,)`, float64."""
    return torch.arange(bins + 1).double() / bins
