"""The audit of a file: read once, sampled on the way, measured."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from softtargets.audit.averaging import Averages
from softtargets.audit.checks import Checked
from softtargets.audit.errors import AuditError
from softtargets.audit.gain import aggregation
from softtargets.audit.measure import by_class, measure, risk_coverage
from softtargets.audit.predictions import Block, Predictions
from softtargets.audit.result import Audit, Scaling
from softtargets.audit.sample import Sample
from softtargets.audit.scaling import NotScaled, Scaled, cross_fitted, fitted_on
from softtargets.audit.tally import Counting, Tally, tally
from softtargets.calibration import ReliabilityCurve

Progress = Callable[[int], None]


class Reading(NamedTuple):
    """A file that was read: what is kept of all its rows, and logits of some of them.

    Where rows are grouped, the rows of `tally` and `sample` are groups, in the order of their last
    rows, and `single` is the tally of the predictions themselves.
    """

    predictions: Predictions
    tally: Tally
    sample: Sample
    single: Tally | None = None


def read(predictions: Predictions, *, seed: int = 0, progress: Progress | None = None) -> Reading:
    """Go once through a file.

    Args:
        predictions: see `open_predictions`.
        seed: of the sample.
        progress: told how many rows are done.

    Raises:
        AuditError: something in it is wrong.
    """
    blocks = _counted(Checked(predictions), progress)
    grouping = predictions.grouping
    if grouping is not None:
        single = Counting(predictions.kind)
        sample = Sample(predictions.num_classes, seed=seed, unit="group")
        averages = Averages(predictions, grouping).of(single.watched(blocks))
        kept = tally(sample.watched(averages), "logits")
        return Reading(predictions, kept, sample, single.result())
    sample = Sample(predictions.num_classes, seed=seed)
    kept = tally(sample.watched(blocks), predictions.kind)
    if predictions.kind == "probs":
        sample.turn_into_logits()
    return Reading(predictions, kept, sample)


def audit(reading: Reading, calibration: Reading | None = None, *, seed: int = 0) -> Audit:
    """Measure what was read.

    Args:
        reading: of the file.
        calibration: of a file to fit the temperature on; None: halves of the same rows in turn.
        seed: of all draws.

    Raises:
        AuditError: the other file holds these very predictions, or other classes.
    """
    if calibration is None:
        return assembled(reading, cross_fitted(reading.sample, seed=seed), "", seed)
    ours, other = reading.predictions, calibration.predictions
    if (ours.path.resolve(), ours.key) == (other.path.resolve(), other.key):
        raise AuditError(
            f"{other.where} cannot be fitted on and judged by at once; leave --calibration out: "
            "each half is then judged by a temperature of the other"
        )
    if (ours.grouping is None) != (other.grouping is None):
        raise AuditError(
            f"{other.where} and {ours.where} must both be grouped, or neither: a temperature of "
            "averaged logits is another than one of single ones; leave --calibration.group out, or "
            "say --group too"
        )
    if ours.num_classes != other.num_classes:
        raise AuditError(
            f"{other.where} has {other.num_classes} classes, {ours.where} has {ours.num_classes}; "
            "fit on predictions of the same model"
        )
    return assembled(reading, fitted_on(calibration.sample, reading.sample), other.where, seed)


def assembled(reading: Reading, tried: Scaled | NotScaled, source: str, seed: int) -> Audit:
    """Return the audit of a file whose scaling was tried.

    Args:
        reading: of the file.
        tried: its scaling.
        source: see `Scaling`.
        seed: of the draws behind intervals.
    """
    predictions, kept, _, single = reading
    scaling = None
    if isinstance(tried, Scaled):
        scaling = Scaling(
            temperature=tried.temperature,
            at_bound=tried.at_bound,
            improves=tried.improves,
            rows=len(tried.before),
            source=source,
            before=measure(tried.before, seed=seed),
            after=measure(tried.after, seed=seed),
            curve=ReliabilityCurve.from_statistics(tried.after.top_label),
        )
    return Audit(
        path=predictions.path,
        key=predictions.key,
        kind=predictions.kind,
        note=predictions.note,
        num_samples=len(kept),
        num_classes=predictions.num_classes,
        measures=measure(kept, seed=seed),
        curve=ReliabilityCurve.from_statistics(kept.top_label),
        risk_coverage=risk_coverage(kept),
        classes=by_class(kept),
        scaling=scaling,
        not_scaled=tried.reason if isinstance(tried, NotScaled) else "",
        aggregation=aggregation(predictions.grouping, single, kept)
        if predictions.grouping is not None and single is not None
        else None,
    )


def _counted(blocks: Checked, progress: Progress | None) -> Iterator[Block]:
    done = 0
    for scores, labels in blocks:
        yield scores, labels
        done += len(scores)
        if progress is not None:
            progress(done)
