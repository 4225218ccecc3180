"""Many methods at once: groups, one table, colours that are told apart, outliers off the axis."""

import dataclasses
import io
import re

import pytest
from rich.console import Console

from softtargets.lab.methods import METHODS, Family
from softtargets.lab.summary import METRICS
from softtargets.report.figures import difference_plot
from softtargets.report.grouping import MOST_TOGETHER, crowded, grouped
from softtargets.report.notation import ACCURACY, LIKELIHOOD, introduced
from softtargets.report.page import render_page
from softtargets.report.palette import look
from softtargets.report.tables import comparison_tables
from softtargets.report.verdict import Board

MANY = ("hard", "ls", "tsla", "ols", "cls", "ils", "focal", "gce", "mixup")
KEEPING = ("tsla", "focal", "mixup")


@pytest.fixture(scope="module")
def crowd(comparison):
    """A comparison of many methods, whose runs are those of three."""
    runs = {name: comparison.runs.get(name, comparison.runs["ls"]) for name in MANY}
    runs |= dict.fromkeys(KEEPING, comparison.runs["hard"])
    return dataclasses.replace(comparison, runs=runs)


def test_few_methods_are_one_group():
    names = list(METHODS)[:MOST_TOGETHER]
    [group] = grouped(names)
    assert (group.heading, group.methods, group.own) == ("", names, names)
    assert not crowded(names)


def test_many_are_grouped_by_family_each_beside_hard_labels():
    groups = grouped(METHODS)
    assert [group.heading for group in groups] == list(Family)
    assert all(group.methods[0] == "hard" for group in groups)
    own = [name for group in groups for name in group.own]
    assert sorted([*own, "hard"]) == sorted(METHODS)
    assert all(len(group.methods) <= MOST_TOGETHER for group in groups)


def test_without_hard_labels_groups_have_none():
    names = [name for name in METHODS if METHODS[name].family in (Family.RULE, Family.TEACHER)]
    assert [group.heading for group in grouped(names)] == [Family.RULE, Family.TEACHER]
    assert [name for group in grouped(names) for name in group.methods] == names


def test_methods_look_different_and_in_a_family_have_other_colours():
    looks = {name: look(name) for name in METHODS}
    assert len({(each.hue, each.dash, each.marker) for each in looks.values()}) == len(METHODS)
    for group in grouped(METHODS):
        hues = [looks[name].hue for name in group.methods]
        assert len(set(hues)) == len(hues)
    for drawn in looks.values():
        channels = [int(drawn.light[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert 1.05 / (luminance + 0.05) >= 3  # what WCAG asks of graphics on white


def test_a_page_of_many_methods_describes_each_and_draws_those_that_smooth(crowd):
    page = render_page(crowd)
    for name in MANY:
        assert METHODS[name].summary.replace("'", "&#39;") in page
    for family in Family:
        assert str(family).replace("'", "&#39;") in page
    assert '<section id="methods">' in page
    assert 'aria-labelledby="methods"' not in page
    assert len(re.findall(r"Validation NLL by epoch of ", page)) == len(Family)
    assert page.count('<figure class="target">') == len(MANY) - len(KEEPING)
    assert "their target is the label alone: TSLA, focal and MixUp." in page


def test_a_page_of_few_methods_has_them_beside_the_findings(comparison):
    page = render_page(comparison)
    assert 'aria-labelledby="methods"' in page
    assert '<section id="methods">' not in page
    assert len(re.findall(r"Validation NLL by epoch of ", page)) == 1
    assert "Not drawn" not in page


@pytest.mark.parametrize("width", [80, 100])
def test_many_methods_are_one_table_of_a_line_each(make_row, width):
    better, worse = {ACCURACY.key: (0.01, 0.02)}, {LIKELIHOOD.key: (0.1, 0.2)}
    rows = [make_row("hard")]
    rows += [
        make_row(
            name,
            {ACCURACY.key: 0.9 if name == "ls" else 0.5},
            plain_difference=better if name == "ls" else worse,
        )
        for name in METHODS
        if name != "hard"
    ]
    [table] = comparison_tables(rows, seeds=5, width=width)
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    text = console.file.getvalue()
    lines = text.splitlines()
    body = [line for line in lines if any(line.startswith(m.title) for m in METHODS.values())]
    assert len(body) == len(METHODS)
    assert "90.00✓*" in next(line for line in lines if line.startswith("LS"))
    assert "0.500✗" in next(line for line in lines if line.startswith("Zipf"))
    assert "summary.json" in text
    assert max(map(len, lines)) <= 80


def test_a_difference_far_outside_is_a_number_at_the_edge(make_row):
    rows = [
        make_row(name, plain_difference={LIKELIHOOD.key: (0.01, 0.02)})
        for name in ("ls", "ols", "ils1", "ils2", "ils")
    ]
    far = make_row("distill", plain_difference={LIKELIHOOD.key: (1.2, 1.4)})
    [axes] = difference_plot(Board([*rows, far], 5), LIKELIHOOD).axes
    assert axes.get_xlim()[1] < 1
    assert "+1.300 →" in [text.get_text() for text in axes.texts]
    for metric in METRICS:
        [axes] = difference_plot(Board(rows, 5), metric).axes
        assert not axes.texts


def test_names_are_introduced_once():
    assert introduced("ls") == "label smoothing (LS)"
    assert introduced("mixup") == "MixUp"
    assert introduced("hard") == "hard labels"
