"""A temperature that its search ended at the bound with is marked wherever scaled numbers are."""

import json
from dataclasses import replace

import msgspec

from softtargets.lab.summary import summarise, write_summary
from softtargets.report.page import render_page
from softtargets.report.tables import comparison_tables
from tests.report.test_tables import printed

CAPTION = (
    "† temperature at its bound, 0.05 or 20, in some run: the scaled numbers are not an optimum"
)


def stuck(comparison, method, count):
    """The comparison, with the temperatures of so many runs of a method at their bound."""
    runs = {
        name: [
            (
                folder,
                msgspec.structs.replace(
                    record, temperature_at_bound=name == method and place < count
                ),
            )
            for place, (folder, record) in enumerate(pairs)
        ]
        for name, pairs in comparison.runs.items()
    }
    return replace(comparison, runs=runs)


def terminal(rows, width=100):
    return " ".join(printed(comparison_tables(rows, seeds=2, width=width), width).split())


def test_the_temperature_is_marked_in_the_terminal(make_row):
    rows = [make_row("hard"), make_row("ls")]
    for width in (80, 200):
        assert "†" not in terminal(rows, width)
        text = terminal([rows[0], replace(rows[1], at_bound=1)], width)
        assert CAPTION in text
        assert text.count("1.20†") == 1


def test_the_method_is_marked_where_no_temperature_is_shown(make_row):
    names = ("hard", "ls", "ols", "ils1", "ils2", "ils", "focal", "gce", "sce", "mixup", "maxsup")
    rows = [make_row(name) for name in names]
    assert "†" not in terminal(rows)
    rows[1] = replace(rows[1], at_bound=2)
    assert " LS† " in terminal(rows)
    assert CAPTION in terminal(rows)


def test_page_and_summary_say_so(comparison, tmp_path):
    told = "Temperatures: in 1 of 6 runs (LS) T is at its bound, 0.05 or 20: the scaled numbers are"
    for count in (0, 1):
        changed = stuck(comparison, "ls", count)
        page = render_page(changed)
        assert page.count(told) == count
        assert page.count('<span class="verdict at-its-bound">at its bound</span>') == count
    write_summary(changed, summarise(changed), tmp_path / "summary.json")
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert [row["at_bound"] for row in rows] == [0, 1, 0]
