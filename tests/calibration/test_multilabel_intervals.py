"""Reports of events: values of the functions, draws of a loop, binary ones as two classes."""

import dataclasses
import math

import pytest
import torch

from softtargets import calibration
from softtargets.calibration.label_measurement import LabelMeasurement
from softtargets.calibration.resampling import Weights

OPTIONS = {"class_dim": 1, "ignore_index": -100, "bins": 6}


@pytest.fixture
def events():
    """Logits (80, 3) twice as sure as they should be and answers, some missing, unevenly."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(80, 3, dtype=torch.float64, generator=generator)
    labels = torch.bernoulli(logits.sigmoid(), generator=generator).long()
    labels[:20, 1] = -100
    labels[5] = -100
    return 2 * logits, labels


def expected_values(logits, labels, bins):
    """What the functions say, label by label where they have no multi-label form."""
    probs, kept = logits.sigmoid(), labels != -100
    options = {"bins": bins}
    error = calibration.multilabel_calibration_error
    columns = [(probs[kept[:, k], k], labels[kept[:, k], k]) for k in range(labels.shape[1])]
    terms = [calibration.binary_brier_decomposition(*each, **options) for each in columns]
    bins_of = [calibration.BinStatistics.from_scores(p, y, **options) for p, y in columns]
    gaps = torch.stack([each.signed_gaps for each in bins_of])
    return {
        "negative_log_likelihood": calibration.binary_negative_log_likelihood(logits, labels),
        "brier_score": calibration.binary_brier_score(probs, labels),
        "brier_reliability": torch.stack([t.reliability for t in terms]).mean(),
        "brier_resolution": torch.stack([t.resolution for t in terms]).mean(),
        "brier_uncertainty": torch.stack([t.uncertainty for t in terms]).mean(),
        "expected_calibration_error": error(probs, labels, **options),
        "expected_calibration_error_debiased": error(probs, labels, debiased=True, **options),
        "root_mean_square_calibration_error": error(probs, labels, norm="l2", **options),
        "maximum_calibration_error": error(probs, labels, norm="max", **options),
        "smooth_calibration_error": calibration.multilabel_smooth_calibration_error(probs, labels),
        "overconfidence_error": (-gaps).clamp_min(0).sum(-1).mean(),
        "underconfidence_error": gaps.clamp_min(0).sum(-1).mean(),
    }


def test_values_are_those_of_the_functions(events):
    logits, labels = events
    report = calibration.evaluate_multilabel(logits, labels, bins=6, bootstrap=20)
    expected = expected_values(logits, labels, 6)
    estimates = {
        f.name: getattr(report, f.name)
        for f in dataclasses.fields(report)
        if isinstance(getattr(report, f.name), calibration.Estimate)
    }
    assert estimates.keys() == expected.keys()
    for name, value in expected.items():
        assert estimates[name].value == pytest.approx(float(value), rel=1e-9), name
        assert 0 <= estimates[name].low <= estimates[name].high
    assert (report.num_samples, report.num_labels) == (79, 3)
    assert report.to_dict()["brier_score"]["value"] == report.brier_score.value
    assert str(report).startswith("79 samples, 3 labels with 95 % intervals")
    without = calibration.evaluate_multilabel(logits, labels, bins=6, bootstrap=0)
    assert math.isnan(without.brier_score.low)
    assert without.brier_score.value == report.brier_score.value


def test_draws_equal_a_loop(events):
    logits, labels = events
    measured = LabelMeasurement(logits, labels, draws=4, seed=5, **OPTIONS)
    keep = (labels != -100).any(1)
    logits, labels = logits[keep], labels[keep]
    ((_, block),) = Weights(4, seed=5).blocks(torch.arange(len(logits)))
    noisy = measured.noisy
    for d in range(4):
        index = torch.arange(len(logits)).repeat_interleave(block.weights[:, 1 + d].long())
        again = expected_values(logits[index], labels[index], 6)
        for name in ("negative_log_likelihood", "brier_score"):
            assert float(noisy.means[name][1][d]) == pytest.approx(float(again[name]), rel=1e-9)
        model = noisy.whole.model
        drawn = model.gaps + model.noise[:, d]
        plain = float(again["expected_calibration_error"])
        assert float(drawn.abs().sum()) / 3 == pytest.approx(plain, rel=1e-9)
        uncertainty = float(again["brier_uncertainty"])
        assert float(noisy.brier.drawn_uncertainty[d]) == pytest.approx(uncertainty, rel=1e-9)


def test_one_label_is_two_classes():
    """A binary event: scores and class-wise error of both columns, intervals and all."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, dtype=torch.float64, generator=generator)
    y = torch.bernoulli(z.sigmoid(), generator=generator).long()
    event = calibration.evaluate_multilabel(2 * z.unsqueeze(1), y.unsqueeze(1), bootstrap=200)
    both = calibration.evaluate(torch.stack([0 * z, 2 * z], 1), y, bootstrap=200)
    pairs = [
        (event.negative_log_likelihood, both.negative_log_likelihood, 1),
        (event.brier_score, both.brier_score, 2),
        (event.brier_uncertainty, both.brier_uncertainty, 2),
        (event.expected_calibration_error, both.classwise_calibration_error, 1),
    ]
    for one, other, factor in pairs:
        assert factor * one.value == pytest.approx(other.value, rel=1e-9)
        ends = (factor * one.low, factor * one.high)
        assert ends == pytest.approx((other.low, other.high), rel=0.05)


