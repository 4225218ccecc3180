"""The examples of the method cards run as they are printed."""

import doctest

import pytest

from tests.repo.test_structure import REPOSITORY

CARDS = sorted((REPOSITORY / "docs" / "methods").glob("*.md"))


def test_there_are_cards():
    assert CARDS


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.stem)
def test_the_examples_of_a_card(card):
    failed, tried = doctest.testfile(
        str(card), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert tried, f"{card.name} has no example"
    assert not failed
