import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from softtargets.representation import class_separation


def problem(samples=60, width=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (samples,), generator=generator)
    labels[:3] = torch.arange(3)
    centres = 2 * torch.randn(3, width, generator=generator, dtype=dtype)
    noise = torch.randn(samples, width, generator=generator, dtype=dtype)
    return centres[labels] + noise, labels


def by_pairs(features, labels):
    """The paper's sums over pairs, one by one."""
    x, y = features.numpy(), labels.numpy()
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    unit = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    distance = 1 - unit @ unit.T
    classes = np.unique(y)
    between = [[distance[np.ix_(y == j, y == k)].mean() for k in classes] for j in classes]
    return 1 - np.mean(np.diag(between)) / np.mean(between)


def test_cosine_separation_is_the_papers_sum_over_pairs():
    features, labels = problem()
    found = class_separation(features, labels)
    assert found.cosine_separation == pytest.approx(by_pairs(features, labels), rel=1e-12)


def test_a_row_of_zeros_has_cosine_zero():
    features, labels = problem()
    features[[0, 7, 8]] = 0
    found = class_separation(features, labels)
    assert found.cosine_separation == pytest.approx(by_pairs(features, labels), rel=1e-12)


def test_scatters_are_those_of_a_discriminant_analysis():
    features, labels = problem()
    found = class_separation(features, labels)
    groups = [features[labels == each] for each in range(3)]
    within = sum(len(each) * each.var(0, correction=0).sum() for each in groups) / len(features)
    total = features.var(0, correction=0).sum()
    assert found.within_scatter == pytest.approx(float(within), rel=1e-12)
    assert found.between_scatter == pytest.approx(float(total - within), rel=1e-12)
    ratio = float((total - within) / within)
    assert found.scatter_ratio == pytest.approx(ratio, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_what_changes_nothing(seed, factor):
    features, labels = problem(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(labels), generator=generator)
    changed = factor * (features @ torch.linalg.qr(square)[0])[order]
    before, after = class_separation(features, labels), class_separation(changed, 9 - labels[order])
    assert after.cosine_separation == pytest.approx(before.cosine_separation, rel=1e-9)
    assert after.scatter_ratio == pytest.approx(before.scatter_ratio, rel=1e-9)
    assert 0 <= before.cosine_separation <= 1


def test_lengths_do_not_count_in_the_cosine():
    features, labels = problem()
    lengths = torch.logspace(-3, 3, len(labels), dtype=torch.float64)[:, None]
    stretched = class_separation(lengths * features, labels).cosine_separation
    assert stretched == pytest.approx(class_separation(features, labels).cosine_separation)


def test_tight_clusters_far_from_the_origin_keep_their_digits():
    features, labels = problem()
    far = 1e6 + features
    exact = class_separation(features, labels)
    assert class_separation(far, labels).scatter_ratio == pytest.approx(
        exact.scatter_ratio, rel=1e-9
    )


def test_tiny_features_have_directions():
    features, labels = problem()
    tiny = class_separation(1e-200 * features, labels).cosine_separation
    assert tiny == pytest.approx(class_separation(features, labels).cosine_separation)


def test_many_rows_are_read_in_blocks(monkeypatch):
    features, labels = problem()
    whole = class_separation(features, labels)
    monkeypatch.setattr("softtargets.representation.separation._BLOCK_ELEMENTS", 35)
    blocks = class_separation(features, labels)
    assert blocks.cosine_separation == pytest.approx(whole.cosine_separation, rel=1e-13)
    assert blocks.scatter_ratio == pytest.approx(whole.scatter_ratio, rel=1e-13)


def test_points_are_infinitely_separate():
    found = class_separation(torch.eye(3)[torch.tensor([0, 0, 1, 2])], torch.tensor([0, 0, 1, 2]))
    assert found.scatter_ratio == math.inf
    assert found.cosine_separation == 1


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (torch.eye(3), torch.ones(3).long(), ValueError, "two classes, got only class 1"),
        (torch.eye(3), torch.tensor([0, 1, -100]), ValueError, "0 or more, got -100; drop"),
        (torch.ones(3, 2), torch.arange(3), ValueError, "differ in direction"),
        (torch.full((3, 2), torch.inf), torch.arange(3), ValueError, "must be finite"),
        (torch.ones(0, 2), torch.arange(0), ValueError, "not be empty"),
        (torch.eye(3), torch.arange(4), ValueError, r"shape \(3,\)"),
        (torch.eye(3).long(), torch.arange(3), TypeError, "`features` must be a floating"),
        (torch.eye(3), torch.eye(3)[0].bool(), TypeError, "`labels` must hold integers"),
    ],
)
def test_errors(features, labels, error, message):
    with pytest.raises(error, match=message):
        class_separation(features, labels)
