"""The report: its values are those of the functions, its intervals cover what they claim."""

import json
import math

import pytest
import torch

from softtargets import calibration

ERRORS = [
    "brier_reliability",
    "expected_calibration_error",
    "expected_calibration_error_debiased",
    "overconfidence_error",
    "underconfidence_error",
    "root_mean_square_calibration_error",
    "maximum_calibration_error",
    "smooth_calibration_error",
    "classwise_calibration_error",
    "classwise_calibration_error_debiased",
]
RISKS = [
    "area_under_risk_coverage",
    "excess_area_under_risk_coverage",
    "risk_at_80_percent_coverage",
]
ESTIMATES = [
    "accuracy",
    "negative_log_likelihood",
    "brier_score",
    "brier_resolution",
    "brier_uncertainty",
    *ERRORS,
    *RISKS,
]


def test_values_are_those_of_the_functions(make_predictions):
    logits, labels = make_predictions(200, sharpness=1.5)
    probs = logits.softmax(-1)
    report = calibration.evaluate(logits, labels, bins=12, bootstrap=50)
    terms = calibration.brier_decomposition(probs, labels, bins=12)
    both, binned = (probs, labels), {"bins": 12}
    expected = {
        "accuracy": calibration.accuracy(logits, labels),
        "negative_log_likelihood": calibration.negative_log_likelihood(logits, labels),
        "brier_score": calibration.brier_score(*both),
        "brier_reliability": terms.reliability,
        "brier_resolution": terms.resolution,
        "brier_uncertainty": terms.uncertainty,
        "overconfidence_error": calibration.overconfidence_error(*both, **binned),
        "underconfidence_error": calibration.underconfidence_error(*both, **binned),
        "root_mean_square_calibration_error": calibration.expected_calibration_error(
            *both, **binned, norm="l2"
        ),
        "maximum_calibration_error": calibration.expected_calibration_error(
            *both, **binned, norm="max"
        ),
        "smooth_calibration_error": calibration.smooth_calibration_error(*both),
        "area_under_risk_coverage": calibration.area_under_risk_coverage(*both),
        "excess_area_under_risk_coverage": calibration.excess_area_under_risk_coverage(*both),
        "risk_at_80_percent_coverage": calibration.risk_at_coverage(*both, coverage=0.8),
    }
    for debiased, suffix in ((False, ""), (True, "_debiased")):
        for name in ("expected_calibration_error", "classwise_calibration_error"):
            function = getattr(calibration, name)
            expected[name + suffix] = function(probs, labels, bins=12, debiased=debiased)
    assert expected.keys() == set(ESTIMATES)
    for name, value in expected.items():
        assert getattr(report, name).value == pytest.approx(float(value), rel=1e-10)
    assert (report.num_samples, report.num_classes) == (200, 10)


def test_blocks_change_nothing(make_predictions, monkeypatch):
    logits, labels = make_predictions(60, 5)
    at_once = calibration.evaluate(logits, labels, bootstrap=40)
    for module, elements in (("resampling", 41 * 7), ("samples", 5 * 3), ("gaps", 40 * 2)):
        monkeypatch.setattr(f"softtargets.calibration.{module}._BLOCK_ELEMENTS", elements)
    blocked = calibration.evaluate(logits, labels, bootstrap=40)
    for name in ESTIMATES:
        first, second = getattr(at_once, name), getattr(blocked, name)
        for end in ("value", "low", "high"):
            assert getattr(first, end) == pytest.approx(getattr(second, end), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("sharpness", "num_samples"), [(1.0, 500), (1.5, 2000)])
def test_intervals_cover(make_predictions, sharpness, num_samples):
    """30 models each; a 95 % interval misses more than 5 of them one time in 300."""
    logits, _ = make_predictions(200_000, sharpness=sharpness, seed=999)
    scores, predicted = logits.softmax(-1).max(-1)
    chance = (logits / sharpness).softmax(-1).gather(1, predicted.unsqueeze(1)).squeeze(1)
    truth = float(calibration.BinStatistics.from_scores(scores, chance).calibration_error())
    truth = 0.0 if sharpness == 1 else truth
    covered = {"expected": 0, "accuracy": 0}
    right = float(chance.mean())
    for seed in range(30):
        logits, labels = make_predictions(num_samples, sharpness=sharpness, seed=seed)
        report = calibration.evaluate(logits, labels, bootstrap=120)
        error = report.expected_calibration_error
        covered["expected"] += error.low <= truth <= error.high
        covered["accuracy"] += report.accuracy.low <= right <= report.accuracy.high
    assert min(covered.values()) >= 25


def test_temperature(make_predictions):
    logits, labels = make_predictions(400, sharpness=2.0)
    split = make_predictions(400, sharpness=2.0, seed=1)
    report = calibration.evaluate(logits, labels, temperature_from=split, bootstrap=100)
    scaling = calibration.TemperatureScaling().fit(*split)
    assert report.temperature == scaling.temperature
    assert not report.temperature_at_bound
    alone = calibration.evaluate(scaling(logits), labels, bootstrap=100)
    assert report.scaled == alone  # the same resamples
    assert report.scaled.accuracy == report.accuracy
    assert report.scaled.negative_log_likelihood.value < report.negative_log_likelihood.value


