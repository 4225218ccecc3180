"""The estimated noise beside the noise that was drawn."""

import dataclasses
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from softtargets.lab.summary import Mean, summarise
from softtargets.report import transitions
from softtargets.report.facts import facts
from softtargets.report.page import render_page
from softtargets.report.transitions import difference_map, estimation_lines, transition_map


@pytest.fixture(scope="module")
def estimated(runs):
    return runs(methods=("hard", "forward-est", "distill-ls"), noise=0.4)


def test_the_maps_show_the_matrices_in_one_scale(estimated):
    arrays = estimated.arrays("forward-est")[0]
    drawn, found = arrays["transition_drawn"], arrays["transition_estimated"]
    maps = [transition_map(drawn, "a"), transition_map(found, "b"), difference_map(found - drawn)]
    images = [figure.axes[0].images[0] for figure in maps]
    for image, matrix in zip(images, (drawn, found, found - drawn), strict=True):
        np.testing.assert_array_equal(image.get_array(), matrix)
    assert len({(each.norm.vmin, each.norm.vmax, each.cmap.name) for each in images[:2]}) == 1
    assert images[2].norm.vmin == -images[2].norm.vmax == -np.abs(found - drawn).max()
    texts = {text.get_position(): text.get_text() for text in maps[0].axes[0].texts}
    expected = {
        (column, row): f"{100 * drawn[row, column]:.0f}"
        for row, column in np.argwhere(drawn >= 0.005)
    }
    assert texts == expected


def test_numbers_can_be_read_on_their_colours():
    ladder = np.linspace(0, 1, 100).reshape(10, 10)
    for figure, signed in ((transition_map(ladder, "a"), False), (difference_map(ladder), True)):
        [image], texts = figure.axes[0].images, figure.axes[0].texts
        assert len(texts) > 90, signed
        for text in texts:
            column, row = text.get_position()
            behind = to_rgb(image.cmap(image.norm(ladder[row, column])))
            light, dark = sorted((_luminance(behind), _luminance(to_rgb(text.get_color()))))[::-1]
            assert (light + 0.05) / (dark + 0.05) > 4


def _luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize(("classes", "drawn"), [(100, True), (201, False)])
def test_of_many_classes_there_is_a_small_picture_or_none(classes, drawn):
    matrix = 0.6 * np.eye(classes) + 0.4 / classes
    figures = transitions._figures(
        {"transition_drawn": matrix, "transition_estimated": matrix}, "forward-est"
    )
    assert [len(figure) < 60_000 for figure in figures] == [True] * (3 if drawn else 0)


def test_the_page_and_the_terminal_tell_the_distances(estimated, comparison):
    rows = summarise(estimated)
    [error] = [row.transition_error for row in rows if row.transition_error is not None]
    records, arrays = estimated.records("forward-est"), estimated.arrays("forward-est")
    assert error.value == pytest.approx(np.mean([each.transition_error for each in records]))
    none = [np.abs(each["transition_drawn"] - np.eye(10)).sum() / 10 for each in arrays]
    [line] = estimation_lines(estimated, rows)
    assert f"forward est: a row of the estimated noise is {error.value:.2f} ± " in line
    assert f"assuming no noise would be {np.mean(none):.2f}." in line
    section = re.search(r'<section id="estimated">.*?</section>', render_page(estimated), re.DOTALL)
    assert section[0].count("<svg") == 3
    assert line.removeprefix("forward est: ") in section[0]
    assert '"estimated"' not in render_page(comparison)
    assert estimation_lines(comparison, summarise(comparison)) == []


def test_one_seed_has_no_interval(estimated):
    rows = [
        dataclasses.replace(row, transition_error=Mean(0.2, np.nan, np.nan))
        for row in summarise(estimated)
        if row.transition_error is not None
    ]
    [line] = estimation_lines(estimated, rows)
    assert "is 0.20 away" in line


def test_the_setup_names_every_teacher(estimated, runs):
    text = dict(facts(estimated, summarise(estimated)))["Settings of the methods"]
    assert text.endswith("The teacher of distill LS is the LS run of the same seed.")
    taught = runs(methods=("ils1", "ils2"), epochs=1, seeds=1)
    text = dict(facts(taught, summarise(taught)))["Settings of the methods"]
    assert text.endswith("The teacher of ILS1 and ILS2 is the hard-label run of the same seed.")
