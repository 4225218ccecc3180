"""`softtargets methods`: the method cards, from the package or from a source tree."""

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from softtargets.lab.errors import LabError

#: Kinds of methods in the order they are listed, with their headings.
GROUPS = {
    "smoothing policy": "Smoothing policies: smoothing=",
    "penalty": "Penalties, added to the loss: penalty=",
    "correction": "Corrections of label noise: correction=",
    "loss head": "Loss heads",
    "baseline": "Baselines",
    "data-side": "Data-side: inputs and targets are changed together",
    "schedule": "Schedules: in place of a rate, a weight or a share",
}


class Card(NamedTuple):
    """A method card: name, class or function, group, one line, other names, the whole text."""

    name: str
    cls: str
    group: str
    summary: str
    aliases: tuple[str, ...]
    text: str


def methods(name: str | None = None, /) -> None:
    """List all methods in groups, or print the card of one.

    Args:
        name: as listed, its class, or one of the names it is also known by, such as ols or svls.
    """
    cards = sorted(read_cards())
    if name is not None:
        print(find_card(cards, name).text, end="")
        return
    name_width, class_width = (max(len(card[i]) for card in cards) for i in (0, 1))
    for group, heading in GROUPS.items():
        members = [card for card in cards if card.group == group]
        if not members:
            continue
        print(f"{heading}\n")
        for card in members:
            print(f"  {card.name:{name_width}}  {card.cls:{class_width}}  {card.summary}")
        print()


def find_card(cards: list[Card], name: str) -> Card:
    """Return the card of that name, class or other name.

    Args:
        cards: to choose from.
        name: upper and lower case, spaces, hyphens and underscores do not matter.

    Raises:
        LabError: there is none.
    """
    for card in cards:
        known = (card.name, card.cls, card.cls.removeprefix("st."), *card.aliases)
        if _plain(name) in map(_plain, known):
            return card
    raise LabError(f"unknown method {name}: choose from {', '.join(card.name for card in cards)}")


def read_cards() -> Iterator[Card]:
    """Yield every card.

    Raises:
        LabError: they are not there.
    """
    folder: Traversable = files("softtargets") / "cards"
    if not folder.is_dir():
        # A source tree or an editable install: the wheel's `cards` is made of this folder.
        folder = Path(__file__).parents[3] / "docs" / "methods"
    if not folder.is_dir():
        raise LabError(f"no method cards in {folder}; install the package anew")
    for path in folder.iterdir():
        if path.name.endswith(".md"):
            yield parse_card(path.name.removesuffix(".md"), path.read_text(encoding="utf-8"))


def parse_card(name: str, text: str) -> Card:
    """Return a card of its file's name and text.

    Args:
        name: without suffix.
        text: a title, one line that says what it does, and one with class, group and aliases.

    Raises:
        LabError: it is of no group.
    """
    _, summary, names, _ = text.split("\n\n", 3)
    cls, group, aliases = names.split(" · ")
    if group not in GROUPS:
        raise LabError(f"the card {name} is of no group: {group} is none of {', '.join(GROUPS)}")
    others = aliases.removeprefix("also called: ").split(", ")
    return Card(name, cls.strip("`"), group, summary, tuple(others), text)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
