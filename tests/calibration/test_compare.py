"""Differences of two models: paired, antisymmetric, and 0 where there is none."""

import dataclasses
import json
import math

import pytest
import torch

from softtargets import calibration
from softtargets.calibration.compare import compare_calibration

NUMBERS = [
    field.name
    for field in dataclasses.fields(calibration.CalibrationComparison)
    if field.name not in ("num_samples", "num_classes")
]


@pytest.fixture(scope="module")
def models():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(900, 6, dtype=torch.float64, generator=generator)
    labels = logits.softmax(-1).multinomial(1, generator=generator).squeeze(1)
    other = logits + torch.randn(900, 6, dtype=torch.float64, generator=generator)
    return logits, other, labels


def test_a_model_does_not_differ_from_itself(models):
    logits, _, labels = models
    for same in (logits, logits.clone()):
        found = compare_calibration(1.7 * logits, 1.7 * same, labels, bootstrap=50)
        for name in NUMBERS:
            difference = getattr(found, name)
            assert (difference.difference, difference.low, difference.high) == (0, 0, 0)
            assert difference.a == difference.b
            assert difference.verdict == "no clear difference"


def test_the_other_way_round_signs_change(models):
    logits, other, labels = models
    one = compare_calibration(2 * logits, other, labels, bootstrap=60)
    back = compare_calibration(other, 2 * logits, labels, bootstrap=60)
    opposite = {"higher": "lower", "lower": "higher"}
    for name in NUMBERS:
        there, here = getattr(one, name), getattr(back, name)
        assert here.difference == pytest.approx(-there.difference, abs=1e-12)
        assert (here.low, here.high) == pytest.approx((-there.high, -there.low), abs=1e-12)
        assert (here.a, here.b) == (there.b, there.a)
        assert here.verdict == opposite.get(there.verdict, there.verdict)
        assert there.low <= there.difference <= there.high


def test_clear_differences_are_called(models):
    logits, other, labels = models
    found = compare_calibration(2 * logits, logits, labels)
    assert found.negative_log_likelihood.verdict == "higher"
    for name in NUMBERS:
        # Sharpening changes no prediction.
        if name == "accuracy":
            assert getattr(found, name).difference == 0
        elif "calibration" in name or name in ("overconfidence_error", "brier_reliability"):
            # A bin of a few samples decides about the largest gap.
            called = name != "maximum_calibration_error"
            assert (getattr(found, name).verdict == "higher") is called, name
    noisier = compare_calibration(other, logits, labels)
    assert noisier.accuracy.verdict == "lower"
    assert noisier.area_under_risk_coverage.verdict == "higher"


def test_means_are_paired_differences(models):
    logits, other, labels = models
    found = compare_calibration(logits, other, labels, bootstrap=400)
    for name, function in (
        ("accuracy", calibration.accuracy),
        ("negative_log_likelihood", calibration.negative_log_likelihood),
    ):
        difference = getattr(found, name)
        a, b = float(function(logits, labels)), float(function(other, labels))
        assert (difference.a, difference.b) == pytest.approx((a, b), rel=1e-10)
        assert difference.difference == pytest.approx(a - b, rel=1e-9)
    rows = torch.arange(900)
    losses = [each.log_softmax(-1)[rows, labels] for each in (logits, other)]
    half = 1.96 * float((losses[0] - losses[1]).std()) / 30
    nll = found.negative_log_likelihood
    assert (nll.high - nll.low) / 2 == pytest.approx(half, rel=0.15)


def test_equal_calls_give_equal_comparisons(models):
    logits, other, labels = models
    assert compare_calibration(logits, other, labels, bootstrap=20) == compare_calibration(
        logits, other, labels, bootstrap=20
    )
    first, second = (
        compare_calibration(
            logits, other, labels, bootstrap=20, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (1, 2)
    )
    assert first != second


def test_two_calibrated_models_are_seldom_called_different():
    """One knows the labels' logits, the other up to a coin toss: 5 % of 30 are 1.5."""
    called = {"expected_calibration_error": 0, "classwise_calibration_error": 0}
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        both = 2 * torch.randn(2, 500, 5, dtype=torch.float64, generator=generator)
        labels = both[0].softmax(-1).multinomial(1, generator=generator).squeeze(1)
        found = compare_calibration(
            both[0], both.softmax(-1).mean(0).log(), labels, bootstrap=100, generator=generator
        )
        for name in called:
            called[name] += getattr(found, name).verdict != "no clear difference"
    assert max(called.values()) <= 5


def test_infinite_losses(models):
    logits, _, labels = models
    masked = logits.clone()
    masked[0, labels[0]] = -torch.inf
    found = compare_calibration(masked, logits, labels, bootstrap=20)
    assert found.negative_log_likelihood.difference == math.inf
    assert found.negative_log_likelihood.verdict == "higher"
    back = compare_calibration(logits, masked, labels, bootstrap=20)
    assert back.negative_log_likelihood.verdict == "lower"
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["negative_log_likelihood"]["a"] is None
    assert plain["accuracy"]["verdict"] == found.accuracy.verdict
    assert plain["num_classes"] == 6


def test_table(models):
    logits, other, labels = models
    found = compare_calibration(2 * logits, other, labels, bootstrap=20)
    table = str(found).splitlines()
    assert table[0] == "900 samples, 6 classes: a, b, a - b with 95 % interval"
    assert len(table) == 1 + len(NUMBERS)
    assert table[2].startswith("  negative log likelihood")
    assert table[2].endswith(found.negative_log_likelihood.verdict)


def test_bad_input(models):
    logits, other, labels = models
    with pytest.raises(
        ValueError, match=r"`logits_b` must have the shape of `logits_a`, \(900, 6\)"
    ):
        compare_calibration(logits, other[:, :4], labels % 4)
    with pytest.raises(ValueError, match="`bootstrap` must be at least 1, got 0; differences need"):
        compare_calibration(logits, other, labels, bootstrap=0)
    with pytest.raises(TypeError, match="`bootstrap` must be an integer, got float"):
        compare_calibration(logits, other, labels, bootstrap=1.5)
    with pytest.raises(ValueError, match="of probabilities pass the logarithm"):
        compare_calibration(logits, other.softmax(-1), labels)
    with pytest.raises(ValueError, match=r"`labels` must have shape \(900,\)"):
        compare_calibration(logits, other, labels[:5])
    with pytest.raises(ValueError, match="`bins` must be at least 1"):
        compare_calibration(logits, other, labels, bins=0)
