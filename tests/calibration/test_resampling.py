"""The weights have the law they claim, and every weighted sum is that of a loop over draws."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets import calibration
from softtargets.calibration import resampling
from softtargets.calibration.measurement import Measurement
from softtargets.calibration.resampling import PoissonWeights, WeightedSums, Weights, resampled
from softtargets.calibration.samples import Samples
from softtargets.calibration.selective_draws import SelectiveDraws
from softtargets.calibration.smooth import residual_grid


def weights_of(samples, draws, seed, rows=None):
    """`(N, B)`: the weights of a bootstrap, drawn in one block or several."""
    source, units = Weights(draws, seed), torch.arange(samples)
    parts = units.split(rows or samples)
    return torch.cat([b.weights.clone() for part in parts for _, b in source.blocks(part)])[:, 1:]


def test_the_law_of_the_weights():
    occurrences = torch.tensor(resampling._OCCURRENCES, dtype=torch.float64) / 2**16
    weight = torch.arange(len(occurrences)).double()
    moments = [float((occurrences * weight**power).sum()) for power in range(4)]
    assert moments[:3] == [1.0, 1.0, 2.0]
    assert moments[3] == pytest.approx(5, abs=1e-4)
    factorial = torch.lgamma(weight + 1).exp()
    torch.testing.assert_close(
        occurrences, torch.exp(-torch.ones(9)) / factorial, atol=4e-5, rtol=0
    )
    drawn = weights_of(400, 1000, seed=0)
    counts = torch.bincount(drawn.long().flatten(), minlength=9) / drawn.numel()
    torch.testing.assert_close(counts.double(), occurrences, atol=4e-3, rtol=0)
    correlations = torch.corrcoef(drawn[:20])
    assert float((correlations - torch.eye(20)).abs().max()) < 0.15


@given(st.integers(1, 9), st.integers(0, 2**40))
def test_blocks_do_not_change_weights(draws, seed):
    at_once = weights_of(12, draws, seed)
    for rows in (1, 3, 6):
        assert torch.equal(weights_of(12, draws, seed, rows), at_once)
    assert at_once.shape == (12, draws)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    weights_of(5, 5, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("pixels", "block"), [(1, 2**18), (5, 2**18), (5, 4 * 7), (30, 4 * 7)])
def test_sums_equal_a_loop(make_predictions, monkeypatch, pixels, block):
    """Every draw measured anew, on samples repeated as their images' weights say."""
    monkeypatch.setattr("softtargets.calibration.samples._BLOCK_ELEMENTS", block)
    logits, labels = make_predictions(60, 4, sharpness=1.4)
    units = torch.arange(60) // pixels
    if pixels > 1:
        ignored = torch.rand(60, generator=torch.Generator().manual_seed(0)) < 0.3
        ignored[pixels : 2 * pixels] = pixels == 5  # an image without a label
        images = labels.where(~ignored, -100).view(-1, pixels)
        samples = Samples.of(logits.view(-1, pixels, 4), images, "logits", class_dim=-1)
        logits, labels, units = logits[~ignored], labels[~ignored], units[~ignored]
        units = units.unique(return_inverse=True)[1]
    else:
        samples = Samples.of(logits, labels, "logits")
    measured = Measurement(samples, bins=6, draws=5, seed=3)
    assert measured.num_units == int(units.max()) + 1
    weights = weights_of(measured.num_units, 5, seed=3)[units]
    weights[:, weights.sum(0) == 0] = 1
    probs = logits.softmax(-1)
    for d in range(5):
        index = torch.arange(len(labels)).repeat_interleave(weights[:, d].long())
        again = (probs[index], labels[index])
        expected = torch.stack(
            [
                calibration.accuracy(logits[index], labels[index]),
                calibration.negative_log_likelihood(logits[index], labels[index]),
                calibration.brier_score(*again),
            ]
        )
        torch.testing.assert_close(measured.drawn_means[:, d], expected)
        shares = torch.bincount(labels[index], minlength=4) / len(index)
        torch.testing.assert_close(measured.drawn_label_shares[:, d], shares.double())
        for model, build in (
            (measured.noisy.whole.model, calibration.BinStatistics.top_label),
            (measured.noisy.brier.model, calibration.BinStatistics.class_wise),
        ):
            filled = build(probs, labels, bins=6).counts.flatten() > 0
            gaps = build(*again, bins=6).signed_gaps.flatten()[filled]
            torch.testing.assert_close(model.gaps + model.noise[:, d], gaps)
    scores, errors = measured.confidences, (~measured.hits).double()
    selective = resampled(
        lambda w: torch.stack([(w * errors).sum(-1), (w * scores).sum(-1)], -1) / w.sum(-1, True),
        units,
        draws=5,
        seed=3,
    )
    source = PoissonWeights(measured.num_units, 5, 3, torch.int32).block(5)
    source[source.sum(-1) == 0] = 1
    source = source[:, units]
    expected = torch.stack([source @ errors.int(), (source.double() @ scores)], -1)
    torch.testing.assert_close(selective, expected / source.sum(-1, keepdim=True))


