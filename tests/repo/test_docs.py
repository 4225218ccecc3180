"""The examples in the documentation run, and its links lead somewhere."""

import doctest
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_examples(page):
    torch.manual_seed(0)
    text = page.read_text()
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    # What torch.compile put among the globals is taken out by itself, later.
    failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False)
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_methods_of_ones_own_are_short():
    page = (ROOT / "docs" / "own-methods.md").read_text()
    classes = re.findall(r"^>>> class .*\n(?:\.\.\..*\n)*", page, re.MULTILINE)
    assert len(classes) == 4
    assert all(each.count("\n") < 25 for each in classes)
    for check in ("check_policy", "check_penalty", "check_head"):
        assert f">>> testing.{check}(" in page
