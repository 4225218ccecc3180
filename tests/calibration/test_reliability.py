"""Reliability curves: the bins of the error, with Wilson intervals."""

import math

import pytest
import torch

from softtargets import calibration


@pytest.mark.parametrize("class_index", [None, 2])
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_points_are_the_bins(make_predictions, class_index, binning):
    logits, labels = make_predictions(300, 4)
    probs = logits.softmax(-1)
    curve = calibration.reliability_curve(
        probs, labels, bins=10, binning=binning, class_index=class_index
    )
    if class_index is None:
        scores, predicted = probs.max(-1)
        outcomes = predicted == labels
    else:
        scores, outcomes = probs[:, class_index], labels == class_index
    assert int(curve.count.sum()) == 300
    assert curve.edges.shape == (11,)
    for i, b in enumerate(curve.bin.tolist()):
        inside = (scores > curve.edges[b]) & (scores <= curve.edges[b + 1])
        assert int(curve.count[i]) == int(inside.sum()) > 0
        torch.testing.assert_close(curve.confidence[i], scores[inside].mean())
        torch.testing.assert_close(curve.accuracy[i], outcomes[inside].double().mean())


def test_curve_sums_to_the_error(make_predictions):
    logits, labels = make_predictions(300)
    probs = logits.softmax(-1)
    curve = calibration.reliability_curve(probs, labels)
    error = (curve.count / 300 * (curve.accuracy - curve.confidence).abs()).sum()
    torch.testing.assert_close(error, calibration.expected_calibration_error(probs, labels))


def test_wilson_interval_solves_its_equation(make_predictions):
    """At the ends p of the interval the observed share is 1.96 standard errors from p."""
    logits, labels = make_predictions(300)
    curve = calibration.reliability_curve(logits.softmax(-1), labels)
    for ends in (curve.accuracy_low, curve.accuracy_high):
        for p, share, n in zip(ends.tolist(), curve.accuracy.tolist(), curve.count, strict=True):
            if 1e-9 < p < 1 - 1e-9:
                distance = abs(share - p) / math.sqrt(p * (1 - p) / int(n))
                assert distance == pytest.approx(1.959964, abs=1e-5)
    assert bool((curve.accuracy_low <= curve.accuracy).all())
    assert bool((curve.accuracy <= curve.accuracy_high).all())


def test_one_sample():
    curve = calibration.reliability_curve(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert curve.bin.tolist() == [14]
    assert curve.accuracy_low[0] > 0.2
    assert curve.accuracy_high[0] == 1


@pytest.mark.parametrize("class_index", [-1, 2])
def test_class_out_of_range(class_index):
    with pytest.raises(ValueError, match=rf"`class_index` must be in 0 \.\. 1, got {class_index}"):
        calibration.reliability_curve(torch.eye(2), torch.tensor([0, 1]), class_index=class_index)
