"""Two models on the same samples: is one better, or is it chance?"""

import torch

from softtargets.audit.errors import AuditError
from softtargets.audit.groups import Grouping
from softtargets.audit.intervals import area_values, calibration_error_difference, mean_estimate
from softtargets.audit.predictions import Predictions
from softtargets.audit.result import Comparison, Differences
from softtargets.audit.run import Reading, assembled
from softtargets.audit.scaling import Scaled, cross_fitted
from softtargets.audit.tally import Tally


def compare(first: Reading, second: Reading, *, seed: int = 0) -> Comparison:
    """Audit both and measure the differences, paired by sample.

    Args:
        first: of the file asked about.
        second: of the other model's.
        seed: of all draws; the same for both.

    Raises:
        AuditError: they are not of the same samples.
    """
    _check_same_samples(first, second)
    units = first.tally.units
    tried = [cross_fitted(each.sample, units=units, seed=seed) for each in (first, second)]
    audits = [
        assembled(reading, scaled, "", seed)
        for reading, scaled in zip((first, second), tried, strict=True)
    ]
    # The sample and its halves depend on the seed alone: the scaled rows are the same too.
    after = [each.after for each in tried if isinstance(each, Scaled)]
    return Comparison(
        first=audits[0],
        second=audits[1],
        differences=_differences(first.tally, second.tally, seed),
        scaled=_differences(after[0], after[1], seed) if len(after) == 2 else None,
    )


def _differences(first: Tally, second: Tally, seed: int) -> Differences:
    units = first.units
    return Differences(
        accuracy=mean_estimate(second.right.double() - first.right.double(), units),
        expected_calibration_error=calibration_error_difference(first, second, seed=seed),
        negative_log_likelihood=mean_estimate(
            second.negative_log_likelihood - first.negative_log_likelihood, units
        ),
        brier_score=mean_estimate(second.brier_score - first.brier_score, units),
        area_under_risk_coverage=mean_estimate(area_values(second) - area_values(first), units),
    )


def _check_same_samples(one: Reading, other: Reading) -> None:
    """Raise unless both were read with the same labels in the same order, naming the first row."""
    first, second = one.predictions, other.predictions
    way_out = "a comparison needs the same samples in the same order"
    if first.num_classes != second.num_classes:
        raise AuditError(
            f"{second.where} has {second.num_classes} classes, {first.where} has "
            f"{first.num_classes}; {way_out}"
        )
    _check_same_positions(first, second)
    rows = [len(each.tally if each.single is None else each.single) for each in (one, other)]
    if rows[0] != rows[1]:
        raise AuditError(
            f"{second.where} has {rows[1]:,} rows, {first.where} has {rows[0]:,}; {way_out}"
        )
    _check_same_groups(first, second)
    _check_same_units(first, second)
    different = (one.tally.labels != other.tally.labels).nonzero()
    if len(different):
        row = int(different[0])
        place = first.place_of(row)
        if first.grouping is not None:
            place = f"the group {first.grouping.names[int(first.grouping.completed[row])]!r}"
        raise AuditError(
            f"{second.where} has the label {int(other.tally.labels[row])} in {place}, "
            f"{first.where} has {int(one.tally.labels[row])}; {way_out}"
        )


def _check_same_positions(one: Predictions, other: Predictions) -> None:
    """Raise unless the same positions are measured."""
    known = [each for each in (one.positions, other.positions) if each is not None]
    if not known:
        return
    rows = not any(each.shape for each in known)
    shapes = ["rows" if each is None else f"labels of shape {each}" for each in _shapes(one, other)]
    if shapes[0] != shapes[1] and (len(known) == 2 or not rows):
        raise AuditError(
            f"{other.where} has {shapes[1]}, {one.where} has {shapes[0]}; a comparison needs the "
            "same samples in the same order"
        )
    if len(known) < 2 or not torch.equal(known[0].flat, known[1].flat):
        raise AuditError(
            f"{other.where} has labels in other {'rows' if rows else 'positions'} than "
            f"{one.where}; a comparison needs the same, so ignore the same"
        )


def _check_same_units(one: Predictions, other: Predictions) -> None:
    """Raise unless the same predictions, as many here as there, are drawn together."""
    if one.units is None or other.units is None:
        return
    if not torch.equal(one.units.index, other.units.index):
        row = int((one.units.index != other.units.index).nonzero()[0])
        raise AuditError(
            f"{other.units.where} and {one.units.where} put {one.place_of(row)} into different "
            "clusters; a comparison needs the same samples in the same clusters and order"
        )


def _shapes(*each: Predictions) -> list[tuple[int, ...] | None]:
    return [
        None if of.positions is None else (of.positions.entries, *of.positions.shape) for of in each
    ]


def _check_same_groups(first: Predictions, second: Predictions) -> None:
    one, other = first.grouping, second.grouping
    if one is None or other is None:
        if one is not other:
            raise AuditError(
                f"{second.where} and {first.where} must both be grouped, or neither; leave "
                "--against.group out, or say --group too"
            )
        return
    if not torch.equal(one.index, other.index):
        row = int((one.index != other.index).nonzero()[0])
        raise AuditError(
            f"{other.where} puts row {row} into {_group_of(row, other)}, {one.where} into "
            f"{_group_of(row, one)}; a comparison needs the same samples in the same groups and "
            "order"
        )


def _group_of(row: int, grouping: Grouping) -> str:
    group = int(grouping.index[row])
    return f"the group {grouping.names[group]!r} that begins in row {int(grouping.first[group])}"
