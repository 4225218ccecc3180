"""The smooth calibration error against its definition, integrated and solved by brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets import calibration
from softtargets.calibration import smooth
from tests.calibration import agreement


def defined_at(scores, residuals, width, points=4001):
    """SmECE at a bandwidth: |mean of residuals times reflected Gaussians|, trapezoid rule."""
    times = np.linspace(0, 1, points)
    kernel = np.zeros((points, len(scores)))
    for shift in range(-2 * math.ceil(5 * width), 2 * math.ceil(5 * width) + 1, 2):
        for image in (shift + scores, shift - scores):
            kernel += np.exp(-(((times[:, None] - image) / width) ** 2) / 2)
    smoothed = (kernel * residuals).mean(1) / (width * math.sqrt(2 * math.pi))
    return np.trapezoid(np.abs(smoothed), times)


def defined(scores, outcomes):
    scores = np.asarray(scores, dtype=float)
    residuals = np.asarray(outcomes, dtype=float) - scores
    low, high = 0.0, 1.0
    while high - low > 1e-8:
        middle = (low + high) / 2
        above = defined_at(scores, residuals, middle) > middle
        low, high = (middle, high) if above else (low, middle)
    return low


def ours(scores, outcomes):
    scores = torch.as_tensor(scores, dtype=torch.float64)
    return float(smooth.smooth_error(scores, torch.as_tensor(outcomes)))


@pytest.mark.parametrize("size", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(size, seed):
    generator = np.random.default_rng(seed)
    scores = generator.random(size) ** 0.5
    outcomes = generator.random(size) < scores**2
    if size > 2:  # the ends, where the kernel is reflected
        scores[:3], outcomes[:3] = (0, 1, 1), (True, False, True)
    assert ours(scores, outcomes) == pytest.approx(defined(scores, outcomes), abs=1e-6)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12),
    st.sampled_from([0.01, 0.1, 0.5]),
)
def test_equals_the_definition_at_a_bandwidth(pairs, width):
    scores = np.array([score for score, _ in pairs])
    residuals = np.array([hit for _, hit in pairs]) - scores
    grid = smooth.residual_grid(torch.from_numpy(scores), torch.from_numpy(residuals), 2**15)
    value = float(smooth.error_at(smooth.cosine_transform(grid), width))
    assert value == pytest.approx(defined_at(scores, residuals, width), abs=1e-5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_is_a_fixed_point_between_its_bounds(pairs):
    scores, outcomes = map(list, zip(*pairs, strict=True))
    value = ours(scores, outcomes)
    residuals = [hit - score for score, hit in pairs]
    assert value >= abs(sum(residuals)) / len(pairs) - 1e-12
    assert value <= sum(map(abs, residuals)) / len(pairs) + 1e-12
    shuffled = ours(scores[::-1], outcomes[::-1])
    assert shuffled == pytest.approx(value, abs=1e-9)


def test_closed_forms():
    assert ours([1, 1, 0], [True, True, False]) == 0
    assert ours([1, 0], [False, True]) == pytest.approx(defined([1, 0], [0, 1]), abs=1e-6)
    assert ours([1, 1], [False, False]) == 1
    # Residuals of one sign: their mean, whatever the bandwidth.
    assert ours([0.9, 0.6, 0.3], [False, False, False]) == pytest.approx(0.6, abs=1e-12)
    # Smoothed, residuals of both signs may become one-sided: still their mean.
    both = [0.92, 0.9, 0.91], [True, False, False]
    assert ours(*both) == pytest.approx(0.91 - 1 / 3, abs=1e-12)
    assert defined(*both) == pytest.approx(0.91 - 1 / 3, abs=1e-6)
    # Three of four at 0.75: calibrated, although no bin edge is near.
    assert ours([0.75] * 4, [True, True, True, False]) < 1e-11


def test_small_errors_of_many_samples_are_exact():
    """Noise alone: the value is small, so the grid has to be fine."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200_000, generator=generator, dtype=torch.float64)
    outcomes = torch.rand(200_000, generator=generator, dtype=torch.float64) < scores
    value = ours(scores, outcomes)
    assert value < 0.01
    grid = smooth.residual_grid(scores, outcomes.double() - scores, 2**20)
    finest = float(smooth.smooth_error_on_grid(grid))
    assert value == pytest.approx(finest, abs=1e-6)


def test_top_label_is_what_is_measured(make_predictions):
    logits, labels = make_predictions(300, 5, sharpness=2.0)
    probs = logits.softmax(-1)
    confidence, predicted = probs.max(-1)
    value = calibration.smooth_calibration_error(probs, labels)
    assert float(value) == ours(confidence, predicted == labels)
    assert value.dtype == torch.float64
    assert float(value) > 0.1  # over-confident


def test_moves_less_than_the_confidences():
    """Binned errors jump where a confidence crosses an edge; this one is Lipschitz."""
    labels = torch.tensor([0, 1])

    def columns(shift):
        p = torch.tensor([2 / 3 - shift, 2 / 3 + shift], dtype=torch.float64)
        return torch.stack([p, 1 - p], 1)

    binned = [float(calibration.expected_calibration_error(columns(d), labels)) for d in (0, 1e-6)]
    even = [float(calibration.smooth_calibration_error(columns(d), labels)) for d in (0, 1e-6)]
    assert abs(binned[0] - binned[1]) > 0.3
    assert abs(even[0] - even[1]) < 1e-5


def test_most_confidences_near_1(shared_data):
    """Where a peer's grid loses track of residuals; see `test_agreement`."""
    scores, outcomes = agreement.top_label(*agreement.network(shared_data, "c10_wrn16_4"))
    value = ours(scores, outcomes)
    assert value == pytest.approx(
        defined_at(scores, outcomes - scores, value, points=401), abs=1e-4
    )
    assert value == pytest.approx(float((scores - outcomes).mean()), abs=1e-6)
