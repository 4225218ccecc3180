import io
from itertools import pairwise

import pytest
from rich.console import Console

from softtargets.lab.summary import METRICS, summarise
from softtargets.report.notation import ACCURACY, decimal, number, quantity, title
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


@pytest.mark.parametrize("width", [80, 90])
def test_narrow_tables_have_the_interval_under_each_value(make_row, width):
    names = ("hard", "ls", "ols", "ils1", "ils2", "ils")
    wide = {metric.key: (-1.1, 1.3) for metric in METRICS}
    rows = [make_row(name, None, None, wide, wide) for name in names]
    lines = printed(comparison_tables(rows, seeds=5, width=width), width=width).splitlines()
    assert max(map(len, lines)) <= 80
    for above, line in pairwise(lines):
        if "±" in line and "half" not in line:
            assert above.startswith((*map(title, names), *(f" {title(name)}" for name in names)))
            assert line.startswith("    ")
            assert line.count("±") == sum("." in word for word in above.split())


def test_a_wide_terminal_keeps_one_line(make_row):
    rows = [make_row("hard"), make_row("ls")]
    assert printed(comparison_tables(rows, seeds=5, width=200)) == printed(
        comparison_tables(rows, seeds=5)
    )


def test_an_error_below_zero_shares_the_mark(make_row):
    key = "expected_calibration_error_debiased"
    rows = [
        make_row("hard", {key: 0.5}),
        make_row("ls", {key: -0.2}),
        make_row("ols", {key: -0.1}),
    ]
    text = printed(comparison_tables(rows, seeds=5))
    assert "−20.00 ±0.10*" in text
    assert "−10.00 ±0.10*" in text
    assert "none to be seen" in text
    assert "**−20.00 ± 0.10**" in as_markdown(rows)
    assert "**−10.00 ± 0.10**" in as_markdown(rows)


def test_what_may_be_chance_is_called_perhaps(make_row):
    rows = [make_row("hard"), make_row("ls", plain_difference={ACCURACY.key: (0.01, 0.02)})]
    assert "✓ perhaps better" in printed(comparison_tables(rows, seeds=5)[2:])


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