def test_smooth_residuals_equal_a_loop(make_predictions):
    logits, labels = make_predictions(50, 3)
    measured = Measurement(Samples.of(logits, labels, "logits"), bins=6, draws=3, seed=1)
    weights = weights_of(50, 3, seed=1)
    drawn = measured._weights.averages(measured._smooth._sums)
    scores, hits = measured.confidences, measured.hits.double()
    for d in range(3):
        index = torch.arange(50).repeat_interleave(weights[:, d].long())
        grid = residual_grid(scores[index], hits[index] - scores[index], 512)
        torch.testing.assert_close(drawn[:, d], grid)


@pytest.mark.parametrize("levels", [1, 3, 10**9])
def test_selective_risk_equals_a_loop(levels):
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(80, generator=generator) < 0.7
    top = 0.5 + torch.randint(levels, (80,), generator=generator).double() / (2 * levels)
    probs, labels = torch.stack([top, 1 - top], 1), (~right).long()
    labels[top == 0.5] = 0  # the first of equal classes is the prediction
    drawn = resampled(SelectiveDraws(top, labels != 0), torch.arange(80), draws=6, seed=2)
    weights = resampled(lambda each: each.clone(), torch.arange(80), draws=6, seed=2)
    for values, weight in zip(drawn, weights, strict=True):
        index = torch.arange(80).repeat_interleave(weight)
        again = (probs[index], labels[index])
        expected = torch.stack(
            [
                calibration.area_under_risk_coverage(*again),
                calibration.excess_area_under_risk_coverage(*again),
                calibration.risk_at_coverage(*again, coverage=0.8),
            ]
        )
        torch.testing.assert_close(values, expected)


def test_any_statistic_in_blocks(monkeypatch):
    values = torch.arange(30, dtype=torch.float64)

    def mean(weights):
        return (weights * values).sum(-1) / weights.sum(-1)

    at_once = resampled(mean, torch.arange(30), draws=9, seed=0)
    monkeypatch.setattr(resampling, "_BLOCK_ELEMENTS", 64)
    assert torch.equal(resampled(mean, torch.arange(30), draws=9, seed=0), at_once)
    assert at_once.shape == (9,)


def test_a_draw_without_samples_is_the_samples():
    weights = Weights(200, seed=0)
    sums = WeightedSums(1, 200)
    ((_, block),) = weights.blocks(torch.arange(1))
    assert bool((block.weights == 0).any())
    sums.add(torch.full((1, 1), 3.0, dtype=torch.float64), block)
    assert torch.equal(weights.averages(sums), torch.full((1, 200), 3.0, dtype=torch.float64))
    assert bool((resampled(lambda w: w.sum(-1), torch.arange(1), draws=200, seed=0) > 0).all())


@pytest.mark.parametrize("units", [range(9), [0, 0, 1, 1, 1, 2, 3, 3, 4]])
def test_sparse_sums_equal_dense_ones(units):
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(7, (40,), generator=generator)
    sample = torch.randint(9, (40,), generator=generator)
    values = torch.randn(40, generator=generator, dtype=torch.float64)
    ((_, weights),) = Weights(4, seed=0).blocks(torch.tensor(units))
    dense = torch.zeros(9, 7, dtype=torch.float64)
    dense.index_put_((sample, row), values, accumulate=True)
    one, other = WeightedSums(7, 4), WeightedSums(7, 4)
    one.add(dense, weights)
    other.add_sparse(row, sample, values, weights)
    torch.testing.assert_close(one.matrix, other.matrix)


def test_dtypes_of_weights():
    whole, wide = (
        PoissonWeights(6, 3, 0, dtype).block(3) for dtype in (torch.int32, torch.float64)
    )
    assert whole.dtype == torch.int32
    assert torch.equal(whole.double(), wide)


MEMORY = """
import resource, torch
from softtargets import calibration
logits = torch.randn(60_000, 200, generator=torch.Generator().manual_seed(0))
labels = logits.argmax(-1)
calibration.evaluate(logits[:500], labels[:500], bootstrap=200)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
calibration.evaluate(logits, labels, bootstrap=200)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_memory_is_bounded():
    """The logits take 46 MB; in float64, or drawn as a matrix of samples, 90 MB or more."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 60
