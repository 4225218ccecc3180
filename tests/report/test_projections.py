import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from benchmarks import projection as page
from softtargets.report.palette import CLASSES, PAPER
from softtargets.report.projections import projection_figure
from softtargets.report.svg import inline
from softtargets.representation import penultimate_projection


def projections(factor=1.0):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator)
    labels = torch.arange(40) % 4
    features = factor * (weight[labels] + torch.randn(40, 6, generator=generator))
    halves = {"training": slice(0, 20), "validation": slice(20, 40)}
    return {
        part: penultimate_projection(features[rows], weight, None, (2, 0, 3), labels[rows])
        for part, rows in halves.items()
    }


def test_every_sample_and_template_is_drawn():
    figure = projection_figure({"hard": projections(), "ls": projections(3.0)}, ["a", "b", "c"])
    assert len(figure.axes) == 4
    first, second = projections(), projections(3.0)
    panels = [first["training"], first["validation"], second["training"], second["validation"]]
    for axes, projection in zip(figure.axes, panels, strict=True):
        samples = [line for line in axes.lines if len(line.get_xdata()) > 1]
        templates = [line for line in axes.lines if line.get_markerfacecolor() == PAPER]
        for i, each in enumerate(projection.classes):
            expected = projection.coordinates[projection.labels == each]
            np.testing.assert_allclose(samples[i].get_xydata(), expected)
            np.testing.assert_allclose(templates[i].get_xydata()[0], projection.templates[i])
            assert samples[i].get_color() == CLASSES[i].light


def test_a_method_has_one_scale_that_holds_everything_and_is_the_same_in_both_directions():
    figure = projection_figure({"hard": projections(), "ls": projections(3.0)}, ["a", "b", "c"])
    above, below, *others = figure.axes
    assert above.get_xlim() == below.get_xlim()
    assert above.get_xlim() != others[0].get_xlim()
    for axes in figure.axes:
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert right - left == pytest.approx(top - bottom)
        box = axes.get_position()
        sides = np.array([box.width, box.height]) * figure.get_size_inches()
        assert sides[0] == pytest.approx(sides[1])
        for line in axes.lines:
            x, y = line.get_xydata().T
            assert left < x.min() < x.max() < right or len(x) == 1
            assert bottom < y.min()
            assert y.max() < top


def test_the_figure_is_one_element_with_its_names():
    figure = projection_figure({"hard": projections()}, ["cat", "dog", "car"])
    text = inline(figure, "plane", "the plane")
    ElementTree.fromstring(text)
    for word in ("cat", "dog", "car", "training", "validation"):
        assert word in text


def test_the_page_shows_the_record():
    text = page.PAGE.read_text()
    record = json.loads(page.RECORD.read_text())
    assert record["command"] == page.COMMAND
    assert page.filled(text, "projection", page.table(record)) == text
    assert list(record["rows"]) == list(page.METHODS)
