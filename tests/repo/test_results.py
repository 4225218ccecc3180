"""The page of results and its pictures are the committed record."""

import pytest

from benchmarks import claims
from softtargets.claims.budgets import CPU
from softtargets.claims.record import finite, read
from softtargets.claims.registry import CLAIMS
from softtargets.report.claims.figures import draw

RECORD = read(claims.RECORD)
JUDGED = [claim for claim in RECORD.claims if claim.skipped is None]


def test_the_page_is_the_record():
    text = claims.PAGE.read_text()
    assert claims.page(text, RECORD) == text


@pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.name)
def test_the_pictures_are_the_record(claim):
    assert (claims.PICTURES / f"{claim.name}.svg").read_text() == draw(claim)


def test_the_record_is_of_the_rules_in_the_code():
    assert RECORD.budget == "cpu"
    assert RECORD.seeds == list(CPU.seeds)
    assert {claim.name for claim in RECORD.claims} <= set(CLAIMS)
    for claim in JUDGED:
        rules = {test.name: test.rule for test in CLAIMS[claim.name].tests}
        assert {each.name for each in claim.effects} == set(rules)
        for each in claim.effects:
            assert (each.above, each.below) == (
                finite(rules[each.name].above),
                finite(rules[each.name].below),
            )
            assert len(each.values) >= each.seeds_needed == rules[each.name].seeds


def test_pictures_of_no_other_claims_are_there():
    there = {path.stem for path in claims.PICTURES.glob("*.svg")}
    assert there == {claim.name for claim in JUDGED}
