"""Samples counted into bins of their score: what every binned error is computed from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from softtargets.calibration.checks import check_bins
from softtargets.calibration.class_counts import ClassCounts
from softtargets.calibration.samples import Samples
from softtargets.calibration.samples import top_label_scores as top_label_scores

Binning = Literal["width", "mass"]
Norm = Literal["l1", "l2", "max"]

_BLOCK_ELEMENTS = 2**22  # classes are binned in blocks of this many numbers (32 MB in float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BinStatistics:
    """Counts and sums per bin: holds bins, not samples, and merges over batches and ranks.

    Bin b is `(edges[b], edges[b + 1]]`, and a score of 0 belongs to the first bin. A leading
    dimension, where present, holds one set of bins per class.

    Args:
        edges: `(bins + 1,)` or `(*groups, bins + 1)`, float64, ascending from 0 to 1.
        counts: `(*groups, bins)`, int64: samples in the bin.
        confidence_sums: `(*groups, bins)`, float64: sum of their scores.
        outcome_sums: `(*groups, bins)`, float64: sum of their outcomes (1 = it happened).

    Example:
        >>> import torch
        >>> probs, labels = torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0, 0])
        >>> first = BinStatistics.top_label(probs[:1], labels[:1])
        >>> both = first + BinStatistics.top_label(probs[1:], labels[1:])
        >>> round(both.calibration_error().item(), 4)
        0.4
    """

    edges: Tensor
    counts: Tensor
    confidence_sums: Tensor
    outcome_sums: Tensor

    @classmethod
    def from_scores(
        cls,
        scores: Tensor,
        outcomes: Tensor,
        *,
        bins: int = 15,
        binning: Binning = "width",
        edges: Tensor | None = None,
    ) -> Self:
        """Bin any predicted probabilities of events.

        Args:
            scores: `(*groups, N)`, floating point in [0, 1], N >= 1.
            outcomes: same shape, bool or 0 / 1: whether the event happened.
            bins: number of bins, at least 1.
            binning: "width": edges k / bins; "mass": edges at the scores of rank
                ceil(k N / bins): bins of equally many samples, but equal scores stay together.
            edges: use these instead, as later batches of "mass" binning must.

        Raises:
            ValueError: shapes differ, no sample, a score outside [0, 1], edges not ascending.
        """
        bins = check_bins(bins, binning)
        if scores.shape != outcomes.shape or scores.ndim == 0 or scores.numel() == 0:
            raise ValueError(
                "`scores` and `outcomes` must have one shape (*groups, N) with N >= 1, got "
                f"{tuple(scores.shape)} and {tuple(outcomes.shape)}"
            )
        scores = scores.detach()
        if not bool(((scores >= 0) & (scores <= 1)).all()):
            raise ValueError(
                f"`scores` must be in [0, 1], got {scores.min():g} .. {scores.max():g}; "
                "apply softmax or sigmoid to logits first"
            )
        if edges is None:
            edges = bin_edges(scores, bins, binning)
        return cls._counted(scores, outcomes, _checked_edges(edges))

    @classmethod
    def top_label(
        cls,
        probs: Tensor,
        labels: Tensor,
        *,
        bins: int = 15,
        binning: Binning = "width",
        edges: Tensor | None = None,
        class_dim: int = 1,
        ignore_index: int = -100,
    ) -> Self:
        """Bin the probability of the predicted class; the outcome is "the prediction is right".

        Args:
            probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
            labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
            bins: number of bins, at least 1.
            binning: see `from_scores`.
            edges: see `from_scores`.
            class_dim: where the classes are; -1 for `(batch, tokens, K)`.
            ignore_index: the label of positions to leave out.

        Raises:
            ValueError: `probs` or `labels` break a rule above.
        """
        bins = check_bins(bins, binning)
        samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
        scores, outcomes = samples.top_label()
        if edges is None:
            edges = bin_edges(scores, bins, binning)
        return cls._counted(scores, outcomes, _checked_edges(edges))

    @classmethod
    def class_wise(
        cls,
        probs: Tensor,
        labels: Tensor,
        *,
        bins: int = 15,
        binning: Binning = "width",
        class_dim: int = 1,
        ignore_index: int = -100,
    ) -> Self:
        """Bin, for each class, its probability in all samples; counts are `(K, bins)`.

        Args:
            probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
            labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1; the outcome of
                class k is "the label is k".
            bins: number of bins, at least 1.
            binning: see `from_scores`; "mass" has edges of its own for each class.
            class_dim: where the classes are; -1 for `(batch, tokens, K)`.
            ignore_index: the label of positions to leave out.

        Raises:
            ValueError: `probs` or `labels` break a rule above.
        """
        bins = check_bins(bins, binning)
        samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
        if binning == "width":
            return cls._classes_counted(samples, bins)
        samples.check_values()
        blocks = [
            cls._counted(scores, outcomes, bin_edges(scores, bins, binning))
            for scores, outcomes in class_blocks(
                samples.scores, samples.labels, ignored=samples.ignored
            )
        ]
        return cls(
            edges=torch.cat([b.edges for b in blocks]),
            counts=torch.cat([b.counts for b in blocks]),
            confidence_sums=torch.cat([b.confidence_sums for b in blocks]),
            outcome_sums=torch.cat([b.outcome_sums for b in blocks]),
        )

    @classmethod
    def _counted(cls, scores: Tensor, outcomes: Tensor, edges: Tensor) -> Self:
        index = bin_index(scores, edges)
        zeros = scores.new_zeros((*scores.shape[:-1], edges.shape[-1] - 1), dtype=torch.float64)
        return cls(
            edges=edges,
            counts=zeros.long().scatter_add_(-1, index, torch.ones_like(index)),
            confidence_sums=zeros.scatter_add(-1, index, scores.detach().double()),
            outcome_sums=zeros.scatter_add(-1, index, outcomes.double()),
        )

    @classmethod
    def _classes_counted(cls, samples: Samples, bins: int) -> Self:
        """Count every class into bins of equal width, in one pass over blocks of rows."""
        device = samples.scores.device
        classes = ClassCounts(samples.num_classes, bins, device)
        for rows, labels in samples.row_blocks():
            classes.add(rows, labels)
        counts, confidence_sums, outcome_sums = classes.result()
        return cls(
            edges=torch.arange(bins + 1, device=device).double() / bins,
            counts=counts.long(),
            confidence_sums=confidence_sums,
            outcome_sums=outcome_sums,
        )

    def merge(self, other: "BinStatistics") -> "BinStatistics":
        """Return the statistics of both sets of samples; also written `a + b`.

        Raises:
            ValueError: the edges differ.
        """
        if self.counts.shape != other.counts.shape or not torch.equal(self.edges, other.edges):
            raise ValueError(
                "`other` must have the same bins and edges, got bins of shape "
                f"{tuple(other.counts.shape)} for {tuple(self.counts.shape)}; with "
                '`binning="mass"` pass the first batch\'s `edges=` to the later ones'
            )
        return BinStatistics(
            edges=self.edges,
            counts=self.counts + other.counts,
            confidence_sums=self.confidence_sums + other.confidence_sums,
            outcome_sums=self.outcome_sums + other.outcome_sums,
        )

    def __add__(self, other: "BinStatistics") -> "BinStatistics":
        return self.merge(other)

    @property
    def num_samples(self) -> int:
        """Samples counted (of the largest group, where there are groups)."""
        return int(self.counts.sum(-1).max())

    @property
    def signed_gaps(self) -> Tensor:
        """`(*groups, bins)`: (sum of outcomes - sum of scores) / N, 0 for an empty bin."""
        return (self.outcome_sums - self.confidence_sums) / self._totals

    @property
    def _totals(self) -> Tensor:
        """`(*groups, 1)`: samples in each group, at least 1."""
        return self.counts.sum(-1, keepdim=True).clamp_min(1)

    def calibration_error(
        self, *, norm: Norm = "l1", debiased: bool = False, floor: bool = True
    ) -> Tensor:
        """Summarise the gaps between outcome frequency and mean score over the bins.

        With w the share of samples in a bin and g its gap: "l1" is sum w |g|, "l2" is
        sqrt(sum w g^2), "max" is max |g|. What debiasing subtracts is described at
        `expected_calibration_error`.

        Args:
            norm: "l1", "l2" or "max".
            debiased: subtract what sampling noise alone contributes; "l1" and "l2" only.
            floor: raise a negative debiased l1 to 0. Pass False before averaging over runs, or
                the mean is biased again. The l2 error always keeps its sign.

        Returns:
            `(*groups,)`, float64; 0-dim without groups.

        Raises:
            ValueError: unknown norm, or "max" with `debiased=True`.
        """
        if norm not in ("l1", "l2", "max"):
            raise ValueError(f'`norm` must be "l1", "l2" or "max", got {norm!r}')
        if norm == "max":
            if debiased:
                raise ValueError('`debiased=True` needs norm "l1" or "l2", got "max"')
            return self._shares_and_gaps()[1].amax(-1)
        if norm == "l1":
            error = self.signed_gaps.abs().sum(-1)
            if not debiased:
                return error
            error = error - self._expected_excess()
            return error.clamp_min(0) if floor else error
        share, gaps = self._shares_and_gaps()
        squared = gaps.square()
        if debiased:
            squared = squared - self._accuracy_variances()
        total = (share * squared).sum(-1)
        return total.sign() * total.abs().sqrt()

    def _shares_and_gaps(self) -> tuple[Tensor, Tensor]:
        counts = self.counts.clamp_min(1)
        gaps = (self.outcome_sums - self.confidence_sums).abs() / counts
        return self.counts.double() / self._totals, gaps

    def _accuracy_variances(self) -> Tensor:
        counts = self.counts.clamp_min(1)
        accuracy, confidence = self.outcome_sums / counts, self.confidence_sums / counts
        several = accuracy * (1 - accuracy) / (counts - 1).clamp_min(1)
        return torch.where(counts > 1, several, confidence * (1 - confidence))

    def _expected_excess(self) -> Tensor:
        share, gaps = self._shares_and_gaps()
        counts = self.counts.clamp_min(1)
        # One pseudo-sample at the mean score: a bin of one sample would else show no variance.
        rate = (self.outcome_sums + self.confidence_sums / counts) / (counts + 1)
        variance = (rate * (1 - rate)).clamp_min(0) / counts
        noise, seen = (share * variance).sum(-1), (share * gaps.square()).sum(-1)
        shrink = (1 - noise / seen.clamp_min(1e-300)).clamp_min(0).sqrt()
        fitted, spread = shrink.unsqueeze(-1) * gaps, variance.sqrt()
        return (share * (folded_normal_mean(fitted, spread) - fitted)).sum(-1)


def bin_edges(scores: Tensor, bins: int, binning: Binning) -> Tensor:
    """Edges `(bins + 1,)` of equal width, or `(*groups, bins + 1)` of equal mass; float64."""
    steps = torch.arange(bins + 1, device=scores.device)
    if binning == "width":
        return steps.double() / bins
    ranks = (steps[1:-1] * scores.shape[-1] + bins - 1) // bins - 1
    inner = scores.detach().double().sort(-1).values[..., ranks]
    edge = inner.new_zeros((*inner.shape[:-1], 1))
    return torch.cat([edge, inner, edge + 1], -1)


def bin_index(scores: Tensor, edges: Tensor) -> Tensor:
    """The bin `(edges[b], edges[b + 1]]` of each score; 0 is in the first, 1 in the last."""
    inner = edges[..., 1:-1].contiguous()
    return torch.searchsorted(inner, scores.detach().double().contiguous())


def class_blocks(
    probs: Tensor, labels: Tensor, width: int = 1, ignored: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of `(classes, N)` scores and outcomes, of bounded size when widened `width` times."""
    labels = labels.flatten() if ignored is None else labels[~ignored]
    size = max(1, _BLOCK_ELEMENTS // (len(labels) * width))
    for start in range(0, probs.shape[-1], size):
        columns = probs[..., start : start + size]
        columns = columns.flatten(0, -2) if ignored is None else columns[~ignored]
        classes = torch.arange(start, start + columns.shape[-1], device=probs.device)
        yield columns.T.double().clamp_max(1), labels == classes.unsqueeze(-1)


def _checked_edges(edges: Tensor) -> Tensor:
    steps = edges.diff(dim=-1)
    if edges.shape[-1] < 2 or bool((steps < 0).any()):
        raise ValueError(
            f"`edges` must be at least 2 ascending numbers from 0 to 1, got {edges.tolist()}"
        )
    return edges.double()


def folded_normal_mean(mean: Tensor, spread: Tensor) -> Tensor:
    """E|X| of a normal variable, for mean >= 0."""
    ratio = mean / spread.clamp_min(1e-300)
    density = torch.exp(-ratio.square() / 2) * math.sqrt(2 / math.pi)
    return spread * density + mean * torch.erf(ratio / math.sqrt(2))
