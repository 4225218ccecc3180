"""One pass over the predictions of a model: all that its report and its intervals are made of."""

from functools import cached_property

import torch
from torch import Tensor

from softtargets.calibration.binned_draws import ClassDraws, EventDraws, equal_width_edges
from softtargets.calibration.numbers import (
    BrierNoise,
    Noisy,
    gap_errors,
    signed_parts,
    spread_of_outcomes,
)
from softtargets.calibration.resampling import (
    Block,
    WeightedSums,
    Weights,
    count_units,
    resampled,
    weighted_rows,
)
from softtargets.calibration.samples import Samples, top_label_scores
from softtargets.calibration.scores import hits, log_losses
from softtargets.calibration.selective_draws import SelectiveDraws
from softtargets.calibration.smooth import smooth_error
from softtargets.calibration.smooth_draws import SmoothDraws

_MEANS = ("accuracy", "negative_log_likelihood", "brier_score")
_SELECTIVE = (
    "area_under_risk_coverage",
    "excess_area_under_risk_coverage",
    "risk_at_80_percent_coverage",
)


class Measurement:
    """Values of the samples, their bins, and the same under the weights of B draws.

    Equal seeds give equal weights, so that models of the same samples can be paired.

    Args:
        samples: logits and labels; their values are checked as they are read.
        scores: `(N,)`: how sure the model is of the samples; None: the highest probability.
        temperature: what the logits are divided by.
        bins: number of equal-width bins.
        draws: B, at least 0.
        seed: of the weights.

    Attributes:
        num_samples: N.
        num_classes: K.
        num_units: how many independent units the samples come in.
        draws: B.
        means: share of samples whose highest logit is at the label, mean log-loss, and mean
            squared error, summed over classes.
        confidences: `(N,)`: probability of the predicted class.
        hits: `(N,)`, bool: whether that class is the label.
        top_label: the bins of the confidences.
        class_wise: the bins of each class.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        scores: Tensor | None = None,
        temperature: float = 1.0,
        bins: int,
        draws: int,
        seed: int,
    ) -> None:
        self.num_samples, self.num_classes = samples.num_samples, samples.num_classes
        self._units = samples.units()
        self.num_units = count_units(self._units, draws)
        self.draws, self._seed, self._scores = draws, seed, scores
        self._weights = Weights(draws, seed)
        self._means = WeightedSums(3, draws)
        self._labels = WeightedSums(self.num_classes, draws)
        self._top_label = EventDraws(equal_width_edges(bins), draws)
        self._smooth = SmoothDraws(draws)
        self._class_wise = ClassDraws(self.num_classes, bins, draws)
        blocks = weighted_rows(samples, self._weights)
        parts = [self._add(x.double() / temperature, y, block) for x, y, block in blocks]
        confidences, matches = zip(*parts, strict=True)
        self.confidences, self.hits = torch.cat(confidences), torch.cat(matches)
        plain = self._means.matrix[:, 0] / self.num_samples
        self.means: list[float] = plain.tolist()
        self.top_label = self._top_label.statistics()
        self.class_wise = self._class_wise.statistics()

    def _add(self, logits: Tensor, labels: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        probs = torch.softmax(logits, -1)
        confidences, matches = top_label_scores(probs, labels)
        self._top_label.add(confidences, matches, block)
        self._smooth.add(confidences, matches, block)
        samples = torch.arange(len(labels))
        self._labels.add_sparse(labels, samples, torch.ones_like(confidences), block)
        errors = self._class_wise.add(probs, labels, block)
        values = [hits(logits, labels), log_losses(logits, labels), errors.square().sum(-1)]
        self._means.add(torch.stack(values, 1), block)
        return confidences, matches

    @cached_property
    def drawn_means(self) -> Tensor:
        """`(3, B)`: accuracy, log-loss and squared error of each draw."""
        return self._weights.averages(self._means)

    @cached_property
    def drawn_label_shares(self) -> Tensor:
        """`(K, B)`: how often each label occurs in each draw."""
        return self._weights.averages(self._labels)

    @cached_property
    def selective(self) -> Tensor:
        """`(3,)`: AURC, E-AURC and risk at 80 % coverage."""
        whole = torch.ones(1, self.num_samples, dtype=torch.int32)
        return self._selective_draws()(whole)[0]

    @cached_property
    def drawn_selective(self) -> Tensor:
        """`(3, B)`: those of each draw."""
        statistic = self._selective_draws()
        return resampled(statistic, self._units, draws=self.draws, seed=self._seed).T

    def _selective_draws(self) -> SelectiveDraws:
        scores = self.confidences if self._scores is None else self._scores
        return SelectiveDraws(scores, ~self.hits)

    def values(self) -> dict[str, float]:
        """Every number of the report, as its function defines it."""
        top_label, class_wise = self.top_label, self.class_wise
        resolution, uncertainty = spread_of_outcomes(class_wise)
        ece = top_label.calibration_error(debiased=True, floor=False)
        class_wise_error = class_wise.calibration_error(debiased=True, floor=False).mean()
        found: dict[str, Tensor | float] = {
            **dict(zip(_MEANS, self.means, strict=True)),
            "brier_reliability": class_wise.calibration_error(norm="l2").square().sum(),
            "brier_resolution": resolution,
            "brier_uncertainty": uncertainty,
            "expected_calibration_error": top_label.calibration_error(),
            "expected_calibration_error_debiased": ece.clamp_min(0),
            "expected_calibration_error_signed": ece,
            "overconfidence_error": (-top_label.signed_gaps).clamp_min(0).sum(),
            "underconfidence_error": top_label.signed_gaps.clamp_min(0).sum(),
            "root_mean_square_calibration_error": top_label.calibration_error(norm="l2"),
            "maximum_calibration_error": top_label.calibration_error(norm="max"),
            "smooth_calibration_error": smooth_error(self.confidences, self.hits),
            "classwise_calibration_error": class_wise.calibration_error().mean(),
            "classwise_calibration_error_debiased": class_wise_error.clamp_min(0),
            "classwise_calibration_error_signed": class_wise_error,
        }
        found |= dict(zip(_SELECTIVE, self.selective, strict=True))
        return {name: float(value) for name, value in found.items()}

    @cached_property
    def noisy(self) -> Noisy:
        """The same with their noise."""
        top_label = self._top_label.model()
        class_wise = self._class_wise.model()
        smooth = self._smooth.model(self._weights.totals, self.confidences, self.top_label)
        of_classes = class_wise.error("l1", self.num_classes)
        plain = [*self.means, *self.selective.tolist()]
        drawn = [*self.drawn_means, *self.drawn_selective]
        resolution, uncertainty = spread_of_outcomes(self.class_wise)
        return Noisy(
            means=dict(zip((*_MEANS, *_SELECTIVE), zip(plain, drawn, strict=True), strict=True)),
            errors=gap_errors(top_label)
            | {
                "smooth_calibration_error": (smooth, smooth),
                "classwise_calibration_error": (of_classes, of_classes),
            },
            parts=signed_parts(top_label),
            whole=top_label.error("l1"),
            brier=BrierNoise(
                model=class_wise,
                groups=1,
                score=self.drawn_means[2],
                resolution=float(resolution),
                uncertainty=float(uncertainty),
                drawn_uncertainty=1 - self.drawn_label_shares.square().sum(0),
                most_uncertainty=1 - 1 / self.num_classes,
            ),
        )
