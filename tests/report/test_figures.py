import dataclasses
import xml.etree.ElementTree as ElementTree

import msgspec
import numpy as np
import pytest
import torch

from softtargets.calibration import BinStatistics
from softtargets.lab.data import Split, load
from softtargets.lab.records import Example
from softtargets.lab.study import picture
from softtargets.lab.summary import summarise
from softtargets.report.figures import reliability_diagram
from softtargets.report.overview import write_summary_figure
from softtargets.report.palette import PAPER, look
from softtargets.report.plots import FEW_PREDICTIONS
from softtargets.report.predictions import predictions
from softtargets.report.svg import inline, standalone
from softtargets.report.targets import chosen_examples, shown_classes, target_bars


def test_predictions_of_all_seeds_are_pooled(comparison):
    found = predictions(comparison, "ls", scaled=False)
    samples = comparison.data.num_test * comparison.settings.seeds
    assert int(found.pooled.counts.sum()) == samples
    accuracies = [record.metrics["accuracy"].value for record in comparison.records("ls")]
    assert found.confidence.right.value == pytest.approx(np.mean(accuracies))
    assert found.confidence.gap.value == pytest.approx(
        found.confidence.says.value - found.confidence.right.value
    )


def test_scaled_predictions_use_each_runs_temperature(comparison):
    says = []
    for arrays, record in zip(comparison.arrays("ls"), comparison.records("ls"), strict=True):
        logits = torch.from_numpy(arrays["test_logits"]).double() / record.temperature
        says.append(float(logits.softmax(-1).amax(-1).mean()))
    found = predictions(comparison, "ls", scaled=True)
    assert found.confidence.says.value == pytest.approx(np.mean(says))
    assert found.confidence.right == predictions(comparison, "ls", scaled=False).confidence.right


def test_diagram_shows_the_curve(comparison):
    found = predictions(comparison, "ls", scaled=False)
    axes, counts = reliability_diagram(found, "ls").axes
    drawn = max((line.get_xydata() for line in axes.lines), key=len)
    enough = found.pooled.counts >= FEW_PREDICTIONS
    expected = (found.pooled.outcome_sums / found.pooled.counts)[enough]
    np.testing.assert_allclose(drawn[:, 1], expected)
    heights = [bar.get_height() for bar in counts.patches]
    np.testing.assert_allclose(heights, found.pooled.counts[found.pooled.counts > 0])
    assert axes.get_xlim() == (0, 1)


def test_bins_of_few_predictions_are_faint_and_off_the_line(comparison):
    first = torch.tensor([0.55] * 10 + [0.7] * 4 + [0.8] * 1 + [0.95] * 5)
    probs = torch.stack([first, 1 - first], -1)
    pooled = BinStatistics.top_label(probs, torch.zeros(len(first), dtype=torch.int64))
    found = predictions(comparison, "ls", scaled=False)
    axes, _ = reliability_diagram(dataclasses.replace(found, pooled=pooled), "ls").axes
    points = [line for line in axes.lines if line.get_marker() == look("ls").marker]
    faint, joined = sorted(points, key=lambda line: line.get_alpha() or 1)
    np.testing.assert_allclose(faint.get_xdata(), [0.7, 0.8])
    np.testing.assert_allclose(joined.get_xdata(), [0.55, 0.95])
    assert (faint.get_linestyle(), joined.get_linestyle()) == ("None", "-")
    assert faint.get_markerfacecolor() == PAPER


def test_inline_figures_of_other_names_share_no_id(comparison):
    figure = reliability_diagram(predictions(comparison, "ls", scaled=False), "ls")
    roots = [ElementTree.fromstring(inline(figure, name, "a < b")) for name in ("one", "two")]
    first, second = ({each.get("id") for each in root.iter() if each.get("id")} for root in roots)
    assert first
    assert not first & second
    assert roots[0].get("aria-label") == "a < b"
    assert look("ls").light not in inline(figure, "one", "")
    assert look("ls").light in standalone(figure)


def test_text_of_a_figure_stays_text_and_keeps_its_digits(comparison):
    example = chosen_examples(comparison)["ls"]
    figure = target_bars(example, "ls", {each: str(each) for each in range(10)})
    figure.axes[0].set_title("0.12345 $x$ <b>")
    text = "".join(ElementTree.fromstring(inline(figure, "t", "")).itertext())
    assert "0.12345 $x$ <b>" in text


def test_summary_is_written_as_svg_and_png(comparison, tmp_path):
    rows = summarise(comparison)
    for name in ("one.svg", "two.svg", "one.png", "two.png"):
        write_summary_figure(rows, tmp_path / name, heading="digits <&> $x$")
    for kind in ("svg", "png"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    assert "  " not in "".join(
        node.text or "" for node in root.iter() if node.tag.endswith("}text")
    )
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 8), (8, 8)),
        ((8, 8, 1), (8, 8)),
        ((1, 8, 8), (8, 8)),
        ((8, 8, 3), (8, 8, 3)),
        ((3, 8, 8), (8, 8, 3)),
        ((3, 8, 6), (8, 6, 3)),
        ((64,), None),
        ((1, 64), None),
        ((5, 5, 5), None),
        ((600, 2), None),
    ],
)
def test_only_images_have_a_picture(shape, expected):
    inputs = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    part = Split(inputs=inputs, labels=torch.tensor([0, 1]))
    found = picture(dataclasses.replace(load("digits"), train=part), 1)
    assert (None if found is None else found.shape) == expected
    if found is not None:
        image = found.array()
        assert image.min() == 0
        assert image.max() == 1
        scaled = (inputs[1] - inputs[1].min()) / (inputs[1].max() - inputs[1].min())
        given = scaled.permute(1, 2, 0) if shape[0] == 3 else scaled.reshape(expected)
        assert np.abs(image - given.numpy()).max() <= 0.5 / 255 + 1e-6


def test_of_many_classes_those_with_most_target_are_shown(comparison):
    example = chosen_examples(comparison)["ls"]
    target = [0.0] * 100
    target[7], target[99] = 0.9, 0.1
    wide = type(example)(index=0, true_label=7, label=7, target=target)
    shown = shown_classes({"ls": wide})
    assert {7, 99} <= set(shown)
    assert shown == sorted(shown)
    assert len(shown) == 12


def with_targets(comparison, **targets):
    """The comparison with these targets of its stored examples, all labelled 0."""
    runs = {}
    for method, ((folder, record), *others) in comparison.runs.items():
        examples = [
            Example(index=place, true_label=0, label=0, target=target)
            for place, target in enumerate(targets[method])
        ]
        runs[method] = [(folder, msgspec.structs.replace(record, examples=examples)), *others]
    return dataclasses.replace(comparison, runs=runs)


def test_the_sample_shown_is_one_on_which_every_method_smooths(comparison):
    hard, slightly, much = [1.0, 0.0], [0.9, 0.1], [0.2, 0.8]
    changed = with_targets(
        comparison,
        hard=[hard] * 4,
        ls=[slightly] * 4,
        ols=[hard, slightly, much, hard],
    )
    assert chosen_examples(changed)["ols"].index == 2
    changed = with_targets(comparison, hard=[hard] * 2, ls=[slightly, hard], ols=[slightly, much])
    assert chosen_examples(changed)["ols"].index == 0
