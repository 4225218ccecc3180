"""Measures of runs: their values are the library's, their draws those of redrawn samples."""

from types import SimpleNamespace

import pytest
import torch

from softtargets import calibration
from softtargets.claims import measures
from softtargets.claims.intervals import sample_weights
from softtargets.claims.measures import accuracy, calibration_error, log_loss, risk_coverage_area


@pytest.fixture
def run():
    """Logits of 90 samples that a network is over-confident about."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(90, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(4, (90,), generator=generator)
    error = calibration.expected_calibration_error(logits.softmax(-1), labels, debiased=True)
    metrics = {"expected_calibration_error_debiased": SimpleNamespace(value=float(error))}
    record = SimpleNamespace(metrics=metrics, scaled=metrics, temperature=2.0)
    data = SimpleNamespace(num_classes=4)
    return SimpleNamespace(test_logits=logits, test_labels=labels, record=record, data=data)


def redrawn(run, draw):
    """Logits and labels of one draw, sample by sample."""
    places = torch.arange(90).repeat_interleave(sample_weights(90)[draw].long())
    return run.test_logits[places], run.test_labels[places]


@pytest.mark.parametrize("draw", [0, 3])
def test_draws_are_measures_of_redrawn_samples(run, draw):
    logits, labels = redrawn(run, draw)
    found = {
        accuracy: calibration.accuracy(logits, labels),
        log_loss: calibration.negative_log_likelihood(logits, labels),
        calibration_error: calibration.expected_calibration_error(logits.softmax(-1), labels),
    }
    for measure, expected in found.items():
        assert float(measure([run]).draws[draw, 0]) == pytest.approx(float(expected), abs=1e-6)


def test_values_are_those_of_the_samples(run):
    logits, labels = run.test_logits, run.test_labels
    assert float(accuracy([run]).values) == pytest.approx(
        float(calibration.accuracy(logits, labels))
    )
    scaled = calibration.negative_log_likelihood(logits / 2, labels)
    assert float(log_loss([run], scaled=True).values) == pytest.approx(float(scaled))
    debiased = calibration.expected_calibration_error(logits.softmax(-1), labels, debiased=True)
    assert float(calibration_error([run]).values) == pytest.approx(float(debiased))


def test_area_under_risk_and_coverage(run):
    probs = run.test_logits.softmax(-1)
    area = risk_coverage_area([run], measures.confidence)
    expected = calibration.area_under_risk_coverage(probs, run.test_labels)
    assert float(area.values) == pytest.approx(float(expected))
    logits, labels = redrawn(run, 1)
    redone = calibration.area_under_risk_coverage(logits.softmax(-1), labels)
    # Copies of a sample have equal scores: the library averages over their order, draws do not.
    assert float(area.draws[1, 0]) == pytest.approx(float(redone), abs=0.01)
