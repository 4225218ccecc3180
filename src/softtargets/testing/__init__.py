"""The battery that every target and every policy must pass, shipped for users' own methods.

Needs torch alone; each check raises `AssertionError` with a message that says what differs.
"""

from softtargets.testing.oracle import dense_cross_entropy, dense_target
from softtargets.testing.policies import check_policy
from softtargets.testing.targets import check_target

__all__ = ["check_policy", "check_target", "dense_cross_entropy", "dense_target"]
