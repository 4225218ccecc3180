"""softtargets gives the right answer to every case; peers' answers are findings, in the record."""

import json
import re

import pytest
import torch

from tests.conformance import page
from tests.conformance.cases import CASES, GROUPS
from tests.conformance.library import Library, definition
from tests.conformance.ours import SoftTargets
from tests.conformance.peers import Torch
from tests.conformance.problem import Case, NotOffered, Refused, outcome, same

OURS, TORCH = SoftTargets(), Torch()


@pytest.fixture(scope="module")
def record():
    return json.loads(page.RECORD.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ours_is_right(case):
    answer = outcome(case, OURS)
    assert answer["verdict"] == "pass", f"{case.says} right: {case.right}, seen: {answer['seen']}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_torch_answers_as_recorded(case, record):
    """The one peer that is always there: if this fails, torch or the case has changed."""
    versions = {library["name"]: library["version"] for library in record["libraries"]}
    if versions["torch"].partition("+")[0] != torch.__version__.partition("+")[0]:
        pytest.skip(f"the record is of torch {versions['torch']}")
    recorded = next(asked for asked in record["cases"] if asked["name"] == case.name)
    assert outcome(case, TORCH)["verdict"] == recorded["answers"]["torch"]["verdict"]


def test_the_page_is_the_records(record):
    assert page.PAGE.read_text() == page.page(record)


def test_links_lead_to_headings():
    text = page.PAGE.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = [page.anchor(heading) for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\((#.*?)\)", text)) <= set(anchors)


def test_every_promise_is_asked_for():
    concepts = (page.ROOT / "docs" / "concepts.md").read_text()
    promised = {int(number) for number in re.findall(r"^(\d+)\. \*\*", concepts, re.MULTILINE)}
    asked = re.findall(r"promise (\d+)", " ".join(case.source for case in CASES))
    assert {int(number) for number in asked} == promised


def test_the_record_has_these_cases(record):
    cases = [(group, case) for group, cases in GROUPS.items() for case in cases]
    for (group, case), asked in zip(cases, record["cases"], strict=True):
        now = json.loads(json.dumps(page.question(group, case)))
        right = now.pop("right")
        assert {name: asked[name] for name in now} == now
        if isinstance(right, str):
            assert asked["right"] == right
        else:
            assert same(asked["right"], right, 1e-6)
        assert asked["answers"]["softtargets"]["verdict"] == "pass"


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


class Stub(Library):
    name = "stub"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (2.0, "pass"),
        (torch.tensor([2.0]), "pass"),
        (2.1, "fail"),
        (float("nan"), "fail"),
        (float("inf"), "other: a literal reading"),
        (4.0, "fail: twice"),
        ([2.0, 2.0], "fail"),
        ("2", "fail"),
        (Refused("ValueError"), "fail"),
    ],
)
def test_verdicts(answer, verdict):
    others, mistakes = {"a literal reading": float("inf")}, {"twice": 4.0}
    case = Case("", "", "", lambda _: answer, 2.0, others, mistakes)
    assert outcome(case, Stub())["verdict"] == verdict


def test_verdicts_of_exceptions():
    def raising(error):
        def ask(_):
            raise error

        return ask

    crash = outcome(Case("", "", "", raising(IndexError("a\nb")), 1.0), Stub())
    assert crash == {"verdict": "error", "seen": "IndexError: a"}
    lacking = outcome(Case("", "", "", raising(NotOffered("`x`")), 1.0), Stub())
    assert lacking == {"verdict": "n/a", "seen": "has no `x`"}
    answered = Case("", "", "", lambda _: 1.0, Refused)
    assert outcome(answered, Stub())["verdict"] == "fail"


def test_a_library_that_offers_nothing_is_not_blamed():
    verdicts = {outcome(case, Stub())["verdict"] for case in CASES}
    assert verdicts == {"n/a"}


def test_a_definition_runs_as_its_file_has_it(tmp_path):
    file = tmp_path / "library.py"
    file.write_text(
        "from __future__ import annotations\nimport not_installed\n"
        "def twice(x: Number) -> Number:\n    return double(x)\n"
    )
    assert definition(file, "twice", double=lambda x: 2 * x)(3) == 6
    with pytest.raises(AttributeError, match="has no 'thrice'"):
        definition(file, "thrice")
