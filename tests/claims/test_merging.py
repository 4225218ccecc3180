"""One claim of a later run goes into the record of all, and nothing else changes."""

import msgspec
import pytest

from benchmarks import claims as taking
from softtargets.claims.budgets import CPU, SMOKE
from softtargets.claims.record import FILE, read, write
from softtargets.claims.registry import CLAIMS, named
from softtargets.claims.running import Bench
from softtargets.lab.errors import LabError


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own with a page, instead of this one."""
    page = tmp_path / "results.md"
    marks = ("<!-- table: x -->\n<!-- /table -->\n", "<!-- sections: x -->\n<!-- /sections -->\n")
    page.write_text("".join(marks))
    monkeypatch.setattr(taking, "RECORD", tmp_path / "cpu.json")
    monkeypatch.setattr(taking, "PAGE", page)
    monkeypatch.setattr(taking, "PICTURES", tmp_path / "pictures")
    return tmp_path


def test_a_claim_is_added_where_the_registry_has_it(smoke, project):
    others = [claim for claim in smoke.record.claims if claim.name != "heinonen.clean"]
    others[0] = msgspec.structs.replace(others[0], statement="Judged before.")
    write(msgspec.structs.replace(smoke.record, claims=others, runs=1), taking.RECORD)
    write(smoke.record, smoke.folder / FILE)
    taking.main([str(smoke.folder), "heinonen.clean", "--data-root", str(smoke.folder / "data")])
    found = read(taking.RECORD)
    assert [claim.name for claim in found.claims] == list(CLAIMS)
    assert found.claims[0].statement == "Judged before."
    assert found.claims[1:] == smoke.record.claims[1:]
    assert (found.runs, found.training_seconds) == (
        smoke.record.runs,
        smoke.record.training_seconds,
    )
    assert "### heinonen.clean" in taking.PAGE.read_text()
    assert (taking.PICTURES / "heinonen.clean.svg").is_file()


def test_a_whole_record_is_taken_as_it_is(smoke, project):
    write(smoke.record, smoke.folder / FILE)
    taking.main([str(smoke.folder)])
    assert read(taking.RECORD) == smoke.record


def test_what_does_not_go_together_is_refused(smoke, tmp_path):
    other = msgspec.structs.replace(smoke.record, seeds=[7, 8])
    with pytest.raises(LabError, match="of another budget or lacks a claim"):
        taking.merged(smoke.record, other, ["wei.sign"], [])
    fewer = msgspec.structs.replace(smoke.record, claims=smoke.record.claims[:1])
    with pytest.raises(LabError, match="of another budget or lacks a claim"):
        taking.merged(smoke.record, fewer, ["wei.sign"], [])
    with pytest.raises(LabError, match=r"lacks \d+ runs, as .*; run all of these claims in it"):
        Bench(named(("wei",)), SMOKE, tmp_path, None).used()
    with pytest.raises(LabError, match=r"runs of human\.noise are not known: it needs cifar10"):
        Bench(named(("human",)), CPU, tmp_path, None).used()
