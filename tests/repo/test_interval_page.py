"""The page on intervals shows its records, and the promised rows are in them and hold."""

from benchmarks.costs import read
from benchmarks.interval_page import PAGE, page


def test_the_page_shows_the_records():
    text = PAGE.read_text()
    assert page(text) == text
    for kind in ("ECE | calibrated | 10 | 500 | 1,000", "ECE | underconfident | 100 | 10,000"):
        assert kind in text


def test_the_error_of_the_predicted_class_is_held_in_92_percent():
    rows = read("interval_coverage")["results"]["top_label"]
    assert {(row["classes"], row["samples"]) for row in rows} >= {
        (10, 500),
        (10, 2000),
        (100, 2000),
        (10, 10_000),
        (100, 10_000),
    }
    for row in rows:
        assert row["repetitions"] >= 200
        assert row["methods"]["inversion"]["coverage"] >= 0.92, row["truth"]
    calibrated = [row for row in rows if row["truth"] == "calibrated"]
    assert all(row["methods"]["percentile"]["coverage"] == 0 for row in calibrated)
