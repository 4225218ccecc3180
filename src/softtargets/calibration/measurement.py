"""One pass over the predictions of a model: all that its report and its intervals are made of."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from softtargets.calibration.binned_draws import ClassDraws, TopLabelDraws
from softtargets.calibration.gaps import GapModel
from softtargets.calibration.resampling import WeightedSums, Weights, resampled
from softtargets.calibration.samples import top_label_scores
from softtargets.calibration.scores import hits, log_losses
from softtargets.calibration.selective_draws import SelectiveDraws
from softtargets.calibration.smooth_draws import SmoothDraws, SmoothModel

_BLOCK_ELEMENTS = 2**20  # rows are widened to float64 in blocks of this many numbers (8 MB)


class Measurement:
    """Values of the samples, their bins, and the same under the weights of B draws.

    Equal seeds give equal weights, so that models of the same samples can be paired.

    Args:
        logits: `(N, K)`, checked.
        labels: `(N,)`, integers, checked.
        temperature: what the logits are divided by.
        bins: number of equal-width bins.
        draws: B, at least 0.
        seed: of the weights.

    Attributes:
        num_samples: N.
        num_classes: K.
        draws: B.
        seed: of the weights.
        means: share of samples whose highest logit is at the label, mean log-loss, and mean
            squared error, summed over classes.
        confidences: `(N,)`: probability of the predicted class.
        hits: `(N,)`, bool: whether that class is the label.
        top_label: the bins of the confidences.
        class_wise: the bins of each class.
    """

    def __init__(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        temperature: float = 1.0,
        bins: int,
        draws: int,
        seed: int,
    ) -> None:
        self.num_samples, self.num_classes = logits.shape
        self.draws, self.seed = draws, seed
        self._weights = Weights(draws, seed)
        self._means = WeightedSums(3, draws)
        self._labels = WeightedSums(self.num_classes, draws)
        self._top_label = TopLabelDraws(bins, draws)
        self._smooth = SmoothDraws(draws)
        self._class_wise = ClassDraws(self.num_classes, bins, draws)
        size = max(1, min(self._weights.rows, _BLOCK_ELEMENTS // self.num_classes))
        for rows, row_labels in _row_blocks(logits, labels, size):
            self._add(rows / temperature, row_labels)
        self.confidences, self.hits = self._top_label.samples()
        plain = self._means.matrix[:, 0] / self.num_samples
        self.means: list[float] = plain.tolist()
        self.top_label = self._top_label.statistics()
        self.class_wise = self._class_wise.statistics()

    def _add(self, logits: Tensor, labels: Tensor) -> None:
        weights = self._weights.block(len(labels))
        probs = torch.softmax(logits, -1)
        confidences, matches = top_label_scores(probs, labels)
        self._top_label.add(confidences, matches, weights)
        self._smooth.add(confidences, matches, weights)
        samples = torch.arange(len(labels))
        self._labels.add_sparse(labels, samples, torch.ones_like(confidences), weights)
        errors = self._class_wise.add(probs, labels, weights)
        values = [hits(logits, labels), log_losses(logits, labels), errors.square().sum(-1)]
        self._means.add(torch.stack(values, 1), weights)

    @cached_property
    def drawn_means(self) -> Tensor:
        """`(3, B)`: accuracy, log-loss and squared error of each draw."""
        return self._weights.averages(self._means)

    @cached_property
    def drawn_label_shares(self) -> Tensor:
        """`(K, B)`: how often each label occurs in each draw."""
        return self._weights.averages(self._labels)

    @cached_property
    def top_label_model(self) -> GapModel:
        """The gaps of top-label bins with their noise."""
        return self._top_label.model(self._weights)

    @cached_property
    def class_wise_model(self) -> GapModel:
        """The gaps of all classes' bins with their noise."""
        return self._class_wise.model(self._weights)

    @cached_property
    def smooth_model(self) -> SmoothModel:
        """The residuals without bins, with their noise."""
        return self._smooth.model(self._weights, self.confidences, self.top_label)

    @cached_property
    def selective(self) -> Tensor:
        """`(3,)`: AURC, E-AURC and risk at 80 % coverage."""
        whole = torch.ones(1, self.num_samples, dtype=torch.int32)
        return SelectiveDraws(self.confidences, ~self.hits)(whole)[0]

    @cached_property
    def drawn_selective(self) -> Tensor:
        """`(3, B)`: those of each draw."""
        statistic = SelectiveDraws(self.confidences, ~self.hits)
        return resampled(statistic, self.num_samples, draws=self.draws, seed=self.seed).T


def _row_blocks(logits: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labels), size):
        rows, row_labels = logits[start : start + size], labels[start : start + size]
        yield rows.detach().cpu().double(), row_labels.detach().cpu().long()
