"""Two audits of the same samples in sentences and as a table."""

from typing import NamedTuple

from softtargets.audit.result import Comparison, Differences, Measures
from softtargets.calibration import Estimate
from softtargets.report.audit.lean import excludes_zero
from softtargets.report.audit.sheets import QUANTITIES, Quantity, Shown, estimate_text, shown
from softtargets.report.notation import PERCENT, decimal, listed, percentage

_COMPARED = {
    quantity.key: quantity for quantity in QUANTITIES if quantity.key in Differences.__slots__
}
_HIGHER_IS_BETTER = "accuracy"
NOT_CLEAR = "not clear"
_ROUNDING = 1e-6


class Line(NamedTuple):
    """A row of the table: a quantity of both, its difference, and what the second one is."""

    key: str
    name: str
    first: Shown
    second: Shown
    difference: Shown
    verdict: str


def names(comparison: Comparison) -> tuple[str, str]:
    """Return what tells the two apart: the files' names, or folders', or the arrays'."""
    first, second = comparison.first, comparison.second
    parts = zip(reversed(first.path.parts), reversed(second.path.parts), strict=False)
    for one, other in [*parts, (first.key, second.key)]:
        if one != other:
            return one, other
    return "FILE", "OTHER"


def headline(comparison: Comparison) -> str:
    """Return which model's confidence is better, if that can be told."""
    one, other = names(comparison)
    difference = comparison.differences.expected_calibration_error
    errors = [
        percentage(audit.measures.expected_calibration_error.value)
        for audit in (comparison.first, comparison.second)
    ]
    told = f"a calibration error of {errors[1]} against {errors[0]}"
    if not _real(difference):
        return (
            f"Which of the two is better calibrated cannot be told: {other} has {told} of {one} "
            f"({_interval(difference)})."
        )
    word = "better" if difference.value < 0 else "worse"
    return f"{other} is {word} calibrated than {one}: {told} ({_interval(difference)})."


def summary(comparison: Comparison) -> list[str]:
    """Return what else differs, and what scaling would leave of the difference in calibration."""
    other = names(comparison)[1]
    found: dict[str, list[str]] = {"better": [], "worse": [], NOT_CLEAR: []}
    for line in lines(comparison, scaled=False):
        if line.key != "expected_calibration_error":
            found[line.verdict].append(line.name)
    parts = [
        f"{'not clearly different' if verdict == NOT_CLEAR else verdict} in {listed(keys)}"
        for verdict, keys in found.items()
        if keys
    ]
    sentences = [f"As given, {other} is {'; '.join(parts)}."]
    if comparison.scaled is not None:
        error = comparison.scaled.expected_calibration_error
        told = "no difference in calibration can be told"
        if _real(error):
            told = f"{other} is {'better' if error.value < 0 else 'worse'} calibrated"
        sentences.append(f"After temperature scaling of each, {told} ({_interval(error)}).")
    return sentences


def lines(comparison: Comparison, *, scaled: bool) -> list[Line]:
    """Return the table as given, or after scaling of each.

    Args:
        comparison: what was found.
        scaled: which; after scaling only if that was tried for both.
    """
    differences, one, other = _compared(comparison, scaled=scaled)
    return [_line(each, one, other, getattr(differences, key)) for key, each in _COMPARED.items()]


def debiasing_note(comparison: Comparison, *, scaled: bool) -> str:
    """Return why the difference of two debiased errors is another; "" where it is not, as printed.

    Args:
        comparison: what was found.
        scaled: of the numbers after scaling of each.
    """
    key = "expected_calibration_error"
    difference, one, other = (
        100 * getattr(each, key).value for each in _compared(comparison, scaled=scaled)
    )
    digits = _COMPARED[key].digits
    if round(abs(other - one - difference), digits) == 0:
        return ""
    return (
        "The difference of calibration errors is debiased as a whole, before either is floored at "
        "0: it is not quite that of the two numbers."
    )


def _compared(comparison: Comparison, *, scaled: bool) -> tuple[Differences, Measures, Measures]:
    differences = comparison.scaled if scaled else comparison.differences
    assert differences is not None
    one, other = (
        audit.scaling.after if scaled and audit.scaling is not None else audit.measures
        for audit in (comparison.first, comparison.second)
    )
    return differences, one, other


def _line(quantity: Quantity, one: Measures, other: Measures, difference: Estimate) -> Line:
    verdict = NOT_CLEAR
    if _real(difference):
        better = (difference.value > 0) == (quantity.key == _HIGHER_IS_BETTER)
        verdict = "better" if better else "worse"
    return Line(
        key=quantity.key,
        name=quantity.title,
        first=shown(quantity, one),
        second=shown(quantity, other),
        difference=estimate_text(difference, quantity.scale, quantity.digits, signed=True),
        verdict=verdict,
    )


def _real(difference: Estimate) -> bool:
    """Whether it is more than chance, and more than the rounding of what was saved."""
    return excludes_zero(difference) and abs(difference.value) > _ROUNDING


def _interval(difference: Estimate) -> str:
    low, high = (decimal(100 * end, 1, signed=True) for end in (difference.low, difference.high))
    return f"difference in points: 95{PERCENT} interval {low} to {high}"
