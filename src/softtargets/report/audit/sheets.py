"""The numbers of an audit as rows of text, for the terminal and for the page."""

import math
from dataclasses import dataclass

from softtargets.audit.result import Audit, ClassMeasures, Measures, SingleMeasures
from softtargets.calibration import Estimate
from softtargets.report.notation import PERCENT, decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One of the numbers of `Measures`.

    Attributes:
        key: name of the field.
        title: what a reader sees.
        scale: 100 for what is shown in per cent.
        digits: after the point.
        signed: whether a plus sign is written.
        scaled: whether temperature scaling changes it.
    """

    key: str
    title: str
    scale: float = 1.0
    digits: int = 3
    signed: bool = False
    scaled: bool = True


QUANTITIES = (
    Quantity(key="accuracy", title="accuracy", scale=100, digits=1, scaled=False),
    Quantity(key="confidence", title="mean confidence", scale=100, digits=1),
    Quantity(
        key="gap", title="confidence \N{MINUS SIGN} accuracy", scale=100, digits=1, signed=True
    ),
    Quantity(
        key="expected_calibration_error",
        title="calibration error, debiased",
        scale=100,
        digits=2,
    ),
    Quantity(
        key="expected_calibration_error_plain",
        title="calibration error, plain",
        scale=100,
        digits=2,
    ),
    Quantity(key="overconfidence_error", title="of it too sure", scale=100, digits=2),
    Quantity(key="underconfidence_error", title="of it too unsure", scale=100, digits=2),
    Quantity(
        key="smooth_calibration_error", title="calibration error, smooth", scale=100, digits=2
    ),
    Quantity(
        key="classwise_calibration_error",
        title="class-wise error, debiased",
        scale=100,
        digits=2,
    ),
    Quantity(key="negative_log_likelihood", title="NLL"),
    Quantity(key="brier_score", title="Brier score"),
    Quantity(key="area_under_risk_coverage", title="area under risk–coverage", digits=4),
)


SINGLE = {each.key: each for each in QUANTITIES if each.key in SingleMeasures.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A number and its interval, each as text; the interval may be empty."""

    value: str
    interval: str = ""


def shown(quantity: Quantity, measures: Measures | SingleMeasures) -> Shown:
    """Return a number as text."""
    found = getattr(measures, quantity.key)
    if isinstance(found, Estimate):
        return estimate_text(found, quantity.scale, quantity.digits, signed=quantity.signed)
    return Shown(value=_number(found, quantity.scale, quantity.digits))


def number_rows(audit: Audit) -> list[tuple[str, list[Shown]]]:
    """Return a title, the number as given, and the one after scaling, for each quantity."""
    rows = []
    for quantity in QUANTITIES:
        cells = [shown(quantity, audit.measures)]
        if audit.scaling is not None:
            after = shown(quantity, audit.scaling.after)
            cells.append(after if quantity.scaled else Shown(value="same"))
        rows.append((quantity.title, cells))
    return rows


def beyond(audit: Audit, state: int) -> bool:
    """Return whether a number of `number_rows` lies outside of its own interval, as printed.

    Args:
        audit: what was found.
        state: 0 as given, 1 after scaling.
    """
    measures = audit.measures
    if state and audit.scaling is not None:
        measures = audit.scaling.after
    return any(_beyond(getattr(measures, each.key), each) for each in QUANTITIES)


def _beyond(estimate: Estimate, quantity: Quantity) -> bool:
    value, low, high = (
        round(quantity.scale * each, quantity.digits)
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return value < low or value > high


def single_rows(audit: Audit) -> list[tuple[str, list[Shown]]]:
    """Return a title, and the number of single predictions, of groups and the difference."""
    aggregation = audit.aggregation
    if aggregation is None:
        return []
    rows = []
    for key, quantity in SINGLE.items():
        difference = getattr(aggregation.difference, key)
        change = estimate_text(difference, quantity.scale, quantity.digits, signed=True)
        cells = [shown(quantity, aggregation.single), shown(quantity, audit.measures), change]
        rows.append((quantity.title, cells))
    return rows


SINGLE_COLUMNS = ("single predictions", "averaged", "difference")


def state_titles(audit: Audit) -> list[str]:
    """Return the heads of the columns of `number_rows`."""
    if audit.scaling is None:
        return ["as given"]
    return ["as given", f"after T = {decimal(audit.scaling.temperature, 2)}"]


def class_row(row: ClassMeasures) -> list[Shown]:
    """Return labels, predictions, confidence, precision and gap of a class."""
    counts = [Shown(value=f"{row.labels:,}"), Shown(value=f"{row.predictions:,}")]
    if not row.predictions:
        return [*counts, *[Shown(value="–")] * 3]
    return [
        *counts,
        Shown(value=_number(row.confidence, 100, 1)),
        Shown(value=_number(row.precision, 100, 1)),
        estimate_text(row.gap, 100, 1, signed=True, unit=""),
    ]


def class_columns(audit: Audit) -> list[str]:
    """Return the heads of `class_row`."""
    return [f"{audit.unit}s", "predictions", "says", "is right", "difference, points"]


def estimate_text(
    estimate: Estimate, scale: float, digits: int, *, signed: bool = False, unit: str | None = None
) -> Shown:
    """Return a value and its interval as text.

    Args:
        estimate: both.
        scale: what they are multiplied by.
        digits: after the point.
        signed: whether a plus sign is written.
        unit: after the value; None: per cent where the scale is 100 and there is no sign.
    """
    if math.isnan(estimate.value):
        return Shown(value="–")
    value = _number(estimate.value, scale, digits, signed=signed, unit=unit)
    if math.isnan(estimate.low):
        return Shown(value=value)
    ends = (decimal(scale * end, digits, signed=signed) for end in (estimate.low, estimate.high))
    return Shown(value=value, interval=" to ".join(ends))


def _number(
    value: float, scale: float, digits: int, *, signed: bool = False, unit: str | None = None
) -> str:
    if unit is None:
        unit = PERCENT if scale == 100 and not signed else ""
    return decimal(scale * value, digits, signed=signed) + unit
