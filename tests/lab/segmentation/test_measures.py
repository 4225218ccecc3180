"""Overlaps and boundaries beside loops over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch.nn import functional

from softtargets.lab.segmentation import measures
from tests.engine.test_eager import Sizes

VOID = 9


def maps(seed, shape=(2, 7, 9), classes=3, void=0.15):
    """Blocky masks with void pixels, and predictions that are right at most of them."""
    generator = np.random.default_rng(seed)
    count, height, width = shape
    coarse = generator.integers(classes, size=(count, -(-height // 3), -(-width // 3)))
    masks = coarse.repeat(3, 1).repeat(3, 2)[:, :height, :width].copy()
    predicted = masks.copy()
    wrong = generator.random(shape) < 0.3
    predicted[wrong] = generator.integers(classes, size=shape)[wrong]
    masks[generator.random(shape) < void] = VOID
    return torch.from_numpy(predicted), torch.from_numpy(masks).byte()


def square(i, j, height, width, d):
    """The pixels of the square of 2 d + 1 around a pixel, those beyond the image as None."""
    for y in range(i - d, i + d + 1):
        for x in range(j - d, j + d + 1):
            yield (y, x) if 0 <= y < height and 0 <= x < width else None


def rim(region, void, d):
    """Pixels of a region with one in their square that is neither of it nor void."""
    height, width = region.shape
    found = np.zeros_like(region)
    for i, j in np.argwhere(region):
        for at in square(i, j, height, width, d):
            if at is None or (not region[at] and not void[at]):
                found[i, j] = True
    return found


@given(seed=some.integers(0, 10_000), width=some.integers(1, 3))
def test_boundary_overlaps(seed, width):
    predicted, masks = maps(seed)
    found = measures.boundary_overlaps(predicted, masks, 3, VOID, width)
    for n in range(len(masks)):
        void = masks[n].numpy() == VOID
        for k in range(3):
            rims = [
                rim((given[n].numpy() == k) & ~void, void, width) for given in (masks, predicted)
            ]
            expected = [(rims[0] & rims[1]).sum(), (rims[0] | rims[1]).sum()]
            assert found[n, k].tolist() == expected


def one_hot_overlaps(predicted, masks, num_classes, ignore_index, width):
    """The same with a map for each class: few lines, much memory."""
    void = (masks == ignore_index).unsqueeze(1)
    classes = torch.arange(num_classes).reshape(1, -1, 1, 1)
    regions = [(each.unsqueeze(1) == classes) & ~void for each in (masks, predicted)]
    rims = []
    for region in regions:
        outside = functional.pad((~(region | void)).float(), (width,) * 4, value=1.0)
        rims.append(region & (functional.max_pool2d(outside, 2 * width + 1, stride=1) > 0))
    counts = [(rims[0] & rims[1]).sum((-2, -1)), (rims[0] | rims[1]).sum((-2, -1))]
    return torch.stack(counts, -1)


@given(
    seed=some.integers(0, 10_000),
    shape=some.tuples(some.integers(1, 3), some.integers(1, 14), some.integers(1, 14)),
    classes=some.sampled_from([2, 3, 9, 40, 255]),
    width=some.integers(0, 16),
    void=some.sampled_from([0.0, 0.1, 0.9, 1.0]),
)
def test_boundary_overlaps_are_those_of_one_map_per_class(seed, shape, classes, width, void):
    predicted, masks = maps(seed, shape, classes, void)
    # Void may have the number of a class in its place, and models may still predict that class.
    found = measures.boundary_overlaps(predicted, masks, classes, VOID, width)
    assert found.dtype == torch.int64
    assert torch.equal(found, one_hot_overlaps(predicted, masks, classes, VOID, width))


def test_boundary_overlaps_hold_no_map_per_class():
    predicted, masks = maps(0, (2, 60, 80), 255, 0.1)
    with Sizes() as sizes:
        measures.boundary_overlaps(predicted, masks, 255, VOID, 2)
    assert max(sizes.storages.values()) <= 8 * 2 * (60 + 4) * (80 + 4)


@given(seed=some.integers(0, 10_000), width=some.integers(1, 3))
def test_near_boundary(seed, width):
    _, masks = maps(seed)
    found = measures.near_boundary(masks, VOID, width)
    values = masks.numpy()
    for n, i, j in np.ndindex(values.shape):
        around = {values[n][at] for at in square(i, j, 7, 9, width) if at is not None} - {VOID}
        assert bool(found[n, i, j]) == (values[n, i, j] != VOID and len(around) > 1)


@given(seed=some.integers(0, 10_000))
def test_confusion_and_intersection_over_union(seed):
    predicted, masks = maps(seed)
    found = measures.confusion(predicted, masks, 4, VOID)
    expected = np.zeros((2, 4, 4), dtype=int)
    for n, i, j in np.ndindex(masks.shape):
        if masks[n, i, j] != VOID:
            expected[n, int(masks[n, i, j]), int(predicted[n, i, j])] += 1
    assert np.array_equal(found.numpy(), expected)
    ratios = measures.intersection_over_union(measures.overlaps(found.sum(0)))
    values = []
    for k in range(4):
        of_class = (masks == k) & (masks != VOID)
        said = (predicted == k) & (masks != VOID)
        both, either = int((of_class & said).sum()), int((of_class | said).sum())
        if either:
            values.append(both / either)
            assert float(ratios[k]) == pytest.approx(both / either)
        else:
            assert math.isnan(ratios[k])
    # Class 3 is in neither, and takes no part in the mean.
    assert len(values) == 3
    assert float(measures.mean_over_classes(ratios)) == pytest.approx(np.mean(values))


def test_a_right_prediction_has_no_other_boundary_and_a_shifted_one_has():
    masks = torch.zeros(1, 20, 30, dtype=torch.uint8)
    masks[:, 5:15, 10:20] = 1
    exact = measures.boundary_overlaps(masks.long(), masks, 2, VOID, 2)
    assert torch.equal(exact[..., 0], exact[..., 1])
    # The frame of the square: 10 x 10 without the 6 x 6 in its middle.
    assert exact[0, 1].tolist() == [64, 64]
    shifted = measures.boundary_overlaps(masks.long().roll(2, 2), masks, 2, VOID, 2)
    ratios = measures.intersection_over_union(shifted.sum(0))
    whole = measures.intersection_over_union(
        measures.overlaps(measures.confusion(masks.long().roll(2, 2), masks, 2, VOID)).sum(0)
    )
    assert float(ratios[1]) < float(whole[1])


def test_void_makes_no_boundary():
    masks = torch.zeros(1, 9, 9, dtype=torch.uint8)
    masks[:, :, 4] = VOID
    assert not measures.near_boundary(masks, VOID, 3).any()
    masks[:, :, 5:] = 1
    near = measures.near_boundary(masks, VOID, 2)
    assert near[0, 0].tolist() == [False, False, False, True, False, True, False, False, False]
