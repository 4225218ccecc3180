"""Memory of known amounts, measured in fresh processes."""

import sys

import pytest

from softtargets.bench import memory
from softtargets.bench.memory import Unmeasured, measure_memory
from softtargets.bench.problem import Problem

LARGE = Problem(rows=1000, classes=8000)
linux = pytest.mark.skipif(sys.platform != "linux", reason="high-water marks are Linux's")


@linux
@pytest.mark.parametrize(("case", "logits"), [("copy", 0), ("clone", 1)])
def test_a_known_amount_is_measured(case, logits):
    found = measure_memory("cross-entropy", case, LARGE, threads=1)
    assert found.logits == pytest.approx(logits, abs=0.05)
    assert found.megabytes == pytest.approx(32 * logits, abs=1.6)
    assert found.method == "VmHWM"


@linux
def test_without_a_mark_to_set_back_the_process_tells(monkeypatch):
    def refused():
        raise OSError

    monkeypatch.setattr(memory, "_reset_mark", refused)
    marks = iter([1000, 5000])
    monkeypatch.setattr(memory, "_process_mark", lambda: next(marks))
    assert memory.extra_bytes(lambda: None, lambda: None) == (4000, "ru_maxrss, first run")


def test_a_process_that_fails_says_why():
    with pytest.raises(Unmeasured, match="KeyError: 'no such case'"):
        measure_memory("quick", "no such case", Problem(rows=2, classes=2), threads=1)
