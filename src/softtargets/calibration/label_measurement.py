"""One pass over multi-label predictions: all that their report and its intervals are made of."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.batching import blocks
from softtargets.calibration.binned_draws import EventDraws, equal_width_edges
from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.events import Events
from softtargets.calibration.intervals import MeanError
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
    averages,
    count_units,
)
from softtargets.calibration.samples import class_last, units_of
from softtargets.calibration.smooth import smooth_error
from softtargets.calibration.smooth_draws import SmoothDraws, SmoothModel

_BLOCK_ELEMENTS = 2**18  # rows are read in blocks of this many numbers


class Answers(NamedTuple):
    """Rows of logits, what happened, and which of it is known.

    Args:
        logits: `(n, L)`.
        happened: `(n, L)`, bool.
        known: `(n, L)`, bool.
    """

    logits: Tensor
    happened: Tensor
    known: Tensor


class LabelMeasurement:
    """Values of the answers, each label's bins, and the same under the weights of B draws.

    Labels without an answer are left out, and so are rows without one.

    Args:
        logits: `(N, L)`, or more dimensions.
        labels: the same shape, 0 or 1.
        class_dim: where the labels' dimension is.
        ignore_index: the answer of entries to leave out.
        bins: number of equal-width bins.
        draws: B, at least 0.
        seed: of the weights.

    Attributes:
        num_samples: N.
        num_labels: L.
        draws: B.
    """

    def __init__(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        class_dim: int,
        ignore_index: int,
        bins: int,
        draws: int,
        seed: int,
    ) -> None:
        view = class_last(logits, class_dim, "logits")
        events = Events.of(logits, labels, "logits", ignore_index=ignore_index)
        events.check_values()
        known = torch.ones_like(events.labels).bool()
        if events.ignored is not None:
            known = ~events.ignored
        answers = Answers(view, *(x.movedim(class_dim, -1) for x in (events.labels == 1, known)))
        seen = answers.known.flatten(0, -2).any(0)
        units = units_of(view.shape[:-1], ~answers.known.any(-1))
        count_units(units, draws)
        self.num_samples, self.num_labels, self.draws = len(units), int(seen.sum()), draws
        edges = equal_width_edges(bins).expand(self.num_labels, -1).contiguous()
        self._weights = Weights(draws, seed)
        self._events = EventDraws(edges, draws)
        self._smooth = SmoothDraws(draws, self.num_labels)
        self._sums = WeightedSums(3 * self.num_labels, draws)
        rows = _weighted(answers, units, self._weights)
        parts = [self._add(Answers(*(x[:, seen] for x in part)), block) for part, block in rows]
        self._scores, self._happened, self._known = (
            torch.cat(columns, 1) for columns in zip(*parts, strict=True)
        )
        self._statistics = self._events.statistics()

    def _add(self, rows: Answers, block: Block) -> tuple[Tensor, Tensor, Tensor]:
        logits, happened, known = rows
        outcomes = happened.double()
        probs = torch.sigmoid(logits)
        losses = torch.logaddexp(torch.zeros(()).double(), torch.where(happened, -logits, logits))
        values = torch.stack([losses, (probs - outcomes).square(), outcomes])
        values = torch.where(known, values, 0.0).movedim(1, 0).flatten(1)
        self._sums.add(values, block)
        columns = probs.T.contiguous(), happened.T, known.T
        self._events.add(*columns[:2], block, columns[2])
        self._smooth.add(*columns[:2], block, columns[2])
        return columns

    @property
    def _totals(self) -> Tensor:
        """`(L, 1 + B)`: answers of every label, weighted."""
        return self._events.totals()

    @property
    def _by_label(self) -> Tensor:
        """`(3, L, 1 + B)`: sums of losses, squared errors and outcomes."""
        return self._sums.matrix.view(3, self.num_labels, -1)

    def values(self) -> dict[str, float]:
        """Every number of the report, as its function defines it."""
        bins, answers = self._statistics, self._totals[:, 0].sum()
        losses, squares, _ = self._by_label[..., 0].sum(-1) / answers
        resolution, uncertainty = self._outcomes()
        debiased = bins.calibration_error(debiased=True, floor=False).mean()
        reliability = bins.calibration_error(norm="l2").square().mean()
        smooth = [smooth_error(*self._label(k)) for k in range(self.num_labels)]
        found = {
            "negative_log_likelihood": losses,
            "brier_score": squares,
            "brier_reliability": reliability,
            "brier_resolution": resolution,
            "brier_uncertainty": uncertainty,
            "expected_calibration_error": bins.calibration_error().mean(),
            "expected_calibration_error_debiased": debiased.clamp_min(0),
            "expected_calibration_error_signed": debiased,
            "overconfidence_error": (-bins.signed_gaps).clamp_min(0).sum(-1).mean(),
            "underconfidence_error": bins.signed_gaps.clamp_min(0).sum(-1).mean(),
            "root_mean_square_calibration_error": reliability.sqrt(),
            "maximum_calibration_error": bins.calibration_error(norm="max").amax(),
            "smooth_calibration_error": torch.stack(smooth).mean(),
        }
        return {name: float(value) for name, value in found.items()}

    @cached_property
    def noisy(self) -> Noisy:
        """The same with their noise."""
        count, values, model = self.num_labels, self.values(), self._events.model()
        drawn = averages(self._by_label.sum(1), self._totals.sum(0))
        per_label = averages(self._by_label.clone(), self._totals)
        smooth = MeanError(tuple(self._smooth_model(k) for k in range(count)))
        rates = per_label[2]
        names = ("negative_log_likelihood", "brier_score")
        return Noisy(
            means={name: (values[name], draws) for name, draws in zip(names, drawn, strict=False)},
            errors=gap_errors(model, count) | {"smooth_calibration_error": (smooth, smooth)},
            parts=signed_parts(model, count),
            whole=model.error("l1", count),
            brier=BrierNoise(
                model=model,
                groups=count,
                score=per_label[1].mean(0),
                resolution=values["brier_resolution"],
                uncertainty=values["brier_uncertainty"],
                drawn_uncertainty=(rates * (1 - rates)).mean(0),
                most_uncertainty=0.25,
            ),
        )

    def _outcomes(self) -> tuple[Tensor, Tensor]:
        resolution, uncertainty = spread_of_outcomes(self._statistics)
        return resolution / self.num_labels, uncertainty / self.num_labels

    def _label(self, k: int) -> tuple[Tensor, Tensor]:
        known = self._known[k]
        return self._scores[k, known], self._happened[k, known]

    def _smooth_model(self, k: int) -> SmoothModel:
        bins = self._statistics
        of_label = BinStatistics(
            edges=bins.edges[k],
            counts=bins.counts[k],
            confidence_sums=bins.confidence_sums[k],
            outcome_sums=bins.outcome_sums[k],
        )
        return self._smooth.model(self._totals[k], self._label(k)[0], of_label, k)


def _weighted(answers: Answers, units: Tensor, weights: Weights) -> Iterator[tuple[Answers, Block]]:
    """Blocks of rows with an answer, on the CPU, and their weights, in order."""
    start = 0
    for index in blocks(answers.logits.shape, _BLOCK_ELEMENTS):
        logits, happened, known = (x[index].flatten(0, -2).cpu() for x in answers)
        kept = known.any(-1)
        rows = logits[kept].double(), happened[kept], known[kept]
        for part, block in weights.blocks(units[start : start + len(rows[0])]):
            yield Answers(*(x[part] for x in rows)), block
        start += len(rows[0])
