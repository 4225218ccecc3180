"""Test inversion, the model of gaps and their noise, and what is true of every interval."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from softtargets import calibration
from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.gaps import (
    GapModel,
    RootError,
    excess_of,
    fitted_rates,
    mean_absolute_deviation,
)
from softtargets.calibration.intervals import (
    Centred,
    percentile_interval,
    reflected_interval,
    scales_of,
    unbiased,
    widest,
)
from softtargets.calibration.inversion import scale_interval, unbiased_scale

NORMAL = torch.special.ndtri(torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64))


def statistics(counts, scores, outcomes):
    counts = torch.tensor(counts)
    return BinStatistics(
        edges=torch.linspace(0, 1, counts.shape[-1] + 1, dtype=torch.float64),
        counts=counts,
        confidence_sums=counts * torch.tensor(scores, dtype=torch.float64),
        outcome_sums=torch.tensor(outcomes, dtype=torch.float64),
    )


def model_of(binned, draws=400, seed=0):
    """A model whose noise is normal with the variance of binomial counts."""
    generator = torch.Generator().manual_seed(seed)
    counts = binned.counts.flatten().clamp_min(1)
    rate = binned.outcome_sums.flatten() / counts
    spread = (binned.counts.flatten() * rate * (1 - rate)).sqrt() / binned.num_samples
    noise = torch.randn(len(counts), draws, dtype=torch.float64, generator=generator)
    gaps = binned.signed_gaps.flatten().unsqueeze(-1)
    return GapModel(binned, gaps + spread.unsqueeze(-1) * noise)


@given(st.integers(1, 400), st.just(0.0) | st.floats(1e-290, 1))  # below, scipy overflows
def test_mean_absolute_deviation_is_that_of_the_binomial(count, rate):
    found = mean_absolute_deviation(
        torch.tensor([float(count)], dtype=torch.float64), torch.tensor([rate], dtype=torch.float64)
    )
    values = range(count + 1)
    masses = binom.pmf(values, count, rate)
    expected = math.fsum(m * abs(v - count * rate) for m, v in zip(masses, values, strict=True))
    assert float(found) == pytest.approx(expected, rel=1e-8, abs=1e-10)


@given(st.floats(-3, 50), st.floats(0.01, 3))
def test_inversion_of_a_shift(observed, spread):
    """Draws t + noise: the interval is observed - quantiles, from 0 on."""
    low, high = scale_interval(observed, lambda t: t + spread * NORMAL)
    expected = observed - spread * float(torch.quantile(NORMAL, 0.975))
    assert low == pytest.approx(max(0.0, expected), rel=1e-4, abs=1e-4)
    counted = max(observed, spread * float(torch.quantile(NORMAL, 0.16)))
    level = 0.025 * float((spread * NORMAL <= counted).double().mean())
    expected = counted - spread * float(torch.quantile(NORMAL, level))
    assert high == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert 0 <= low <= high
    assert unbiased_scale(observed, lambda t: t + spread * NORMAL) == pytest.approx(
        max(0.0, observed), rel=1e-4, abs=1e-4
    )


def test_nothing_observed_and_no_noise_is_a_point():
    assert scale_interval(0.0, lambda t: torch.zeros(10)) == (0.0, 0.0)


@pytest.mark.parametrize("sure", [0.55, 0.9, 0.99])
def test_predictions_that_are_all_right_have_an_interval(sure):
    top = sure + torch.linspace(-1e-3, 1e-3, 200, dtype=torch.float64)
    probs = torch.stack([top, 1 - top], 1)
    found = calibration.estimate_calibration_error(probs, torch.zeros(200).long())
    assert found.value == pytest.approx(1 - sure)
    assert found.high == pytest.approx(1 - sure, abs=1e-3)
    # With 1 % of errors none is seen in 200 with a probability of 13 %.
    assert found.low < 0.99 - sure + 1e-9
    # With 5 % of errors, 0.004 %.
    assert found.low > 0.95 - sure


def test_a_scale_that_changes_nothing_ends():
    assert scale_interval(1.0, lambda t: torch.zeros(10))[1] == 2.0**40


def test_reflected_and_percentile_intervals():
    draws = torch.arange(201, dtype=torch.float64)
    assert percentile_interval(draws) == pytest.approx((5.0, 195.0))
    assert reflected_interval(3.0, draws - 50) == pytest.approx((3 - 145.0, 3 + 45.0))
    noise = draws - 100
    ends = widest([Centred(0.0, noise), Centred(10.0, noise / 2)])
    assert ends == pytest.approx((-95.0, 95.0))


def test_fitted_rates_equal_a_loop():
    """James and Stein over the bins that hold samples; classes share means bin by bin."""
    binned = statistics(
        [[40, 0, 9], [30, 4, 15], [20, 0, 29], [44, 5, 0], [35, 10, 4], [30, 9, 10]],
        [[0.1, 0, 0.8], [0.1, 0.5, 0.8], [0.2, 0, 0.9], [0.1, 0.4, 0], [0.1, 0.5, 0.7], [0.1] * 3],
        [[9, 0, 4], [3, 1, 14], [0, 0, 20], [8, 5, 0], [1, 2, 1], [3, 1, 9]],
    )
    fitted = fitted_rates(binned)
    for b in range(3):
        rows = [k for k in range(6) if binned.counts[k, b] > 0]
        n = [int(binned.counts[k, b]) for k in rows]
        score = [float(binned.confidence_sums[k, b]) / m for k, m in zip(rows, n, strict=True)]
        rate = [float(binned.outcome_sums[k, b]) / m for k, m in zip(rows, n, strict=True)]
        gap = [r - c for r, c in zip(rate, score, strict=True)]
        shared = sum(m * g for m, g in zip(n, gap, strict=True)) / sum(n)
        noise = 0.0
        for m, c, r in zip(n, score, rate, strict=True):
            guess = min(max(c + shared, 0.0), 1.0)
            trust = m * guess * (1 - guess) / (m * guess * (1 - guess) + 10)
            noise += trust * r * (1 - r) + (1 - trust) * guess * (1 - guess)
        seen = sum(m * (g - shared) ** 2 for m, g in zip(n, gap, strict=True))
        kept = max(0.0, 1 - max(len(rows) - 3, 0) / len(rows) * noise / seen)
        for k, g in zip(rows, gap, strict=True):
            assert float(fitted[k, b]) == pytest.approx(shared + kept * (g - shared), rel=1e-9)
    assert bool((fitted[binned.counts == 0] == 0).all())


def test_few_bins_are_not_shrunk():
    binned = statistics([10, 20, 30], [0.2, 0.5, 0.9], [4, 9, 25])
    expected = binned.signed_gaps * 60 / binned.counts
    torch.testing.assert_close(fitted_rates(binned), expected)


def test_without_any_gap_the_truths_follow_the_noise():
    binned = statistics([10, 20], [0.2, 0.5], [2, 10])
    expected = torch.tensor([0.16 / 10, 0.25 / 20], dtype=torch.float64).sqrt()
    torch.testing.assert_close(fitted_rates(binned), expected)
    low, high = calibration.intervals.inverted_interval(model_of(binned).error("l1"))
    assert low == 0 < high < 1


def test_errors_of_gaps_are_those_of_bins():
    binned = statistics([500, 300, 0, 200], [0.2, 0.5, 0, 0.9], [120, 90, 0, 150])
    model = model_of(binned)
    for part, norm in (("l1", "l1"), ("max", "max")):
        expected = float(binned.calibration_error(norm=norm))
        assert model.error(part).observed == pytest.approx(expected)
    root = RootError(model.error("l2"))
    assert root.observed == pytest.approx(float(binned.calibration_error(norm="l2")))
    assert root.truth_at(4.0) == pytest.approx(4 * root.truth_at(1.0))
    over, under = model.error("over"), model.error("under")
    for values in (
        lambda error: error.observed,
        lambda error: error.truth_at(0.7),
        lambda error: error.draws_at(0.7).sum(),
        lambda error: error.excess(0.7, drawn=True).sum(),
    ):
        total = values(over) + values(under)
        assert float(total) == pytest.approx(float(values(model.error("l1"))))


def test_noise_of_sparse_bins_is_the_models():
    """A bin in which nothing happened has no noise of its own, and far too little is drawn."""
    binned = statistics([2000, 2000], [0.001, 0.6], [0, 1200])
    drawn = binned.signed_gaps.unsqueeze(-1) + 1e-6 * torch.randn(2, 500, dtype=torch.float64)
    noise = GapModel(binned, drawn)
    (_, gaps), *_ = noise._drawn_blocks(0.0)
    expected = mean_absolute_deviation(
        torch.tensor([2000.0], dtype=torch.float64), torch.tensor([0.001], dtype=torch.float64)
    )
    trust = 2000 * 0.001 * 0.999 / (2000 * 0.001 * 0.999 + 10)
    drawn_size = float((drawn[0] - binned.signed_gaps[0]).abs().mean()) * 4000
    wanted = trust * drawn_size + (1 - trust) * float(expected)
    assert float(gaps[0].abs().mean()) * 4000 == pytest.approx(wanted)


def test_excess_is_that_of_folded_normals():
    x = torch.tensor([[0.3, 3.0], [-0.2, -2.0], [0.1, 4.0]], dtype=torch.float64)
    deviation, weights = (
        torch.tensor([0.2, 0.1, 0.3]).double(),
        torch.tensor([1.0, 2.0, 3.0]).double(),
    )
    spread = deviation * math.sqrt(math.pi / 2)
    found = excess_of(lambda: [(slice(0, 2), x[:2]), (slice(2, 3), x[2:])], deviation, weights)
    noise = float((weights * spread.square()).sum())
    for column, value in zip(x.T, found, strict=True):
        seen = float((weights * column.square()).sum())
        true = column.abs() * math.sqrt(max(0.0, 1 - noise / seen))
        folded = (true.unsqueeze(-1) + spread.unsqueeze(-1) * NORMAL).abs().mean(-1)
        assert float(value) == pytest.approx(float((folded - true).sum()), abs=2e-3)


def test_unbiased_estimates_on_average():
    """Of 200 samples of a calibrated model most of the plain error is noise; it is taken off."""
    estimates, plain = [], []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        rates = torch.tensor([0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
        hits = torch.binomial(torch.full((4,), 50.0).double(), rates, generator=generator)
        model = model_of(statistics([50] * 4, rates.tolist(), hits.tolist()), seed=seed)
        error = model.error("l1")
        estimates.append(unbiased(error, scales_of(error)[:1])[0].estimate)
        plain.append(error.observed)
    assert sum(plain) / 60 > 0.04
    assert abs(sum(estimates)) < sum(plain) / 2


@st.composite
def predictions(draw):
    size, classes = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 10**6))
    generator = torch.Generator().manual_seed(seed)
    logits = draw(st.sampled_from([0.0, 0.3, 3.0, 60.0])) * torch.randn(
        size, classes, generator=generator, dtype=torch.float64
    )
    labels = torch.randint(classes, (size,), generator=generator)
    return logits + 2, labels, seed


@given(predictions())
def test_every_interval_is_one(drawn):
    logits, labels, seed = drawn
    report = calibration.evaluate(
        logits, labels, bootstrap=30, generator=torch.Generator().manual_seed(seed)
    )
    largest = {"brier_score": 2, "brier_reliability": 2, "negative_log_likelihood": math.inf}
    for name in calibration.CalibrationReport.__slots__:
        estimate = getattr(report, name)
        if isinstance(estimate, calibration.Estimate):
            assert 0 <= estimate.low <= estimate.high, name
            # Resolution is bounded by the uncertainty, but its interval is not.
            assert estimate.high <= largest.get(name, 1) + 1e-9 or name == "brier_resolution"
    accuracy = report.accuracy
    assert accuracy.low <= accuracy.value <= accuracy.high


@given(predictions())
def test_one_error_by_itself_is_that_of_the_report(drawn):
    logits, labels, seed = drawn
    generators = [torch.Generator().manual_seed(seed) for _ in range(3)]
    report = calibration.evaluate(logits, labels, bootstrap=30, generator=generators[0])
    probs = logits.softmax(-1)
    for of, name, generator in (
        ("top_label", "expected", generators[1]),
        ("classes", "classwise", generators[2]),
    ):
        for suffix in ("", "_debiased"):
            expected = getattr(report, f"{name}_calibration_error{suffix}")
            found = calibration.estimate_calibration_error(
                probs,
                labels,
                of=of,
                debiased=bool(suffix),
                bootstrap=30,
                generator=generator.manual_seed(seed),
            )
            for end in ("value", "low", "high"):
                assert getattr(found, end) == pytest.approx(
                    getattr(expected, end), rel=1e-6, abs=1e-9
                )


def test_options_of_one_error(make_predictions):
    probs, labels = make_predictions(60, 4)[0].softmax(-1), make_predictions(60, 4)[1]
    estimate = calibration.estimate_calibration_error
    narrow = estimate(probs.bfloat16(), labels, bootstrap=20)
    assert 0 <= narrow.low <= narrow.high
    assert math.isnan(estimate(probs, labels, bootstrap=0).low)
    with pytest.raises(ValueError, match='`of` must be "top_label" or "classes", got \'top\''):
        estimate(probs, labels, of="top")
    with pytest.raises(ValueError, match="`bootstrap` must be at least 0, got -3"):
        estimate(probs, labels, bootstrap=-3)
    with pytest.raises(ValueError, match='`norm` must be "l1", "l2" or "max"'):
        estimate(probs, labels, norm="l3")


FUNCTIONS = {
    "top_label": calibration.expected_calibration_error,
    "classes": calibration.classwise_calibration_error,
}


@pytest.mark.parametrize("of", FUNCTIONS)
@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_every_norm_and_binning(make_predictions, of, binning, norm):
    """The value is the function's, and three times the logits are off beyond doubt."""
    logits, labels = make_predictions(1500, 4)
    ends = []
    for sharpness in (1, 3):
        both = ((sharpness * logits).softmax(-1), labels)
        found = calibration.estimate_calibration_error(
            *both, of=of, binning=binning, norm=norm, bootstrap=100
        )
        expected = FUNCTIONS[of](*both, binning=binning, norm=norm)
        assert found.value == pytest.approx(float(expected), rel=1e-9)
        ends.append((found.low, found.high))
    assert ends[0][0] < 0.02
    # One bin of a few samples may decide about the largest gap.
    assert norm == "max" or ends[0][1] < ends[1][0] < found.value < found.high
