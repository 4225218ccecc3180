"""Method cards: one for every public policy, of one form, with examples that run."""

import doctest
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import softtargets as st

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docs" / "methods"
CARDS = sorted(FOLDER.iterdir())
PARTS = ["Idea", "Formula", "Defaults", "Use it", "Not", "Cost", "Example", "Reference"]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def card_of(name):
    """LabelSmoothing -> label-smoothing.md"""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() + ".md"


def policies():
    for name in st.__all__:
        thing = getattr(st, name)
        concrete = inspect.isclass(thing) and not inspect.isabstract(thing)
        if concrete and issubclass(thing, st.AbstractSmoothing):
            yield name


def test_every_policy_has_a_card_and_every_card_a_public_class():
    names = {path.name for path in CARDS}
    missing = {card_of(name) for name in policies()} - names
    assert not missing
    assert names <= {card_of(name) for name in st.__all__}


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_cards_have_one_form(path):
    text = path.read_text(encoding="utf-8")
    title, summary, names, _ = text.split("\n\n", 3)
    assert re.fullmatch(r"# .+", title)
    assert "\n" not in summary
    assert summary.endswith(".")
    named = re.fullmatch(r"`st\.(\w+)` · also called: .+", names)
    assert named is not None
    assert card_of(named[1]) == path.name
    assert re.findall(r"^\*\*([A-Z][a-z ]+)\*\*|^\*\*([A-Z][a-z ]+)\.\*\*", text, re.MULTILINE) == [
        (part, "") if part in ("Use it", "Not") else ("", part) for part in PARTS
    ]
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_the_examples_of_cards_run(path):
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    test = doctest.DocTestParser().get_doctest("".join(blocks), {}, path.name, str(path), 0)
    assert len(test.examples) > 1
    printed = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=printed.append)
    assert printed == []


def test_the_wheel_holds_the_cards():
    # `softtargets.cli.methods` reads them there.
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"docs/methods": "softtargets/cards"}
