"""Calibration of any number of predictions in constant memory: sums and bins, no samples."""

from dataclasses import dataclass, field
from typing import Any, Self, final

import torch
import torch.distributed as dist
from torch import Tensor

from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.selective import RiskCoverageCurve
from softtargets.calibration.sums import (
    LOWEST_LOG_ODDS,
    RANKS_PER_UNIT,
    SumOptions,
    Sums,
    added,
    no_sums,
    sums_of,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamedCalibration:
    """What `StreamingCalibration.compute` returns.

    Args:
        num_samples: N.
        accuracy: share of right predictions.
        negative_log_likelihood: natural logarithm.
        brier_score: summed over classes, in [0, 2].
        expected_calibration_error: top-label, l1, equal width.
        expected_calibration_error_debiased: the same debiased and floored at 0.
        classwise_calibration_error: mean over classes; None if not counted.
        classwise_calibration_error_debiased: the same debiased and floored at 0.
        area_under_risk_coverage: AURC; confidences of one rank count as equal.
        excess_area_under_risk_coverage: AURC minus that of the best order.
        risk_coverage: its curve, one point per rank that occurs.
        top_label: the bins, for other errors and for `ReliabilityCurve.from_statistics`.
        class_wise: the bins of every class; None if not counted.
    """

    num_samples: int
    accuracy: float
    negative_log_likelihood: float
    brier_score: float
    expected_calibration_error: float
    expected_calibration_error_debiased: float
    classwise_calibration_error: float | None
    classwise_calibration_error_debiased: float | None
    area_under_risk_coverage: float
    excess_area_under_risk_coverage: float
    risk_coverage: RiskCoverageCurve = field(repr=False)
    top_label: BinStatistics = field(repr=False)
    class_wise: BinStatistics | None = field(repr=False)


@final
class StreamingCalibration:
    """Accuracy, NLL, Brier score, calibration errors and AURC of a stream of predictions.

    One pass over each batch adds to sums whose size does not depend on the number of samples:
    0.3 MB, and 48 K bins bytes more with `class_wise`. Accumulators add up (`a + b`), also over
    ranks (`sync`), and the order never matters but for the rounding of float64 sums. The values
    are those of the functions of the same names, computed within a row in the dtype of the row (at
    least float32); the one exception is AURC, which takes confidences as equal if their log odds
    fall into the same bin of width 1/128 (from -16 to 40, the ends open).

    Args:
        num_classes: K.
        bins: number of equal-width bins. Bins of equal mass would need all samples first.
        class_wise: count every class into bins too.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> stream = StreamingCalibration(num_classes=2)
        >>> stream.update(torch.tensor([0]), probs=torch.tensor([[0.9, 0.1]]))
        >>> stream.update(torch.tensor([0]), logits=torch.tensor([[0.0, 0.8473]]))  # 0.3, 0.7
        >>> found = stream.compute()
        >>> found.num_samples, found.accuracy, round(found.expected_calibration_error, 4)
        (2, 0.5, 0.4)
    """

    def __init__(
        self,
        num_classes: int,
        *,
        bins: int = 15,
        class_wise: bool = False,
        class_dim: int = 1,
        ignore_index: int = -100,
    ) -> None:
        self._local: Sums
        self._shared: Sums
        self._options = SumOptions(
            num_classes=num_classes,
            bins=bins,
            class_wise=class_wise,
            class_dim=class_dim,
            ignore_index=ignore_index,
        )
        self.reset()

    def update(
        self, labels: Tensor, *, probs: Tensor | None = None, logits: Tensor | None = None
    ) -> None:
        """Count a batch; an empty one, or one of ignored labels alone, changes nothing.

        Args:
            labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
            probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
            logits: the same of logits, instead of `probs`; -inf masks a class.

        Raises:
            ValueError: scores or labels break a rule above; nothing is counted then.
            TypeError: both or none of `probs` and `logits`, or a wrong dtype.
        """
        if logits is not None and probs is None:
            sums = sums_of(self._options, logits, labels, "logits")
        elif probs is not None and logits is None:
            sums = sums_of(self._options, probs, labels, "probs")
        else:
            given = "none" if probs is None else "both"
            raise TypeError(f"one of `probs=` and `logits=` must be given, got {given}")
        self._local = added(self._local, sums)

    def compute(self) -> StreamedCalibration:
        """Return all values of the samples counted so far.

        Raises:
            ValueError: no sample was counted.
        """
        return streamed(self._options, self._sums)

    def reset(self) -> None:
        """Forget all samples."""
        self._local = no_sums(self._options)
        self._shared = no_sums(self._options)

    def merge(self, other: "StreamingCalibration") -> "StreamingCalibration":
        """Return an accumulator of the samples of both; also written `a + b`.

        Raises:
            ValueError: the accumulators were made with different arguments.
        """
        if self._options != other._options:
            raise ValueError(
                f"`other` must be made with the same arguments, got {other._options} for "
                f"{self._options}"
            )
        both = StreamingCalibration.__new__(StreamingCalibration)
        both._options = self._options
        both._local = added(other._local, self._local)
        both._shared = added(other._shared, self._shared)
        return both

    def __add__(self, other: "StreamingCalibration") -> "StreamingCalibration":
        return self.merge(other)

    def sync(self, group: dist.ProcessGroup | None = None) -> None:
        """Add up what all ranks counted since the last time; collective.

        Every rank has to call it, also one that counted nothing. Afterwards `compute()` gives the
        same on all ranks, and counting can go on. Without `torch.distributed` nothing happens.

        Args:
            group: the ranks; None: all of them.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        flat = torch.cat([part.flatten() for part in self._local])
        # The ranks must agree on a device, whatever they counted.
        flat = flat.cuda() if dist.get_backend(group) == "nccl" else flat.cpu()
        dist.all_reduce(flat, group=group)
        sizes = [part.numel() for part in self._local]
        parts = torch.split(flat.to(self.device), sizes)
        total = Sums(*(x.view_as(y) for x, y in zip(parts, self._local, strict=True)))
        self._shared = added(self._shared, total)
        self._local = no_sums(self._options)

    def to(self, device: torch.device | str) -> Self:
        """Move the sums, which otherwise follow the batches; returns the object itself."""
        self._local = Sums(*(part.to(device) for part in self._local))
        self._shared = Sums(*(part.to(device) for part in self._shared))
        return self

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self._local.totals.device

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of all sums, on the CPU; with several ranks call `sync()` before."""
        return {name: part.to("cpu", copy=True) for name, part in self._sums._asdict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; with several ranks it counts once, not per rank.

        Raises:
            ValueError: it is of an accumulator made with other arguments.
        """
        empty = no_sums(self._options)
        expected = {name: tuple(part.shape) for name, part in empty._asdict().items()}
        found = {name: tuple(part.shape) for name, part in state.items()}
        if expected != found:
            raise ValueError(
                f"the saved sums must have the shapes {expected}, got {found}; build the "
                "accumulator with the arguments it was saved with"
            )
        self._local = empty
        self._shared = Sums(**{name: part.double().clone() for name, part in state.items()})

    def __repr__(self) -> str:
        return (
            f"StreamingCalibration(num_classes={self._options.num_classes}, "
            f"num_samples={int(self._sums.totals[0])})"
        )

    @property
    def _sums(self) -> Sums:
        return added(self._shared, self._local)


def streamed(options: SumOptions, sums: Sums) -> StreamedCalibration:
    """All values that sums give.

    Raises:
        ValueError: they are of no samples.
    """
    count, right, loss, squared = sums.totals.tolist()
    if count == 0:
        raise ValueError("there must be at least one sample, got none; call `update` first")
    top_label = _statistics(sums.top_label)
    class_wise = _statistics(sums.by_class) if options.class_wise else None
    area = _area(sums.ranked)
    # The best order of the same errors: all of them last.
    best = _area(sums.totals.new_tensor([[right, count - right], [0, count - right]]).flip(1))
    return StreamedCalibration(
        num_samples=int(count),
        accuracy=right / count,
        negative_log_likelihood=loss / count,
        brier_score=squared / count,
        expected_calibration_error=float(top_label.calibration_error()),
        expected_calibration_error_debiased=float(top_label.calibration_error(debiased=True)),
        classwise_calibration_error=_mean_error(class_wise, debiased=False),
        classwise_calibration_error_debiased=_mean_error(class_wise, debiased=True),
        area_under_risk_coverage=area,
        excess_area_under_risk_coverage=max(0.0, area - best),
        risk_coverage=_curve(sums.ranked),
        top_label=top_label,
        class_wise=class_wise,
    )


def _statistics(bins: Tensor) -> BinStatistics:
    counts, confidences, outcomes = bins
    size = bins.shape[-1]
    return BinStatistics(
        edges=torch.arange(size + 1, device=bins.device).double() / size,
        counts=counts.long(),
        confidence_sums=confidences,
        outcome_sums=outcomes,
    )


def _mean_error(statistics: BinStatistics | None, debiased: bool) -> float | None:
    if statistics is None:
        return None
    error = float(statistics.calibration_error(debiased=debiased, floor=False).mean())
    return max(0.0, error) if debiased else error


def _surest_first(ranked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, counts and errors of the ranks that occur."""
    rank = ranked[0].nonzero().squeeze(-1).flip(0)
    return rank, ranked[0][rank], ranked[1][rank]


def _area(ranked: Tensor) -> float:
    """AURC with the samples of a rank in random order.

    Before a rank are n0 samples with e0 errors, in it n with e. On average its j-th sample has
    (e0 + j e / n) errors among the n0 + j surest; summed over j, with harmonic numbers H,

        e + (e0 - n0 e / n) (H(n0 + n) - H(n0))
    """
    _, counts, errors = _surest_first(ranked)
    after = counts.cumsum(0)
    before, errors_before = after - counts, errors.cumsum(0) - errors
    harmonic = torch.digamma(after + 1) - torch.digamma(before + 1)
    total = errors + (errors_before - before * errors / counts) * harmonic
    return float(total.sum() / after[-1])


def _curve(ranked: Tensor) -> RiskCoverageCurve:
    rank, counts, errors = _surest_first(ranked)
    kept = counts.cumsum(0)
    log_odds = rank.double() / RANKS_PER_UNIT + LOWEST_LOG_ODDS
    lowest = torch.where(rank == 0, 0.0, torch.sigmoid(log_odds))
    return RiskCoverageCurve(
        coverage=kept / kept[-1], risk=errors.cumsum(0) / kept, threshold=lowest
    )
