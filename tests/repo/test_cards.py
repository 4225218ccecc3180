"""Method cards: one for every public method, of one form, with examples that run."""

import doctest
import inspect
import re
import tomllib
from pathlib import Path

import pytest
from torch import nn

import softtargets as st
from softtargets.cli.methods import GROUPS, parse_card

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docs" / "methods"
CARDS = sorted(FOLDER.iterdir())
PARTS = ["Idea", "Formula", "Defaults", "Use it", "Not", "Cost", "Example", "Reference"]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

BASELINES = {"FocalLoss", "GeneralizedCrossEntropyLoss", "SymmetricCrossEntropyLoss"}
# Functions that are neither a method nor a module's form.
HELPERS = {"cross_entropy_with_metrics", "teacher_smoothing_rate", "unigram_prior"}


def card_of(name):
    """LabelSmoothing -> label-smoothing.md, ACLSPenalty -> acls-penalty.md"""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_", "-", name)
    return words.lower() + ".md"


def group_of(name, thing):
    """The group of a public method, None for what is no method."""
    if inspect.isfunction(thing):
        if thing.__module__ in ("softtargets.mixing", "softtargets.mollification"):
            return "data-side"
        names = vars(inspect.getmodule(thing)).items()
        own = [n for n, x in names if getattr(x, "__module__", "") == thing.__module__]
        has_module = any(n.endswith("Loss") and not n.startswith("_") for n in own)
        return None if has_module or name in HELPERS else "loss head"
    if not (inspect.isclass(thing) and issubclass(thing, nn.Module)):
        return None
    if inspect.isabstract(thing):
        return None
    if thing is st.Schedule:
        return "schedule"
    if name.endswith("Correction"):
        return "correction"
    if issubclass(thing, st.AbstractSmoothing):
        return "smoothing policy"
    if issubclass(thing, st.AbstractPenalty):
        return "penalty"
    return "baseline" if name in BASELINES else "loss head"


def methods():
    every = ((name, group_of(name, getattr(st, name))) for name in st.__all__)
    return {name: group for name, group in every if group is not None}


def test_every_method_has_a_card_and_there_are_no_others():
    assert {path.name for path in CARDS} == {card_of(name) for name in methods()}
    assert set(methods().values()) == set(GROUPS)


def test_helpers_and_baselines_are_public():
    assert set(st.__all__) >= HELPERS | BASELINES


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_cards_have_one_form(path):
    text = path.read_text(encoding="utf-8")
    title, summary, names, _ = text.split("\n\n", 3)
    assert re.fullmatch(r"# .+", title)
    assert "\n" not in summary
    assert summary.endswith(".")
    named = re.fullmatch(r"`st\.(\w+)` · ([a-z -]+) · also called: .+", names)
    assert named is not None
    assert card_of(named[1]) == path.name
    assert methods()[named[1]] == named[2] == parse_card(path.stem, text).group
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