def test_temperature_at_bound(make_predictions):
    logits, labels = make_predictions(50, 2)
    split = (torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    report = calibration.evaluate(logits, labels, temperature_from=split, bootstrap=0)
    assert report.temperature == 0.05
    assert report.temperature_at_bound
    assert "not determined" in str(report)
    with pytest.raises(ValueError, match="`temperature_from` must have logits of 2 classes, got 3"):
        calibration.evaluate(logits, labels, temperature_from=(torch.zeros(2, 3), split[1]))


def test_equal_calls_give_equal_reports(make_predictions):
    logits, labels = make_predictions(100)
    assert calibration.evaluate(logits, labels) == calibration.evaluate(logits, labels)
    first, second = (
        calibration.evaluate(logits, labels, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 2)
    )
    assert first != second
    state = torch.get_rng_state()
    calibration.evaluate(logits, labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_bootstrap_no_interval(make_predictions):
    report = calibration.evaluate(*make_predictions(100), bootstrap=0)
    for name in ESTIMATES:
        assert math.isnan(getattr(report, name).low)
        assert math.isnan(getattr(report, name).high)
    assert "[" not in str(report)


def test_to_dict_and_table(make_predictions):
    logits, labels = make_predictions(100)
    report = calibration.evaluate(logits, labels, temperature_from=(logits, labels), bootstrap=20)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["accuracy"]["value"] == report.accuracy.value
    assert plain["scaled"]["brier_score"]["low"] == report.scaled.brier_score.low
    assert plain["scaled"]["scaled"] is None
    table = str(report).splitlines()
    assert table[0].startswith("100 samples, 10 classes with 95 % intervals; on the right after")
    assert len(table) == len(ESTIMATES) + 2
    for each in (report, report.scaled):
        assert f"{each.brier_score.value:.4f}  [" in table[3]


def test_accuracy_has_wilsons_interval_and_stays_open_at_one(make_predictions):
    logits, _ = make_predictions(5)
    report = calibration.evaluate(logits, logits.argmax(1), bootstrap=20)
    low = 5 / (5 + 1.959964**2)
    assert (report.accuracy.low, report.accuracy.high) == pytest.approx((low, 1.0), abs=1e-6)


def test_probabilities_are_refused_where_logits_are_wanted(make_predictions):
    logits, labels = make_predictions(100)
    probs = logits.softmax(-1)
    for call in (
        lambda: calibration.evaluate(probs, labels),
        lambda: calibration.evaluate(logits, labels, temperature_from=(probs, labels)),
        lambda: calibration.negative_log_likelihood(probs.float(), labels),
        lambda: calibration.TemperatureScaling().fit(probs, labels),
    ):
        with pytest.raises(ValueError, match="of probabilities pass the logarithm"):
            call()
    calibration.evaluate(probs.log(), labels, bootstrap=0)


def test_a_temperature_is_not_a_validation_split(make_predictions):
    with pytest.raises(TypeError, match="`temperature_from` must be a pair"):
        calibration.evaluate(*make_predictions(10), temperature_from=1.5)


def test_masked_label_has_no_finite_loss(make_predictions):
    logits, labels = make_predictions(30)
    logits[0, labels[0]] = -torch.inf
    report = calibration.evaluate(logits, labels, bootstrap=20)
    assert report.negative_log_likelihood.value == math.inf
    assert math.isnan(report.negative_log_likelihood.low)
    assert report.to_dict()["negative_log_likelihood"] == {"value": None, "low": None, "high": None}
    assert math.isfinite(report.brier_score.high)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.eye(3).log(), [0, 1, 2]),
        (torch.eye(3).log(), [1, 2, 0]),
        (torch.zeros(1, 5), [3]),
        (torch.zeros(4, 1), [0, 0, 0, 0]),
    ],
)
def test_extremes(logits, labels):
    report = calibration.evaluate(logits, torch.tensor(labels), bootstrap=50)
    for name in ERRORS:
        estimate = getattr(report, name)
        assert 0 <= estimate.low <= estimate.high
        assert 0 <= estimate.value <= (2 if name == "brier_reliability" else 1)


def test_bad_options(make_predictions):
    logits, labels = make_predictions(10)
    with pytest.raises(ValueError, match="`bootstrap` must be at least 0, got -1; 0 means no"):
        calibration.evaluate(logits, labels, bootstrap=-1)
    with pytest.raises(TypeError, match="`bootstrap` must be an integer, got float"):
        calibration.evaluate(logits, labels, bootstrap=10.0)
    with pytest.raises(ValueError, match="`bins` must be at least 1"):
        calibration.evaluate(logits, labels, bins=0)
    with pytest.raises(TypeError, match=r"`generator` must be a torch\.Generator, got int"):
        calibration.evaluate(logits, labels, generator=0)
    with pytest.raises(ValueError, match="`generator` must be on the CPU, got meta"):
        calibration.evaluate(logits, labels, generator=MetaGenerator())


class MetaGenerator(torch.Generator):
    device = torch.device("meta")
