import io

import pytest
from rich.console import Console

from softtargets.lab.summary import METRICS, summarise
from softtargets.report.notation import ACCURACY, decimal, number, quantity
from softtargets.report.tables import as_markdown, comparison_tables


def printed(tables, width=100):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def test_every_number_is_in_the_tables_and_none_is_folded(comparison):
    rows = summarise(comparison)
    text = printed(comparison_tables(rows, seeds=2), width=200)
    for row in rows:
        for metric in METRICS:
            assert number(metric, row.plain[metric.key].value) in text
            assert number(metric, row.scaled[metric.key].value) in text
        for key, mean in row.plain_difference.items():
            metric = next(metric for metric in METRICS if metric.key == key)
            assert number(metric, mean.value, signed=True) in text


def test_tables_fit_in_100_columns(comparison):
    text = printed(comparison_tables(summarise(comparison), seeds=2))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_six_methods_of_five_seeds_are_one_line_each(make_row):
    names = ("hard", "ls", "ols", "ils1", "ils2", "ils")
    tables = comparison_tables([make_row(name) for name in names], seeds=5)
    lines = printed(tables).splitlines()
    assert sum("±" in line and "half" not in line for line in lines) == 6 + 6 + 2 * 5


def test_direction_is_visible_without_colour(make_row):
    better, worse = {ACCURACY.key: (0.01, 0.02)}, {ACCURACY.key: (-0.02, -0.01)}
    rows = [
        make_row("hard"),
        make_row("ls", plain_difference=better),
        make_row("ols", plain_difference=worse),
    ]
    lines = printed(comparison_tables(rows, seeds=5)[2:]).splitlines()
    assert "+1.50 ±0.50✓" in next(line for line in lines if line.startswith(" LS"))
    assert "−1.50 ±0.50✗" in next(line for line in lines if line.startswith(" OLS"))


def test_one_seed_has_no_intervals(make_row):
    text = printed(comparison_tables([make_row("hard", seeds=1), make_row("ls", seeds=1)], seeds=1))
    assert "nan" not in text
    assert "no intervals" in text


@pytest.mark.parametrize("methods", [("ls", "ols"), ("hard",)])
def test_without_a_pair_there_is_no_table_of_differences(make_row, methods):
    assert len(comparison_tables([make_row(name) for name in methods], seeds=5)) == 2


def test_markdown_marks_the_best(make_row):
    rows = [make_row("hard"), make_row("ls", {ACCURACY.key: 0.9})]
    lines = as_markdown(rows).splitlines()
    assert lines[0].startswith("| method | accuracy % |")
    assert lines[2].startswith("| hard labels | 50.00 ± 0.10 |")
    assert lines[3].startswith("| LS | **90.00 ± 0.10** |")
    assert "90.00" not in as_markdown(rows, scaled=True)


def test_what_rounds_to_zero_has_no_sign():
    assert decimal(-0.001, 2) == "0.00"
    assert decimal(0.001, 2, signed=True) == "0.00"
    assert decimal(-1.5, 1) == "−1.5"
    assert decimal(float("inf"), 3) == "inf"
    assert quantity(ACCURACY, 0.5) == "50.00\N{NO-BREAK SPACE}%"
