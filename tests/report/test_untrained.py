"""Runs that did not learn are named before anything is concluded from them."""

from dataclasses import replace

import msgspec

from softtargets.lab.summary import summarise
from softtargets.report.conclusion import terminal_conclusion
from softtargets.report.page import write_page
from softtargets.report.untrained import untrained


def _guessing(comparison, method):
    """The comparison, with the training accuracy of a method's runs at that of guessing."""
    runs = {}
    for name, pairs in comparison.runs.items():
        runs[name] = []
        for folder, record in pairs:
            if name == method:
                last = msgspec.structs.replace(record.history[-1], train_accuracy=0.13)
                record = msgspec.structs.replace(record, history=(*record.history[:-1], last))
            runs[name].append((folder, record))
    return replace(comparison, runs=runs)


def test_runs_that_learned_are_not_mentioned(comparison):
    assert untrained(comparison) == ""


def test_runs_near_guessing_are(comparison, tmp_path):
    failed = _guessing(comparison, "ls")
    text = untrained(failed)
    assert text.startswith("2 of 6 runs did not learn (LS): down to 13.0")
    assert "guessing has 10.0" in text
    printed = terminal_conclusion(failed, summarise(failed)).splitlines()
    assert printed[0].startswith("2 of 6 runs did not learn")
    write_page(failed, tmp_path / "page.html")
    assert "2 of 6 runs did not learn" in (tmp_path / "page.html").read_text()
