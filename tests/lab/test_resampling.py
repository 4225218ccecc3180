"""Intervals over whole images or sentences beside loops over draws."""

import math

import numpy as np
import pytest
import torch

from softtargets.lab import seeds
from softtargets.lab.resampling import calibration_errors, estimate, over_units, ratio

SUMS = torch.tensor([[3.0, 4.0], [1.0, 10.0], [6.0, 7.0], [0.0, 2.0]])


@pytest.mark.parametrize("unit", ["images", "sentences"])
def test_the_interval_is_the_basic_bootstrap_of_whole_units(unit):
    found = ratio(SUMS, unit, resamples=200, seed=3)
    chosen = torch.randint(4, (200, 4), generator=seeds.generator(unit, 3)).numpy()
    sums = SUMS.double().numpy()
    draws = [sums[rows, 0].sum() / sums[rows, 1].sum() for rows in chosen]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.value == pytest.approx(10 / 23, rel=1e-12)
    assert found.low == pytest.approx(2 * found.value - high, rel=1e-12)
    assert found.high == pytest.approx(2 * found.value - low, rel=1e-12)


def test_without_draws_or_with_one_unit_there_is_no_interval():
    for sums, resamples in ((SUMS, 0), (SUMS[:1], 50)):
        found = over_units(sums, lambda x: x.sum(-1), "images", resamples=resamples, seed=0)
        assert (found.value, found.low, found.high) == (float(sums.sum()), None, None)
    confidence, right = torch.tensor([[0.6, 0.7], [0.8, 0.9]]), torch.tensor([[1, 0], [-100, -100]])
    for place in (slice(0, 1), slice(None)):  # the second holds nothing
        found = calibration_errors(confidence[place], right[place], resamples=1, seed=0)
        assert {(each.low, each.high) for each in found.values()} == {(None, None)}
        assert found["expected_calibration_error"].value == pytest.approx(0.55)
        sums = torch.tensor([[3.0, 4.0], [0.0, 0.0]])[place]
        for seed in range(5):
            assert ratio(sums, "images", resamples=1, seed=seed) == estimate(0.75, math.nan, 1.0)
    assert estimate(1.0, float("nan"), 2.0) == estimate(1.0, 0.0, float("nan"))


def test_calibration_errors_leave_out_what_is_not_there():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(6, 9, generator=generator)
    right = (torch.rand(6, 9, generator=generator) < confidence).long()
    shorter = torch.where(torch.arange(9) < 5, right, -100)
    cut = calibration_errors(confidence[:, :5], right[:, :5], resamples=20, seed=1)
    whole = calibration_errors(confidence, shorter, resamples=20, seed=1)
    assert whole == cut
    values, came = confidence[:, :5].double().numpy().ravel(), right[:, :5].numpy().ravel()
    bins = np.minimum((values * 15).astype(int), 14)
    gaps = [abs((came[bins == b] - values[bins == b]).sum()) / values.size for b in range(15)]
    assert whole["expected_calibration_error"].value == pytest.approx(sum(gaps), abs=1e-12)
    signed = whole["expected_calibration_error_debiased"]
    assert signed.value < whole["expected_calibration_error"].value
    assert signed.low is not None
