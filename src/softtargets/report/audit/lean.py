"""Over- or under-confident, and is that more than chance?"""

from enum import StrEnum

from softtargets.audit.result import Measures
from softtargets.calibration import Estimate

NOTABLE = 0.01  # a point: smaller errors are said to be small
_MIXED = 3  # an error this many times the mean gap is not one of direction


class Lean(StrEnum):
    """Which way confidences are off."""

    OVER = "over-confident"
    UNDER = "under-confident"
    MIXED = "over-confident in places and under-confident in others"
    NONE = "no lean to be told from chance"


def lean(measures: Measures) -> Lean:
    """Return the direction of the error.

    It is over or under if the interval of mean confidence minus accuracy leaves out 0, unless the
    calibration error is a point or more and much larger than that difference: then bins of both
    signs hide each other.
    """
    gap, error = measures.gap, measures.expected_calibration_error
    many_signs = error.low > 0 and error.value >= max(NOTABLE, _MIXED * abs(gap.value))
    if many_signs:
        return Lean.MIXED
    if not excludes_zero(gap):
        return Lean.NONE
    return Lean.OVER if gap.value > 0 else Lean.UNDER


def excludes_zero(estimate: Estimate) -> bool:
    """Return whether the interval lies on one side of 0; False without an interval."""
    return estimate.low > 0 or estimate.high < 0
