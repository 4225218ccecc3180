"""The battery for targets, policies, penalties and loss heads, shipped for users' own methods.

Needs torch alone; each check raises `AssertionError` with a message that says what differs.
"""

from softtargets.testing.heads import check_head
from softtargets.testing.oracle import dense_cross_entropy, dense_target
from softtargets.testing.penalties import check_penalty
from softtargets.testing.policies import check_policy
from softtargets.testing.targets import check_target

__all__ = [
    "check_head",
    "check_penalty",
    "check_policy",
    "check_target",
    "dense_cross_entropy",
    "dense_target",
]