def test_blocks_and_layouts_change_nothing(events, monkeypatch):
    logits, labels = events
    expected = calibration.evaluate_multilabel(
        logits.view(20, 4, 3), labels.view(20, 4, 3), class_dim=-1, bootstrap=30
    )
    maps = [each.view(20, 2, 2, 3).movedim(-1, 1) for each in (logits, labels)]
    monkeypatch.setattr("softtargets.calibration.label_measurement._BLOCK_ELEMENTS", 9)
    found = calibration.evaluate_multilabel(*maps, bootstrap=30)
    for name in ("brier_score", "expected_calibration_error", "smooth_calibration_error"):
        one, other = getattr(found, name), getattr(expected, name)
        for end in ("value", "low", "high"):
            assert getattr(one, end) == pytest.approx(getattr(other, end), rel=1e-6, abs=1e-9)


def test_comparison(events):
    logits, labels = events
    generator = torch.Generator().manual_seed(1)
    many = torch.randn(1500, 3, dtype=torch.float64, generator=generator)
    answers = torch.bernoulli(many.sigmoid(), generator=generator)
    found = calibration.compare_multilabel(2.5 * many, many, answers.bool(), bootstrap=100)
    for name in ("brier_score", "expected_calibration_error", "overconfidence_error"):
        assert getattr(found, name).verdict == "higher"
    assert str(found).startswith("1500 samples, 3 labels: a, b, a - b")
    same = calibration.compare_multilabel(logits, logits, labels, bootstrap=20)
    for value in same.to_dict().values():
        assert not isinstance(value, dict) or value["verdict"] == "no clear difference"
    with pytest.raises(ValueError, match="`logits_b` must have the shape of `logits_a`"):
        calibration.compare_multilabel(logits, logits[:, :2], labels)


def test_labels_without_answers_are_left_out(events):
    logits, labels = events
    more = torch.cat([labels, torch.full((80, 1), -100)], 1)
    wide = torch.cat([logits, logits[:, :1]], 1)
    assert calibration.evaluate_multilabel(wide, more, bootstrap=10) == (
        calibration.evaluate_multilabel(logits, labels, bootstrap=10)
    )


def test_bad_input(events):
    logits, labels = events
    with pytest.raises(ValueError, match="`labels` must be 0 or 1, got 7"):
        calibration.evaluate_multilabel(logits, labels.masked_fill(labels == 1, 7))
    bad = logits.clone()
    bad[3, 0] = math.nan
    with pytest.raises(ValueError, match="`logits` must hold no NaN"):
        calibration.evaluate_multilabel(bad, labels)
    with pytest.raises(ValueError, match="or more dimensions"):
        calibration.evaluate_multilabel(logits[:, 0], labels[:, 0])
    with pytest.raises(ValueError, match="only 1 has labels"):
        calibration.evaluate_multilabel(logits.unsqueeze(0), labels.unsqueeze(0), class_dim=-1)
