"""Every case, in the order of the page."""

from tests.conformance.loss_cases import LOSS_CASES
from tests.conformance.other_cases import OTHER_CASES

CASES = [*LOSS_CASES, *OTHER_CASES]
