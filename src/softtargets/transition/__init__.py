"""Transition matrices of label noise: T[i, j] = P(noisy label j | clean label i)."""

from typing import TYPE_CHECKING

from softtargets.later import attributes
from softtargets.transition.base import AbstractTransition

if TYPE_CHECKING:
    from softtargets.transition.convert import as_transition, equivalent_smoothing
    from softtargets.transition.dense import DenseTransition
    from softtargets.transition.pair import PairTransition
    from softtargets.transition.symmetric import SymmetricTransition

# Every loss imports the name above, few use the others.
_LATER = {
    "DenseTransition": "softtargets.transition.dense",
    "PairTransition": "softtargets.transition.pair",
    "SymmetricTransition": "softtargets.transition.symmetric",
    "as_transition": "softtargets.transition.convert",
    "equivalent_smoothing": "softtargets.transition.convert",
}
__getattr__ = attributes(__name__, _LATER)

__all__ = [
    "AbstractTransition",
    "DenseTransition",
    "PairTransition",
    "SymmetricTransition",
    "as_transition",
    "equivalent_smoothing",
]
