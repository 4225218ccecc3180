"""Pixels and tokens: whole images and sequences are resampled, in whatever layout they come."""

import dataclasses

import pytest
import torch

from softtargets import calibration


def numbers(report):
    """Every interval and value by name."""
    found = {}
    for field in dataclasses.fields(report):
        value = getattr(report, field.name)
        if isinstance(value, calibration.Estimate):
            found[field.name] = (value.value, value.low, value.high)
    return found


@pytest.fixture
def tokens(make_predictions):
    """Logits (30, 8, 5) and labels (30, 8), a fifth ignored, one sequence wholly."""
    logits, labels = make_predictions(240, 5, sharpness=1.5)
    ignored = torch.rand(30, 8, generator=torch.Generator().manual_seed(1)) < 0.2
    ignored[7] = True
    return logits.view(30, 8, 5), labels.view(30, 8).masked_fill(ignored, -100)


def test_layouts_agree(tokens):
    logits, labels = tokens
    expected = calibration.evaluate(logits, labels, bootstrap=40, class_dim=-1)
    kept = labels != -100
    flat = calibration.evaluate(logits[kept], labels[kept], bootstrap=40)
    maps = (logits.view(30, 2, 4, 5).movedim(-1, 1), labels.view(30, 2, 4))
    marked = maps[1].masked_fill(maps[1] == -100, 255).to(torch.uint8)
    for found in (
        calibration.evaluate(*maps, bootstrap=40),
        calibration.evaluate(maps[0], marked, ignore_index=255, bootstrap=40),
    ):
        for name, value in numbers(found).items():
            assert value == pytest.approx(numbers(expected)[name], rel=1e-6, abs=1e-9)
            assert value[0] == pytest.approx(numbers(flat)[name][0], rel=1e-9)
    for of, name in (("top_label", "expected"), ("classes", "classwise")):
        one = calibration.estimate_calibration_error(
            logits.softmax(-1), labels, of=of, bootstrap=40, class_dim=-1
        )
        report = numbers(expected)[f"{name}_calibration_error"]
        assert (one.value, one.low, one.high) == pytest.approx(report, rel=1e-6, abs=1e-9)


def test_copies_in_an_image_say_nothing_new(make_predictions):
    """Means of five copies have the interval of one; as if independent it would be 45 % of it."""
    logits, labels = make_predictions(300, 4, sharpness=1.5)
    once = numbers(calibration.evaluate(logits, labels, bootstrap=200))
    copies = (logits.unsqueeze(1).expand(-1, 5, -1), labels.unsqueeze(1).expand(-1, 5))
    images = numbers(calibration.evaluate(*copies, bootstrap=200, class_dim=-1))
    for name in ("negative_log_likelihood", "brier_score", "brier_uncertainty"):
        assert images[name] == pytest.approx(once[name], rel=1e-9)
    for name in ("accuracy", "expected_calibration_error", "area_under_risk_coverage"):
        widths = [high - low for _, low, high in (images[name], once[name])]
        assert widths[0] == pytest.approx(widths[1], rel=0.25), name


def test_comparisons_pair_images(tokens):
    logits, labels = tokens
    found = calibration.compare_calibration(2 * logits, logits, labels, bootstrap=60, class_dim=-1)
    maps = (logits.view(30, 2, 4, 5).movedim(-1, 1), labels.view(30, 2, 4))
    same = calibration.compare_calibration(2 * maps[0], *maps, bootstrap=60)
    assert found.negative_log_likelihood.verdict == "higher"
    for name in ("negative_log_likelihood", "expected_calibration_error"):
        first, second = getattr(found, name), getattr(same, name)
        assert (first.low, first.high) == pytest.approx((second.low, second.high), rel=1e-6)


def test_one_image_has_no_interval(tokens):
    logits, labels = tokens
    one = (logits[:1], labels[:1])
    with pytest.raises(ValueError, match="only 1 has labels; pass several, or `bootstrap=0`"):
        calibration.evaluate(*one, class_dim=-1)
    with pytest.raises(ValueError, match="only 1 has labels"):
        calibration.estimate_calibration_error(one[0].softmax(-1), one[1], class_dim=-1)
    calibration.evaluate(*one, class_dim=-1, bootstrap=0)


def test_other_scores_rank_the_samples(tokens):
    logits, labels = tokens
    scores = calibration.logit_norm_score(logits, class_dim=-1)
    layout = {"class_dim": -1, "bootstrap": 40}
    report = calibration.evaluate(logits, labels, scores=scores, **layout)
    plain = calibration.evaluate(logits, labels, **layout)
    probs = logits.softmax(-1)
    options = {"scores": scores, "class_dim": -1}
    for name, function in (
        ("area_under_risk_coverage", calibration.area_under_risk_coverage),
        ("excess_area_under_risk_coverage", calibration.excess_area_under_risk_coverage),
    ):
        expected = float(function(probs, labels, **options))
        assert getattr(report, name).value == pytest.approx(expected, rel=1e-9)
        assert getattr(report, name) != getattr(plain, name)
    assert report.brier_score == plain.brier_score
    # Two scores of one model: what a random one loses is called.
    noise = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    compared = calibration.compare_calibration(
        logits, logits, labels, scores_a=noise, scores_b=scores, **layout
    )
    assert compared.area_under_risk_coverage.verdict == "higher"
    assert compared.brier_score.difference == 0
    with pytest.raises(ValueError, match=r"`scores` must have the shape of `labels`, \(30, 8\)"):
        calibration.evaluate(logits, labels, scores=scores[:3], **layout)


def test_temperature_in_a_layout(tokens):
    logits, labels = tokens
    kept = labels != -100
    report = calibration.evaluate(
        logits, labels, temperature_from=(logits, labels), class_dim=-1, bootstrap=0
    )
    scaling = calibration.TemperatureScaling().fit(logits[kept], labels[kept])
    assert report.temperature == pytest.approx(scaling.temperature, rel=1e-9)
