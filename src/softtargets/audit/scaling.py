"""What temperature scaling would do, judged on rows it was not fitted on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.audit.predictions import Block, block_rows
from softtargets.audit.sample import Sample
from softtargets.audit.tally import Tally, joined, tally
from softtargets.calibration import TemperatureScaling
from softtargets.calibration.cross_fitting import fold_numbers

_FEWEST_ROWS = 20  # below, a half has too few rows to fit anything on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """Temperature scaling tried.

    Args:
        temperature: T fitted on all rows that may be fitted on; what to divide logits by.
        at_bound: whether one of the fits ended at a bound of its search, so that the rows do not
            determine T.
        improves: whether the NLL of the rows judged on falls. If not, T stays 1.
        before: the rows judged on, as they are.
        after: the same rows, each after a T fitted without it.
    """

    temperature: float
    at_bound: bool
    improves: bool
    before: Tally
    after: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class NotScaled:
    """Why temperature scaling was not tried."""

    reason: str


def cross_fitted(sample: Sample, *, seed: int) -> Scaled | NotScaled:
    """Fit T on each half of the rows and judge it on the other.

    Args:
        sample: rows of the file, as logits.
        seed: of the halves.
    """
    refusal = _too_few(sample) or _hopeless(sample)
    if refusal is not None:
        return refusal
    fold = fold_numbers(len(sample), 2, torch.Generator().manual_seed(seed))
    halves = [(fold == number).nonzero().squeeze(-1) for number in range(2)]
    fits = [TemperatureScaling().fit(sample.scores[half], sample.labels[half]) for half in halves]
    before = [_measure(sample, half, 1.0) for half in halves]
    after = [
        _measure(sample, half, fit.temperature)
        for half, fit in zip(halves, reversed(fits), strict=True)
    ]
    fits.append(TemperatureScaling().fit(sample.scores, sample.labels))
    return _judged(fits, joined(*before), joined(*after))


def fitted_on(calibration: Sample, sample: Sample) -> Scaled | NotScaled:
    """Fit T on rows of another file and judge it on those of this one.

    Args:
        calibration: rows to fit on, as logits.
        sample: rows to judge on, as logits.
    """
    refusal = _too_few(calibration) or _hopeless(calibration) or _hopeless(sample)
    if refusal is not None:
        return refusal
    fit = TemperatureScaling().fit(calibration.scores, calibration.labels)
    rows = torch.arange(len(sample))
    return _judged([fit], _measure(sample, rows, 1.0), _measure(sample, rows, fit.temperature))


def _judged(fits: list[TemperatureScaling], before: Tally, after: Tally) -> Scaled:
    """The last fit is the one to use."""
    losses = [float(each.negative_log_likelihood.mean()) for each in (before, after)]
    improves = losses[1] < losses[0]
    return Scaled(
        temperature=fits[-1].temperature if improves else 1.0,
        at_bound=any(fit.at_bound for fit in fits),
        improves=improves,
        before=before,
        after=after if improves else before,
    )


def _too_few(sample: Sample) -> NotScaled | None:
    if len(sample) >= _FEWEST_ROWS:
        return None
    return NotScaled(reason=f"{len(sample)} {sample.unit}s are too few to fit a temperature on")


def _hopeless(sample: Sample) -> NotScaled | None:
    at_label = sample.scores.gather(1, sample.labels.unsqueeze(1))
    lost = int((at_label == -torch.inf).sum())
    if lost:
        return NotScaled(
            reason=f"{lost:,} of {len(sample):,} {sample.unit}s give the true class the "
            "probability 0, which no temperature mends; if that is rounding, save logits, or a "
            "wider type"
        )
    return None


def _measure(sample: Sample, rows: Tensor, temperature: float) -> Tally:
    def read() -> Iterator[Block]:
        step = block_rows(sample.scores.shape[1])
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield sample.scores[part], sample.labels[part]

    return tally(read(), "logits", temperature=temperature)
