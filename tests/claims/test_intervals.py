"""The bootstrap over seeds and test samples, against what is known of the data it is given."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from softtargets.claims import intervals
from softtargets.claims.intervals import DRAWS, Paired, bootstrap_interval, mean, sample_weights


def measured(outcomes):
    """As `measures` makes it of `(N, S)` numbers."""
    rows = torch.as_tensor(outcomes, dtype=torch.float64)
    weights = sample_weights(len(rows)).double()
    return Paired(rows.mean(0), weights @ rows / len(rows))


def test_seeds_alone_give_students_interval():
    values = torch.tensor(np.random.default_rng(0).normal(size=40))
    value, low, high = bootstrap_interval(values, values.expand(DRAWS, -1))
    error = float(values.std()) / math.sqrt(40)
    half = stats.t.ppf(0.975, 39) * error
    assert value == pytest.approx(float(values.mean()))
    assert high - value == pytest.approx(half, rel=0.12)
    assert value - low == pytest.approx(half, rel=0.12)


def test_samples_alone_give_their_standard_error():
    column = (np.random.default_rng(1).random(800) < 0.3).astype(float)
    value, low, high = measured(np.repeat(column[:, None], 50, 1)).interval()
    half = stats.t.ppf(0.975, 49) * math.sqrt(value * (1 - value) / 800)
    assert high - value == pytest.approx(half, rel=0.12)
    assert value - low == pytest.approx(half, rel=0.12)


def test_pairing_takes_out_what_both_share():
    generator = np.random.default_rng(2)
    common = generator.normal(size=(300, 6)) * 5
    first = measured(common + 0.1 + 0.01 * generator.normal(size=(300, 6)))
    second = measured(common)
    _, low, high = (first - second).interval()
    assert 0.09 < low < 0.1 < high < 0.11
    assert (first.interval().high - first.interval().low) > 1


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator, held, trials = np.random.default_rng(3), 0, 200
    for _ in range(trials):
        samples = generator.normal(size=(100, 1))
        of_seeds = 0.1 * generator.normal(size=(1, 5))
        rows = 0.3 + samples + of_seeds + 0.5 * generator.normal(size=(100, 5))
        _, low, high = measured(rows).interval()
        held += low < 0.3 < high
    assert held / trials >= 0.93


def test_arithmetic_is_by_seed_and_by_draw():
    a, b = Paired.fixed([1.0, 2.0]), Paired.fixed([3.0, 5.0])
    assert (b - a).values.tolist() == [2.0, 3.0]
    assert ((a + b) * 2).draws[7].tolist() == [8.0, 14.0]
    assert mean([a, b]).values.tolist() == [2.0, 3.5]


def test_one_seed_has_no_interval():
    value, low, high = Paired.fixed([0.4]).interval()
    assert value == 0.4
    assert math.isnan(low)
    assert math.isnan(high)


def test_draws_hold_as_many_samples_as_there_are():
    weights = sample_weights(37)
    assert weights.shape == (DRAWS, 37)
    assert (weights.sum(1) == 37).all()
    assert torch.equal(weights, intervals.sample_weights.__wrapped__(37))
