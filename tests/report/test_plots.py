"""Pictures for one's own axes: what is drawn are the numbers, and nothing leaves its place."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from softtargets import calibration
from softtargets.audit.measure import class_measures
from softtargets.report import plots
from tests.audit.conftest import draw
from tests.repo.test_structure import modules_after


@pytest.fixture(scope="module")
def predictions():
    logits, labels = map(torch.from_numpy, draw(3000, 6, sharpness=1.6))
    return logits.double().softmax(-1), labels


@pytest.fixture
def axes():
    return Figure(figsize=(5, 5)).add_subplot()


def lines(axes, style):
    return [line for line in axes.lines if line.get_linestyle() == style]


def test_the_diagram_is_the_curve_with_its_band_and_counts(predictions, axes):
    curve = calibration.reliability_curve(*predictions, bins=10)
    assert (curve.count >= plots.FEW_PREDICTIONS).all()
    assert plots.reliability_diagram(curve, axes=axes, color="red", label="mine") is axes
    drawn = max(lines(axes, "-"), key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(
        drawn.get_xydata(), torch.stack([curve.confidence, curve.accuracy]).T
    )
    corners = {
        tuple(point) for band in axes.collections[:1] for point in band.get_paths()[0].vertices
    }
    for ends in (curve.accuracy_low, curve.accuracy_high):
        assert set(zip(curve.confidence.tolist(), ends.tolist(), strict=True)) <= corners
    below = axes.figure.axes[-1]
    assert [bar.get_height() for bar in below.patches] == curve.count.tolist()
    assert [bar.get_x() for bar in below.patches] == curve.edges[curve.bin].tolist()
    assert below.get_shared_x_axes().joined(axes, below)
    assert axes.get_legend_handles_labels()[1] == ["mine"]


def test_several_curves_share_axes(predictions, axes):
    probs, labels = predictions
    for color, power in (("red", 1), ("blue", 2)):
        sharper = (power * probs.log()).softmax(-1)
        curve = calibration.reliability_curve(sharper, labels)
        plots.reliability_diagram(curve, axes=axes, histogram=False, color=color, label=color)
    assert axes.figure.axes == [axes]
    assert axes.get_legend_handles_labels()[1] == ["red", "blue"]
    assert axes.get_xlabel() == "confidence"


@pytest.mark.parametrize("layout", ["none", "constrained", "tight"])
def test_the_histogram_stays_in_its_place(predictions, layout):
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 4), layout=layout)
    pyplot.close(figure)
    curve = calibration.reliability_curve(*predictions, bins=10)
    plots.reliability_diagram(curve, axes=panels[0])
    figure.canvas.draw()
    upper, lower, beside = (each.get_position() for each in (panels[0], figure.axes[-1], panels[1]))
    assert (upper.x0, upper.x1) == pytest.approx((lower.x0, lower.x1))
    assert beside.y0 - 0.02 < lower.y0 < lower.y1 < upper.y0 < upper.y1 < beside.y1 + 0.02
    assert upper.height > 3 * lower.height
    assert upper.x1 < beside.x0


def test_axes_placed_by_hand_are_divided(predictions):
    axes = Figure().add_axes((0.2, 0.3, 0.5, 0.4))
    plots.reliability_diagram(calibration.reliability_curve(*predictions), axes=axes)
    upper, lower = (each.get_position() for each in axes.figure.axes)
    assert (lower.x0, lower.y0, lower.x1) == pytest.approx((0.2, 0.3, 0.7))
    assert (upper.x0, upper.x1, upper.y1) == pytest.approx((0.2, 0.7, 0.7))
    assert lower.y1 < upper.y0


@pytest.mark.parametrize("few", [True, False])
def test_no_mark_is_outside_of_the_picture(few, axes):
    """Marks are not clipped; those of nothing would lie in the corner of the figure."""
    count = 2 if few else 20
    probs = torch.tensor([[0.7, 0.3]]).repeat(count, 1)
    curve = calibration.reliability_curve(probs, torch.arange(count) % 2)
    plots.reliability_diagram(curve, axes=axes, histogram=False)
    axes.set_axis_off()
    axes.figure.canvas.draw()
    box, place = axes.get_tightbbox(), axes.get_window_extent()
    assert box.y0 > place.y0 - 10
    assert box.x0 > place.x0 - 10


def test_references_are_the_best_and_a_random_order(predictions, axes):
    probs, labels = predictions
    curve = calibration.risk_coverage_curve(probs, labels)
    plots.risk_coverage_plot(curve, axes=axes, label="mine")
    drawn, best, level = axes.lines
    np.testing.assert_allclose(drawn.get_xydata(), torch.stack([curve.coverage, curve.risk]).T)
    right = probs.argmax(-1) == labels
    for share in (0.2, 0.5, 0.8, 0.9, 1.0):
        kept = round(share * len(right))
        errors = (~right).sort().values[:kept].double().mean()  # an oracle sets errors aside first
        assert np.interp(share, *best.get_xydata().T) == pytest.approx(float(errors), abs=1e-3)
    assert set(level.get_ydata()) == {float(1 - right.double().mean())}
    plots.risk_coverage_plot(curve, axes=axes, references=False)
    assert len(axes.lines) == 4


@pytest.mark.parametrize("labels", [0, 1])
def test_all_right_and_all_wrong_can_be_drawn(labels, axes):
    probs = torch.tensor([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1]])
    labels = torch.full((3,), labels)
    plots.risk_coverage_plot(calibration.risk_coverage_curve(probs, labels), axes=axes)
    best = axes.lines[1].get_ydata()
    np.testing.assert_allclose(best[1:], float(labels[0]))
    axes.figure.canvas.draw()


def test_classes_are_those_of_the_predictions(predictions, axes):
    probs, labels = predictions
    classes = class_measures(probs, labels)
    predicted = probs.argmax(-1)
    for row in classes:
        mine = predicted == row.index
        assert row.predictions == int(mine.sum())
        assert row.confidence == pytest.approx(float(probs.amax(-1)[mine].mean()))
        assert row.precision == pytest.approx(float((labels[mine] == row.index).double().mean()))
    names = list("abcdef")
    plots.class_gap_plot(classes, axes=axes, most=4, names=names)
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert ticks == [names[row.index] for row in classes[:4]]
    marks = [line for line in axes.lines if line.get_marker() == "s"]
    assert [line.get_xdata()[0] for line in marks] == [row.gap.value for row in classes[:4]]
    filled = [line.get_markerfacecolor() == plots.COLOR for line in marks]
    assert filled == [row.clear for row in classes[:4]]


def test_classes_in_other_layouts(predictions, axes):
    probs, labels = predictions
    kept = labels.where(torch.arange(3000) % 3 > 0, -1)
    maps = probs.view(30, 10, 10, 6).movedim(-1, 1)
    found = class_measures(maps, kept.view(30, 10, 10), ignore_index=-1)
    assert found == class_measures(probs[kept >= 0], kept[kept >= 0])
    plots.class_reliability_plot(found, axes=axes)
    drawn = {tuple(point) for line in lines(axes, "None") for point in line.get_xydata()}
    assert drawn == {(row.confidence, row.precision) for row in found}


def test_a_new_figure_is_one_of_pyplot(predictions):
    curve = calibration.reliability_curve(*predictions)
    for function, given in (
        (plots.reliability_diagram, curve),
        (plots.confidence_histogram, curve),
        (plots.risk_coverage_plot, calibration.risk_coverage_curve(*predictions)),
        (plots.class_gap_plot, class_measures(*predictions)),
        (plots.class_reliability_plot, class_measures(*predictions)),
    ):
        assert function(given).figure is pyplot.gcf()
        pyplot.close("all")


def test_pictures_need_matplotlib_alone():
    loaded = modules_after("import softtargets.report.plots")
    assert "matplotlib" in loaded
    assert not {"jinja2", "rich", "cyclopts", "sklearn", "matplotlib.pyplot"} & loaded
    assert not {name for name in loaded if name.startswith("softtargets.lab")}
    assert "matplotlib" not in modules_after(
        "import softtargets.calibration, softtargets.audit.measure"
    )
