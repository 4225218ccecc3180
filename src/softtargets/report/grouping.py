"""Many methods are shown in groups of like ones, each beside hard labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from softtargets.lab.methods import BASELINE, METHODS, Family

MOST_TOGETHER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Methods that are shown together.

    Attributes:
        heading: what they have in common; "" where there is one group of all.
        methods: their names; of a group with a heading, hard labels first.
    """

    heading: str
    methods: list[str]

    @property
    def own(self) -> list[str]:
        """The methods without the hard labels that stand in every group."""
        return [name for name in self.methods if not (self.heading and name == BASELINE)]


def crowded(methods: Iterable[str]) -> bool:
    """Return whether the methods are too many for one figure or a table of two lines each."""
    return len(list(methods)) > MOST_TOGETHER


def grouped(methods: Iterable[str]) -> list[Group]:
    """Return one group of all, or, where they are many, one for each family.

    Args:
        methods: names of a comparison, in its order.
    """
    return divided(methods, Family, lambda name: METHODS[name].family, BASELINE)


def divided(
    methods: Iterable[str],
    headings: Iterable[str],
    heading_of: Callable[[str], str | None],
    baseline: str,
) -> list[Group]:
    """Return one group of all methods, or, where they are many, one for each heading.

    Args:
        methods: names of a comparison, in its order.
        headings: in the order of the groups; those without a method are left out.
        heading_of: a method's, None for none.
        baseline: the method that stands first in every group.
    """
    names = list(methods)
    if not crowded(names):
        return [Group(heading="", methods=names)]
    first = [name for name in names if name == baseline]
    members = {
        heading: [name for name in names if heading_of(name) == heading and name != baseline]
        for heading in headings
    }
    return [
        Group(heading=str(heading), methods=first + found)
        for heading, found in members.items()
        if found
    ]
