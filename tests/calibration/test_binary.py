"""Binary and multi-label metrics against loops, two columns and each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from softtargets import calibration

MULTILABEL = (
    calibration.multilabel_calibration_error,
    calibration.multilabel_smooth_calibration_error,
)


@pytest.fixture
def events(make_predictions):
    """P(y = 1) and answers of 200 samples, over-confident."""
    logits, labels = make_predictions(200, 2, sharpness=1.6)
    return logits.softmax(-1)[:, 1], labels


def columns(probs):
    return torch.stack([1 - probs, probs], 1)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_both_meanings(events, norm, binning):
    probs, labels = events
    options = {"norm": norm, "binning": binning}
    prediction = calibration.binary_calibration_error(probs, labels, of="prediction", **options)
    top_label = calibration.expected_calibration_error(columns(probs), labels, **options)
    torch.testing.assert_close(prediction, top_label, rtol=0, atol=1e-14)
    event = calibration.binary_calibration_error(probs, labels, of="event", **options)
    statistics = calibration.BinStatistics.from_scores(probs, labels, binning=binning)
    assert torch.equal(event, statistics.calibration_error(norm=norm))
    assert abs(float(event - prediction)) > 1e-4  # it matters which is meant


def test_smooth_of_both_meanings(events):
    probs, labels = events
    prediction = calibration.binary_smooth_calibration_error(probs, labels, of="prediction")
    top_label = calibration.smooth_calibration_error(columns(probs), labels)
    torch.testing.assert_close(prediction, top_label, rtol=0, atol=1e-9)
    event = calibration.binary_smooth_calibration_error(probs, labels, of="event")
    flipped = calibration.binary_smooth_calibration_error(1 - probs, 1 - labels, of="event")
    torch.testing.assert_close(event, flipped, rtol=0, atol=1e-6)


def test_meaning_is_never_guessed(events):
    probs, labels = events
    for metric in (
        calibration.binary_calibration_error,
        calibration.binary_smooth_calibration_error,
    ):
        with pytest.raises(TypeError, match="of"):
            metric(probs, labels)
        with pytest.raises(ValueError, match=r"`of` must be .*, got 'top_label'"):
            metric(probs, labels, of="top_label")


def test_one_half_predicts_0():
    probs = torch.tensor([0.5])
    for answer, expected in ((0, 0.5), (1, 0.5)):
        labels = torch.tensor([answer])
        error = calibration.binary_calibration_error(probs, labels, of="prediction")
        assert float(error) == expected
        assert float(calibration.accuracy(columns(probs), labels)) == 1 - answer


def test_scores_agree_with_scikit_learn(events):
    probs, labels = events
    brier = calibration.binary_brier_score(probs, labels)
    assert float(brier) == pytest.approx(brier_score_loss(labels, probs), rel=1e-12)
    half = calibration.brier_score(columns(probs), labels) / 2
    torch.testing.assert_close(brier, half)
    loss = calibration.binary_negative_log_likelihood(probs.logit(), labels)
    assert float(loss) == pytest.approx(log_loss(labels, probs), rel=1e-12)


def test_extreme_logits():
    logits = torch.tensor([torch.inf, -torch.inf, 1000.0, -60.0])
    right = torch.tensor([1, 0, 1, 0])
    assert float(calibration.binary_negative_log_likelihood(logits, right)) < 1e-20
    assert calibration.binary_negative_log_likelihood(logits[2:], 1 - right[2:]) == 530
    assert calibration.binary_negative_log_likelihood(logits, 1 - right) == torch.inf


@given(
    st.integers(1, 30), st.integers(1, 4), st.integers(0, 2**31), st.sampled_from(["l1", "l2"]),
    st.booleans(),
)  # fmt: skip
def test_multilabel_is_the_mean_over_labels(num_samples, num_labels, seed, norm, debiased):
    generator = torch.Generator().manual_seed(seed)
    probs = torch.rand(num_samples, num_labels, generator=generator)
    labels = torch.randint(-1, 2, (num_samples, num_labels), generator=generator)
    labels[0, 0] = 1
    options = {"norm": norm, "bins": 4, "binning": "mass"}
    seen = [k for k in range(num_labels) if bool((labels[:, k] >= 0).any())]
    parts = []
    for k in seen:
        kept = labels[:, k] >= 0
        statistics = calibration.BinStatistics.from_scores(
            probs[kept, k], labels[kept, k], bins=4, binning="mass"
        )
        part = float(statistics.calibration_error(norm=norm, debiased=debiased, floor=False))
        parts.append(abs(part) * part if norm == "l2" else part)
    expected = sum(parts) / len(parts)
    if norm == "l2":
        expected = abs(expected) ** 0.5 * (1 if expected > 0 else -1)
    elif debiased:
        expected = max(expected, 0)
    value = calibration.multilabel_calibration_error(
        probs, labels, ignore_index=-1, debiased=debiased, **options
    )
    assert float(value) == pytest.approx(expected, abs=1e-12)


def test_class_wise_is_multilabel_of_one_hot_labels(make_predictions):
    logits, labels = make_predictions(120, 5)
    probs, one_hot = logits.softmax(-1), torch.nn.functional.one_hot(labels, 5)
    for options in ({}, {"norm": "l2", "debiased": True}, {"norm": "max", "binning": "mass"}):
        torch.testing.assert_close(
            calibration.multilabel_calibration_error(probs, one_hot, **options),
            calibration.classwise_calibration_error(probs, labels, **options),
            rtol=1e-12,
            atol=1e-14,
        )
    total = calibration.brier_score(probs, labels)
    torch.testing.assert_close(5 * calibration.binary_brier_score(probs, one_hot), total)


@pytest.mark.parametrize("metric", MULTILABEL)
def test_multilabel_layouts(metric):
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(4, 3, 5, 5, generator=generator)
    labels = torch.rand(4, 3, 5, 5, generator=generator) < probs
    rows, answers = (x.movedim(1, -1).flatten(0, -2) for x in (probs, labels))
    for bad in (torch.nan, 0.5):
        ignored = labels.long()
        ignored[1, 2, 3, :] = -100
        spoilt = probs.clone()
        spoilt[1, 2, 3, :] = bad
        assert metric(spoilt, ignored).isfinite()
    torch.testing.assert_close(metric(probs, labels), metric(rows, answers))
    torch.testing.assert_close(
        metric(probs, labels), metric(probs.movedim(1, -1), labels.movedim(1, -1), class_dim=-1)
    )


@pytest.mark.parametrize("block", [7, 10**6])
def test_maps_of_one_event(events, block, monkeypatch):
    monkeypatch.setattr("softtargets.calibration.events._BLOCK_ELEMENTS", block)
    probs, labels = events
    ignored = torch.arange(200) % 3 == 0
    maps = labels.masked_fill(ignored, 7).view(4, 5, 10)
    kept = probs[~ignored], labels[~ignored]
    for metric in (
        lambda *a, **k: calibration.binary_calibration_error(*a, of="event", **k),
        calibration.binary_brier_score,
        lambda *a, **k: calibration.binary_brier_decomposition(*a, **k).resolution,
        lambda p, y, **k: calibration.binary_negative_log_likelihood(p.logit(), y, **k),
    ):
        torch.testing.assert_close(
            metric(probs.view(4, 5, 10), maps, ignore_index=7), metric(*kept)
        )


OF_PROBS = [
    lambda p, y: calibration.binary_calibration_error(p, y, of="event"),
    calibration.binary_brier_score,
    calibration.binary_brier_decomposition,
    *MULTILABEL,
]


@pytest.mark.parametrize("metric", OF_PROBS)
def test_bad_events(metric):
    probs, labels = torch.full((2, 2), 0.5), torch.tensor([[0, 1], [1, 0]])
    for value, shown in ((1.5, "1.5"), (-0.1, "-0.1"), (torch.nan, "nan"), (torch.inf, "inf")):
        bad = probs.clone()
        bad[1, 0] = value
        with pytest.raises(ValueError, match=rf"`probs` must be in \[0, 1\], got {shown} at .*sig"):
            metric(bad, labels)
    with pytest.raises(ValueError, match=r"`labels` must be 0 or 1, got 2 at .*`ignore_index`"):
        metric(probs, 2 * labels)
    with pytest.raises(ValueError, match=r"`labels` must have the shape of `probs`, \(2, 2\)"):
        metric(probs, labels[0])
    with pytest.raises(ValueError, match="at least one label, all"):
        metric(probs, torch.full((2, 2), -100))
    with pytest.raises(ValueError, match="`probs` must hold at least one sample"):
        metric(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"`labels` must hold integers, got torch\.float32"):
        metric(probs, labels.float())
    with pytest.raises(TypeError, match="`probs` must be a floating point tensor"):
        metric(labels, labels)


def test_bad_events_of_other_kinds():
    with pytest.raises(ValueError, match="`logits` must hold no NaN, got one at 1"):
        calibration.binary_negative_log_likelihood(
            torch.tensor([0, torch.nan]), torch.tensor([0, 1])
        )
    with pytest.raises(ValueError, match="`class_dim` must be a dimension of `probs`"):
        calibration.multilabel_calibration_error(
            torch.ones(2), torch.ones(2, dtype=torch.bool), class_dim=1
        )
