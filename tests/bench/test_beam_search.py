"""The benchmark of beam search: it ends where translations differ, and the page is its record's."""

import pytest

from benchmarks import beam_search, generate_twin
from tests.lab.translation.reversing import sentences, trained

OURS = [([4, 5], -0.5), ([6], -0.25), ([7] * 59, None)]


def test_what_counts_as_the_same():
    assert beam_search.gate(OURS, [([4, 5], -0.5), ([6], -0.25), ([7] * 60, -9.0)]) == {
        "same": 2,
        "equal score": 0,
        "cut at the limit": 1,
    }
    tied = [([4, 5], -0.5), ([8], -0.2501), ([7] * 60, -9.0)]
    assert beam_search.gate(OURS, tied)["equal score"] == 1


@pytest.mark.parametrize("score", [-0.2, None])
def test_other_translations_are_not_timed(score):
    with pytest.raises(SystemExit, match=r"sentence 1 is translated as \[6\] .* and \[8\]"):
        beam_search.gate(OURS, [([4, 5], -0.5), ([8], score), ([], None)])


def test_a_small_run(monkeypatch):
    pytest.importorskip("transformers", reason="needs transformers")
    monkeypatch.setattr(beam_search, "LIMIT", 20)
    monkeypatch.setattr(beam_search, "WIDTHS", (1, 3))
    source = sentences(8, seed=3)[0]
    results = beam_search.measure(trained(60), [source[:4], source[4:]], 1)
    for found in results.values():
        assert found["translations"]["same"] >= 6
        assert found["ratio of ours"]["exact"]["median"] > 0
    assert "its default" in results["3"]["ratio of ours"]
    assert not generate_twin.twin(trained(60)).training


def test_the_page_is_the_records():
    text = beam_search.PAGE.read_text()
    assert beam_search.page(text) == text
    assert "| 10 |" in text
