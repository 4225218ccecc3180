"""Every case, in the order of the page."""

from tests.conformance.calibration_cases import calibration_cases
from tests.conformance.loss_cases import (
    ignored_cases,
    smoothing_cases,
    weight_cases,
    wrong_cases,
)
from tests.conformance.masked_cases import half_precision_cases, masked_cases
from tests.conformance.noise_cases import noise_cases
from tests.conformance.online_cases import online_cases
from tests.conformance.other_cases import derivative_cases, head_cases, instance_cases

GROUPS = {
    "Smoothing": smoothing_cases(),
    "Class weights": weight_cases(),
    "Ignored positions": ignored_cases(),
    "Masked classes": masked_cases(),
    "Half precision": half_precision_cases(),
    "Wrong arguments": wrong_cases(),
    "Derivatives": derivative_cases(),
    "Other losses": head_cases(),
    "Online smoothing": online_cases(),
    "Instance-based smoothing": instance_cases(),
    "Label noise": noise_cases(),
    "Calibration": calibration_cases(),
}
CASES = [case for cases in GROUPS.values() for case in cases]
