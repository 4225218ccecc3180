"""Twelve methods of segmentation can be told apart, also by those who see few colours."""

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from softtargets.lab.segmentation.methods import BASELINE, LOSSES, METHODS, TARGETS
from softtargets.report.palette import colour_name, look, variables
from softtargets.report.tasks import page as tasks_page
from softtargets.report.tasks.segmentation import VIEW

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", 2009, at full severity, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(light):
    """CIE L*a*b* of linear RGB under D65."""
    share = XYZ @ light.clip(0, 1) / XYZ.sum(1)
    f = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(*colours):
    low, high = sorted(float(XYZ[1] @ linear(each)) for each in colours)
    return (high + 0.05) / (low + 0.05)


def alike():
    """Pairs whose dash or whose marker is the same, or of which one is the baseline."""
    for pair in combinations(METHODS, 2):
        one, other = (METHODS[name] for name in pair)
        if one.loss == other.loss or one.targets == other.targets or BASELINE in pair:
            yield pair


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("eyes", EYES)
def test_methods_of_one_loss_or_one_target_have_colours_that_stay_apart(dark, eyes):
    values = variables(dark=dark)
    for pair in alike():
        one, other = (values[colour_name(method)] for method in pair)
        seen = [lab(EYES[eyes] @ linear(colour)) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 9, pair
        assert contrast(one, values["paper"]) >= 3  # what WCAG asks of graphics


def test_colour_dash_and_marker():
    looks = {name: look(name) for name in METHODS}
    assert len({each.hue for each in looks.values()}) == len(METHODS)
    assert len({(each.dash, each.marker) for each in looks.values()}) == len(METHODS)
    assert len({each.dash for each in looks.values()}) == len(LOSSES)
    assert len({each.marker for each in looks.values()}) == len(TARGETS)


def test_many_methods_are_drawn_loss_by_loss_beside_the_baseline():
    groups = VIEW.groups(METHODS)
    assert [group.heading for group in groups] == ["CE", "Dice", "CE + Dice"]
    for group, loss in zip(groups, LOSSES, strict=True):
        own = [name for name in METHODS if METHODS[name].loss == loss]
        assert group.methods == (own if loss == "ce" else ["ce", *own])
    [together] = VIEW.groups(["dice", "ce", "ce-ls"])
    assert (together.heading, together.methods) == ("", ["dice", "ce", "ce-ls"])
    # Without the baseline, and without a loss.
    names = [name for name in METHODS if name not in ("ce", "dice", "ce-ls", "ce-ols")]
    assert len(VIEW.groups(names)) == 1
    names = [name for name in METHODS if METHODS[name].loss != "ce"]
    assert len(VIEW.groups([*names, "ce"])) == 2


def test_the_page_has_a_panel_for_each_loss(comparisons, monkeypatch):
    for other in ("_reliability", "_differences"):  # which take their time
        monkeypatch.setattr(tasks_page, other, lambda *given: [])
    given = comparisons["segmentation"]
    page = tasks_page.render_page(replace(given, runs=dict.fromkeys(METHODS, given.runs["ce"])))
    headings = re.findall(r"Validation mean IoU, % by epoch of ([^\"]*)\"", page)
    assert headings[0] == "CE, CE with LS, CE with OLS and CE with SVLS"
    assert headings[1] == "CE, Dice, Dice with LS, Dice with OLS and Dice with SVLS"
    assert len(headings) == len(LOSSES)
    section = page[page.index('id="curves"') :]
    assert re.findall("<h3>([^<]*)</h3>", section) == ["CE", "Dice", "CE + Dice"]
    assert section.count("<li><svg") == 4 + 5 + 5
