"""Runs that did not learn are named before anything is concluded from them."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest

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


@dataclass(frozen=True)
class Folder:
    """Test predictions of a run."""

    said: np.ndarray
    labels: np.ndarray

    def arrays(self):
        return {"test_logits": np.eye(10)[self.said], "test_labels": self.labels}


def _predicting(comparison, said, labels):
    """The comparison, with these test predictions of its methods."""
    runs = {}
    for method, each in said.items():
        accuracy = float((each == labels).mean())
        for _, record in comparison.runs[method]:
            estimate = msgspec.structs.replace(record.metrics["accuracy"], value=accuracy)
            changed = msgspec.structs.replace(
                record, metrics=record.metrics | {"accuracy": estimate}
            )
            runs.setdefault(method, []).append((Folder(each, labels), changed))
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


def test_nothing_is_said_against_hard_labels_that_did_not_learn(comparison, tmp_path):
    failed = _guessing(comparison, "hard")
    assert terminal_conclusion(failed, summarise(failed)) == (
        untrained(failed).replace("\N{NO-BREAK SPACE}", " ")
    )
    write_page(failed, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    header, _, rest = page.partition("</header>")
    assert header.count('class="lead') == 1
    assert "runs did not learn (hard labels)" in header
    assert "What to do" not in rest
    assert "Does it classify better?" not in rest
    assert "How far to trust this" in rest


@pytest.mark.parametrize(("mended", "behind"), [(3, True), (4, False)])
def test_methods_no_better_than_the_most_frequent_class_are_named(comparison, mended, behind):
    labels = np.array([7] * 90 + [1] * 10)
    constant, better = np.full(100, 7), np.full(100, 7)
    better[90 : 90 + mended] = 1  # gains of 1 in 3 or 4 of 100: mean / error is 1.76 or 2.04
    text = untrained(_predicting(comparison, {"hard": constant, "ls": better}, labels))
    names = "Hard labels and LS are" if behind else "Hard labels are"
    assert text.startswith(f"{names} not clearly more often right than the most frequent class")
    assert "(90.0\N{NO-BREAK SPACE}% of the test labels). Such models have learned too" in text
    assert text.endswith("of one class, or few are tested, accuracy cannot tell.")
    assert untrained(_predicting(comparison, {"ls": labels}, labels)) == ""


def test_runs_near_guessing_are_named_once(comparison):
    labels = np.arange(100) % 10
    said = dict.fromkeys(("hard", "ls"), np.zeros(100, int))
    text = untrained(_predicting(_guessing(comparison, "ls"), said, labels))
    assert text.startswith("2 of 4 runs did not learn (LS): down to")
    assert "Hard labels are not clearly more often right" in text
    assert text.count("LS") == 1
