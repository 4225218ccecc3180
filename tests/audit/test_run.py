"""The numbers of an audit against those of the calibration room, and the sample behind T."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from softtargets.audit import predictions, sample
from softtargets.audit.errors import AuditError
from softtargets.audit.intervals import gap_estimate
from softtargets.audit.measure import by_class
from softtargets.audit.predictions import Predictions, block_rows
from softtargets.audit.run import audit, read
from softtargets.audit.sample import Sample
from softtargets.audit.tally import joined, tally
from softtargets.calibration import (
    TemperatureScaling,
    area_under_risk_coverage,
    evaluate,
    excess_area_under_risk_coverage,
    reliability_curve,
    risk_at_coverage,
)
from tests.audit.conftest import draw


def of(scores, labels, kind="logits"):
    """Predictions that are in memory already."""
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels)

    def blocks():
        rows = block_rows(scores.shape[1])
        yield from zip(scores.split(rows), labels.split(rows), strict=True)

    return Predictions(
        path=Path("x.npz"),
        key=kind,
        kind=kind,
        num_classes=scores.shape[1],
        num_rows=len(scores),
        note="",
        labels="x.npz: labels",
        read=blocks,
    )


@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_values_are_those_of_the_whole_arrays(kind, monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 300)
    logits, labels = map(torch.from_numpy, draw(1000, 7, sharpness=1.7))
    logits = logits.double()
    probs = logits.softmax(-1)
    found = audit(read(of(logits if kind == "logits" else probs, labels, kind)))
    report, numbers = evaluate(logits, labels), found.measures
    for name in ("accuracy", "negative_log_likelihood", "brier_score"):
        value, expected = getattr(numbers, name), getattr(report, name)
        assert value.value == pytest.approx(expected.value, rel=1e-12)
        assert value.low == pytest.approx(expected.low, abs=0.02 * abs(expected.value))
        assert value.high == pytest.approx(expected.high, abs=0.02 * abs(expected.value))
    error, expected = numbers.expected_calibration_error, report.expected_calibration_error_debiased
    assert error.value == pytest.approx(expected.value, rel=1e-9)
    assert (error.low, error.high) == pytest.approx((expected.low, expected.high), abs=0.004)
    plain = report.expected_calibration_error.value
    assert numbers.expected_calibration_error_plain.value == pytest.approx(plain, rel=1e-9)
    parts = numbers.overconfidence_error.value, numbers.underconfidence_error.value
    assert sum(parts) == pytest.approx(plain, rel=1e-9)
    assert parts[0] - parts[1] == pytest.approx(numbers.gap.value, rel=1e-9)
    assert numbers.gap.value == pytest.approx(numbers.confidence.value - numbers.accuracy.value)
    classwise = report.classwise_calibration_error_debiased.value
    assert numbers.classwise_calibration_error.value == pytest.approx(classwise, rel=1e-9)
    for name in (
        "overconfidence_error",
        "underconfidence_error",
        "smooth_calibration_error",
        "classwise_calibration_error",
    ):
        found_ends, ends = getattr(numbers, name), getattr(report, name)
        assert (found_ends.low, found_ends.high) == pytest.approx((ends.low, ends.high), abs=0.005)
    area = area_under_risk_coverage(probs, labels)
    assert numbers.area_under_risk_coverage.value == pytest.approx(float(area), rel=1e-12)
    excess = excess_area_under_risk_coverage(probs, labels)
    assert numbers.excess_area.value == pytest.approx(float(excess), rel=1e-9)
    ends = report.excess_area_under_risk_coverage
    assert (numbers.excess_area.low, numbers.excess_area.high) == pytest.approx(
        (ends.low, ends.high), rel=0.05
    )
    curve = reliability_curve(probs, labels)
    torch.testing.assert_close(found.curve.accuracy, curve.accuracy)
    assert torch.equal(found.curve.count, curve.count)
    risk = found.risk_coverage
    for place in (0, 50, len(risk.coverage) - 1):
        coverage = float(risk.coverage[place])
        expected = risk_at_coverage(probs, labels, coverage=coverage)
        assert float(risk.risk[place]) == pytest.approx(float(expected), rel=1e-9)
    assert float(risk.coverage[-1]) == 1


def test_temperature_is_judged_on_rows_it_was_not_fitted_on():
    logits, labels = map(torch.from_numpy, draw(6000, 5, sharpness=2.0))
    scaling = audit(read(of(logits, labels))).scaling
    assert scaling.temperature == TemperatureScaling().fit(logits, labels).temperature
    assert scaling.rows == scaling.before.num_samples == scaling.after.num_samples == 6000
    assert scaling.before.negative_log_likelihood.value == pytest.approx(
        evaluate(logits, labels, bootstrap=0).negative_log_likelihood.value, rel=1e-12
    )
    best = evaluate(logits / scaling.temperature, labels, bootstrap=0).negative_log_likelihood.value
    # Fitted on other rows the NLL is a little above its minimum on these.
    assert best < scaling.after.negative_log_likelihood.value < best + 1e-3
    assert scaling.before.expected_calibration_error.low > 0.1
    assert scaling.after.expected_calibration_error.low == 0


def test_scaling_that_does_not_help_is_refused():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 3, generator=generator)
    labels = torch.randint(3, (400,), generator=generator)
    # Halves that want opposite temperatures: what one half learns hurts the other.
    for seed in range(40):
        scaling = audit(read(of(logits * 0.02, labels)), seed=seed).scaling
        if not scaling.improves:
            assert scaling.temperature == 1
            assert scaling.after == scaling.before
            return
    pytest.fail("no seed gives halves that contradict each other")


def test_a_calibration_file_decides_the_temperature():
    logits, labels = draw(3000, sharpness=3.0)
    other, others = draw(2000, sharpness=0.5, seed=1)
    fitted = read(replace(of(other, others), path=Path("validation.npz")))
    scaling = audit(read(of(logits, labels)), fitted).scaling
    expected = TemperatureScaling().fit(torch.from_numpy(other), torch.from_numpy(others))
    assert expected.temperature < 1
    # These rows want T = 3: that T lowers their NLL is not so, and it is refused.
    assert (scaling.temperature, scaling.improves, scaling.source) == (
        1,
        False,
        "validation.npz: logits",
    )


def test_a_calibration_file_of_other_classes_is_refused():
    fitted = read(replace(of(*draw(100, 4)), path=Path("validation.npz")))
    with pytest.raises(AuditError, match=r"logits has 4 classes, .* logits has 5; fit on"):
        audit(read(of(*draw(100))), fitted)


def test_rows_no_temperature_mends_are_said_wherever_they_are():
    logits, labels = map(torch.from_numpy, draw(60, 4))
    lost = logits.clone()
    lost[3, labels[3]] = -torch.inf
    for fitted, judged in ((lost, logits), (logits, lost)):
        found = audit(read(of(judged, labels)), read(of(fitted, labels, "logits2")))
        assert "1 of 60 rows give the true class the probability 0" in found.not_scaled


def test_few_errors_are_not_taken_for_certainty():
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(300):
        sure = 1 - 0.04 * torch.rand(50, generator=generator).double()
        right = torch.rand(50, generator=generator) < sure
        probs, labels = torch.stack([sure, 1 - sure], 1), (~right).long()
        gap = gap_estimate(tally([(probs, labels)], "probs"))
        held += gap.low <= 0 <= gap.high
        assert gap.low + gap.high == pytest.approx(2 * gap.value)
    assert held >= 0.92 * 300  # without errors, as often here, the scatter alone is near 0


def test_few_rows_are_not_fitted():
    logits, labels = draw(15)
    found = audit(read(of(logits, labels)))
    assert found.scaling is None
    assert "15 rows are too few" in found.not_scaled


def test_classes_are_judged_where_predicted():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 6, generator=generator)
    logits[:, 5] = -20  # never predicted
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
    guilty = logits.argmax(-1) == 2
    logits[guilty, 2] += 4  # much too sure wherever it predicts 2
    classes = audit(read(of(logits, labels))).classes
    assert (classes[0].index, classes[0].clear) == (2, True)
    assert (classes[-1].index, classes[-1].predictions, classes[-1].clear) == (5, 0, False)
    probs = logits.softmax(-1)
    mine = probs.argmax(-1) == 2
    assert classes[0].predictions == int(mine.sum())
    assert classes[0].confidence == pytest.approx(float(probs[mine].amax(-1).mean()), rel=1e-5)
    assert classes[0].precision == pytest.approx(float((labels[mine] == 2).double().mean()))
    assert classes[0].gap.low < classes[0].gap.value < classes[0].gap.high
    assert sum(row.labels for row in classes) == 4000


def test_intervals_of_classes_hold_for_all_of_them_at_once():
    wrong = 0
    for seed in range(60):
        logits, labels = draw(1500, 15, seed=seed)
        wrong += any(row.clear for row in by_class(tally(of(logits, labels).read(), "logits")))
    assert wrong <= 6  # 5 % of 60 is 3


def test_the_sample_is_the_same_for_all_blocks_and_models_and_even(monkeypatch):
    numbers = torch.arange(5000.0).unsqueeze(-1).expand(-1, 2)
    kept = []
    for rows in (1, 7, 5000):
        taken = Sample(2, size=1000, seed=3)
        parts = zip(numbers.split(rows), numbers[:, 0].long().split(rows), strict=True)
        assert sum(len(block) for block, _ in taken.watched(parts)) == 5000
        assert torch.equal(taken.scores[:, 0].long(), taken.rows)
        assert torch.equal(taken.labels, taken.rows)
        kept.append(taken.rows)
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept[0], kept[2])
    assert len(kept[0].unique()) == 1000
    counts = np.zeros(300)
    for seed in range(400):
        taken = Sample(2, size=30, seed=seed)
        list(taken.watched([(numbers[:300], numbers[:300, 0].long())]))
        counts[taken.rows.numpy()] += 1
    # Binomial(400, 0.1): mean 40, deviation 6.
    assert counts.mean() == 40
    assert counts.std() == pytest.approx(6, rel=0.15)
    assert abs(counts[:30].mean() - 40) < 4


def test_of_many_rows_only_a_sample_is_scaled(monkeypatch):
    monkeypatch.setattr(sample, "SAMPLE_ROWS", 100)
    monkeypatch.setattr(Sample.__init__, "__kwdefaults__", {"size": 100, "seed": 0, "unit": "row"})
    logits, labels = draw(1000)
    found = audit(read(of(logits, labels)))
    assert (found.num_samples, found.scaling.rows) == (1000, 100)


def test_half_precision_probabilities_are_scaled_in_single():
    logits, labels = map(torch.from_numpy, draw(2000, sharpness=2.0))
    probs = logits.softmax(-1).half()
    found = audit(read(of(probs, labels, "probs")))
    expected = TemperatureScaling().fit(probs.float().log(), labels).temperature
    assert found.scaling.temperature == pytest.approx(expected, rel=1e-6)


def test_tallies_join():
    logits, labels = map(torch.from_numpy, draw(300))
    whole = tally([(logits, labels)], "logits")
    parts = [
        tally([(logits[part], labels[part])], "logits") for part in (slice(90), slice(90, 300))
    ]
    together = joined(*parts)
    for name in ("confidence", "right", "predicted", "negative_log_likelihood", "brier_score"):
        assert torch.equal(getattr(together, name), getattr(whole, name))
    assert torch.equal(together.by_class.counts, whole.by_class.counts)
    torch.testing.assert_close(
        together.by_class.calibration_error(), whole.by_class.calibration_error()
    )


def test_classes_that_are_always_right_have_intervals_with_their_value_in_them():
    logits = 8 * torch.eye(3).repeat(7, 1)
    labels = torch.arange(3).repeat(7)
    for row in audit(read(of(logits, labels))).classes:
        assert row.precision == 1
        assert row.gap.low <= row.gap.value <= row.gap.high
