"""Gaps of top-label and class-wise bins under the weights of a bootstrap."""

import torch
from torch import Tensor

from softtargets.calibration.binning import BinStatistics, bin_index
from softtargets.calibration.class_counts import ClassCounts
from softtargets.calibration.gaps import GapModel
from softtargets.calibration.resampling import WeightedSums, Weights


class TopLabelDraws:
    """The bins of the predicted class.

    Args:
        bins: number of equal-width bins.
        draws: B, at least 0.
    """

    def __init__(self, bins: int, draws: int) -> None:
        self._bins = bins
        self._edges = _edges(bins)
        self._sums = WeightedSums(bins, draws)
        self._scores: list[Tensor] = []
        self._outcomes: list[Tensor] = []

    def add(self, scores: Tensor, outcomes: Tensor, weights: Tensor) -> None:
        """Add `(n,)` float64 confidences and outcomes, and `(n, 1 + B)` weights."""
        samples = torch.arange(len(scores))
        residuals = outcomes.double() - scores
        self._sums.add_sparse(bin_index(scores, self._edges), samples, residuals, weights)
        self._scores.append(scores)
        self._outcomes.append(outcomes)

    def samples(self) -> tuple[Tensor, Tensor]:
        """All `(N,)` confidences and outcomes."""
        return torch.cat(self._scores), torch.cat(self._outcomes)

    def statistics(self) -> BinStatistics:
        """The bins without weights."""
        return BinStatistics.from_scores(*self.samples(), bins=self._bins)

    def model(self, weights: Weights) -> GapModel:
        """Their gaps with noise; once, after all samples."""
        return GapModel(self.statistics(), weights.averages(self._sums))


class ClassDraws:
    """The bins of every class, over all samples.

    Args:
        num_classes: K.
        bins: number of equal-width bins.
        draws: B, at least 0.
    """

    def __init__(self, num_classes: int, bins: int, draws: int) -> None:
        self._bins = bins
        self._edges = _edges(bins)
        self._totals = WeightedSums(num_classes, draws)
        self._cells = WeightedSums(num_classes * bins, draws)
        self._counts = ClassCounts(num_classes, bins, torch.device("cpu"))

    def add(self, probs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Add `(n, K)` probabilities and `(n, 1 + B)` weights.

        Of a row at most `bins` entries exceed 1 / bins, for it sums to 1: only those are binned
        one by one. What they leave of a class's residuals is that of its first bin.

        Returns:
            `(n, K)`, float64: outcome - probability.
        """
        self._counts.add(probs, labels)
        errors = probs.double().clamp_max(1)
        sample, label = (errors > self._edges[1]).nonzero(as_tuple=True)
        scores = errors[sample, label]
        cell = label * self._bins + bin_index(scores, self._edges)
        residuals = (labels[sample] == label).double() - scores
        self._cells.add_sparse(cell, sample, residuals, weights)
        errors.neg_()[torch.arange(len(labels)), labels] += 1
        self._totals.add(errors, weights)
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

    def model(self, weights: Weights) -> GapModel:
        """Their gaps with noise; once, after all samples."""
        cells = self._cells.matrix.view(-1, self._bins, self._cells.matrix.shape[-1])
        cells[:, 0] = self._totals.matrix - cells[:, 1:].sum(1)
        return GapModel(self.statistics(), weights.averages(self._cells))


def _edges(bins: int) -> Tensor:
    return torch.arange(bins + 1).double() / bins
