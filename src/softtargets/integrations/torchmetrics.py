"""Calibration as torchmetrics `Metric`s: streaming, in collections, reduced over ranks.

    from softtargets.integrations.torchmetrics import ExpectedCalibrationError

All of them hold the same sums, those of `softtargets.calibration.StreamingCalibration`, so a
`MetricCollection` of several passes over a batch once (once more for the class-wise error).
"""

from abc import abstractmethod
from typing import Any, Literal, final

import torch
from torch import Tensor
from torchmetrics import Metric

from softtargets.calibration.streaming import StreamedCalibration, streamed
from softtargets.calibration.sums import SumOptions, Sums, no_sums, sums_of

__all__ = [
    "AreaUnderRiskCoverage",
    "BrierScore",
    "ClasswiseCalibrationError",
    "ExpectedCalibrationError",
    "NegativeLogLikelihood",
]


class AbstractCalibrationMetric(Metric):
    """A value of `StreamedCalibration` as a metric; called and updated with `(preds, target)`.

    Args:
        num_classes: K.
        of: what the predictions are, "probs" or "logits"; never guessed from their values.
        bins: number of equal-width bins.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.
        kwargs: those of `torchmetrics.Metric`.

    Raises:
        ValueError: an argument is out of range.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    _class_wise = False

    totals: Tensor
    top_label: Tensor
    ranked: Tensor
    by_class: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        of: Literal["probs", "logits"],
        bins: int = 15,
        class_dim: int = 1,
        ignore_index: int = -100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if of not in ("probs", "logits"):
            raise ValueError(f'`of` must be "probs" or "logits", got {of!r}')
        self.of = of
        self._options = SumOptions(
            num_classes=num_classes,
            bins=bins,
            class_wise=self._class_wise,
            class_dim=class_dim,
            ignore_index=ignore_index,
        )
        for name, part in no_sums(self._options)._asdict().items():
            self.add_state(name, default=part, dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            preds: `(N, K)`, or more dimensions, floating point: what `of` says.
            target: `(N,)`, the shape without the classes, integers in 0 .. K - 1.

        Raises:
            ValueError: predictions or labels break a rule above.
            TypeError: a wrong dtype.
        """
        for name, part in sums_of(self._options, preds, target, self.of)._asdict().items():
            held = getattr(self, name)
            setattr(self, name, held + part.to(held.device))

    def compute(self) -> Tensor:
        """Return the value, 0-dim, float64; NaN before the first sample."""
        sums = Sums(self.totals, self.top_label, self.ranked, self.by_class)
        if not bool(sums.totals[0] > 0):
            return torch.full_like(sums.totals[0], torch.nan)
        return sums.totals.new_tensor(self._value(streamed(self._options, sums)))

    @abstractmethod
    def _value(self, found: StreamedCalibration) -> float | None:
        """Return which value this metric is."""


@final
class ExpectedCalibrationError(AbstractCalibrationMetric):
    """Top-label calibration error over bins of equal width, see `expected_calibration_error`.

    Args:
        args: those of `AbstractCalibrationMetric`.
        debiased: subtract what sampling noise alone contributes.
        kwargs: those of `AbstractCalibrationMetric`.

    Example:
        >>> import torch
        >>> metric = ExpectedCalibrationError(num_classes=2, of="probs", bins=2)
        >>> metric(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
        tensor(0.1500, dtype=torch.float64)
    """

    def __init__(self, *args: Any, debiased: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.debiased = debiased

    def _value(self, found: StreamedCalibration) -> float:
        if self.debiased:
            return found.expected_calibration_error_debiased
        return found.expected_calibration_error


@final
class ClasswiseCalibrationError(AbstractCalibrationMetric):
    """Mean calibration error of the classes, see `classwise_calibration_error`.

    Args:
        args: those of `AbstractCalibrationMetric`.
        debiased: subtract what sampling noise alone contributes.
        kwargs: those of `AbstractCalibrationMetric`.

    Example:
        >>> import torch
        >>> metric = ClasswiseCalibrationError(num_classes=2, of="probs", bins=2)
        >>> metric(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
        tensor(0.1500, dtype=torch.float64)
    """

    _class_wise = True

    def __init__(self, *args: Any, debiased: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.debiased = debiased

    def _value(self, found: StreamedCalibration) -> float | None:
        if self.debiased:
            return found.classwise_calibration_error_debiased
        return found.classwise_calibration_error


@final
class NegativeLogLikelihood(AbstractCalibrationMetric):
    """Mean of -log P(label), natural logarithm; inf where a label has no probability.

    Example:
        >>> import torch
        >>> metric = NegativeLogLikelihood(num_classes=2, of="logits")
        >>> metric(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
        tensor(0.6931, dtype=torch.float64)
    """

    def _value(self, found: StreamedCalibration) -> float:
        return found.negative_log_likelihood


@final
class BrierScore(AbstractCalibrationMetric):
    """Mean of sum_k (P(k) - [label is k])^2, in [0, 2], see `brier_score`.

    Example:
        >>> import torch
        >>> metric = BrierScore(num_classes=2, of="probs")
        >>> metric(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0, 1]))
        tensor(0.2500, dtype=torch.float64)
    """

    def _value(self, found: StreamedCalibration) -> float:
        return found.brier_score


@final
class AreaUnderRiskCoverage(AbstractCalibrationMetric):
    """AURC, see `area_under_risk_coverage`, of ranks as `StreamingCalibration` counts them.

    Args:
        args: those of `AbstractCalibrationMetric`.
        excess: subtract the area of the best order of the same errors.
        kwargs: those of `AbstractCalibrationMetric`.

    Example:
        >>> import torch
        >>> metric = AreaUnderRiskCoverage(num_classes=2, of="probs")
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> metric(probs, torch.tensor([0, 1, 1, 1]))
        tensor(0.2708, dtype=torch.float64)
    """

    def __init__(self, *args: Any, excess: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.excess = excess

    def _value(self, found: StreamedCalibration) -> float:
        if self.excess:
            return found.excess_area_under_risk_coverage
        return found.area_under_risk_coverage
