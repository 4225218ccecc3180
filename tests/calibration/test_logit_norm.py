"""The logit-normalised score against its formula, and the choice of p."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets import calibration
from softtargets.calibration.logit_norm import POWERS


def loop_score(row, p):
    alive = [z for z in row if z > -math.inf]
    mean = math.fsum(alive) / len(alive)
    deviations = [z - mean for z in alive]
    if p == math.inf:
        norm = max(map(abs, deviations))
    else:
        norm = math.fsum(abs(d) ** p for d in deviations) ** (1 / p)
    return max(deviations) / norm if norm else 0.0


@pytest.mark.parametrize("p", [1, 2, 3.5, 10, math.inf])
def test_equals_the_formula(make_predictions, p):
    logits, _ = make_predictions(40, 6)
    logits[3, 2] = logits[4, :5] = -math.inf
    logits[5] = 0.125
    expected = [loop_score(row, p) for row in logits.tolist()]
    assert calibration.logit_norm_score(logits, p=p).tolist() == pytest.approx(expected, abs=1e-13)


@given(st.integers(0, 2**31), st.floats(0.01, 100), st.floats(-100, 100), st.floats(1, 12))
def test_knows_neither_scale_nor_offset(seed, scale, offset, p):
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    score = calibration.logit_norm_score(logits, p=p)
    torch.testing.assert_close(
        calibration.logit_norm_score(scale * logits + offset, p=p), score, rtol=1e-9, atol=1e-9
    )
    assert float(score.min()) >= 0
    assert float(score.max()) <= 1


def test_any_size_and_layout(make_predictions, monkeypatch):
    logits, _ = make_predictions(24, 5)
    score = calibration.logit_norm_score(logits, p=3)
    torch.testing.assert_close(calibration.logit_norm_score(1e200 * logits, p=3), score)
    torch.testing.assert_close(calibration.logit_norm_score(1e-200 * logits, p=3), score)
    monkeypatch.setattr("softtargets.calibration.logit_norm._BLOCK_ELEMENTS", 15)
    maps = logits.view(2, 3, 4, 5).movedim(-1, 1)
    assert calibration.logit_norm_score(maps, p=3).shape == (2, 3, 4)
    torch.testing.assert_close(calibration.logit_norm_score(maps, p=3).flatten(), score)
    half = logits.half()
    torch.testing.assert_close(
        calibration.logit_norm_score(half), calibration.logit_norm_score(half.double())
    )


def test_equal_logits_are_not_sure_at_all():
    logits = torch.tensor([[0.1, 0.1, 0.1], [5.0, -math.inf, -math.inf]])
    assert calibration.logit_norm_score(logits).tolist() == [0, 0]


def test_chooses_the_p_of_least_area(make_predictions):
    logits, labels = make_predictions(400, 5)
    # Sizes that say nothing make the highest probability a bad score.
    sizes = torch.rand(400, 1, generator=torch.Generator().manual_seed(1)).exp()
    logits = logits * sizes**3
    score = calibration.LogitNormScore().fit(logits, labels)
    probs = logits.softmax(-1)
    areas = [
        float(
            calibration.area_under_risk_coverage(
                probs, labels, scores=calibration.logit_norm_score(logits, p=p)
            )
        )
        for p in POWERS
    ]
    assert score.p == 1 + areas.index(min(areas))
    assert score.improved
    assert min(areas) < float(calibration.area_under_risk_coverage(probs, labels))
    assert torch.equal(score(logits), calibration.logit_norm_score(logits, p=score.p))


def test_says_when_the_highest_probability_is_better():
    # The error is between two classes: a small logit elsewhere hides it from the norm.
    logits = torch.tensor([[2.0, 0.0, 0.0], [4.0, 3.9, -9.0], [6.0, 0.0, 0.0]])
    score = calibration.LogitNormScore().fit(logits, torch.tensor([0, 1, 0]))
    assert not score.improved


def test_bad_arguments():
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"`p` must be at least 1, got 0\.5"):
        calibration.logit_norm_score(logits, p=0.5)
    with pytest.raises(TypeError, match="`p` must be a number, got str"):
        calibration.logit_norm_score(logits, p="2")
    with pytest.raises(ValueError, match="`logits` must hold no NaN"):
        calibration.logit_norm_score(torch.full((1, 2), torch.nan))
    with pytest.raises(ValueError, match=r"`logits` must have shape \(N, K\)"):
        calibration.logit_norm_score(torch.zeros(3))
    with pytest.raises(ValueError, match="at least one sample"):
        calibration.logit_norm_score(torch.zeros(0, 3))
    unfitted = calibration.LogitNormScore()
    for use in (lambda: unfitted.p, lambda: unfitted.improved, lambda: unfitted(logits)):
        with pytest.raises(RuntimeError, match="must be fitted before use"):
            use()
