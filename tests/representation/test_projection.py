import dataclasses
import math

import pytest
import torch

from softtargets.representation import penultimate_projection

TEMPLATES = torch.tensor([[1.0, 2.0], [4.0, 2.0], [1.0, 6.0], [9.0, 9.0]])
BIAS = torch.tensor([0.5, 0.5, 0.5, 0.0])


def problem(dtype=torch.float64, classes=5, width=7, samples=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, width, generator=generator, dtype=dtype)
    weight = torch.randn(classes, width, generator=generator, dtype=dtype)
    bias = torch.randn(classes, generator=generator, dtype=dtype)
    return features, weight, bias, torch.arange(samples) % classes


def rotation(width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]


def test_by_hand():
    # With equal biases the plane is that of the first two axes, and the origin the first template.
    features = torch.tensor([[4.0, 3.0], [1.0, 1.0], [0.0, 2.0], [5.0, 5.0]])
    seen = penultimate_projection(features, TEMPLATES, BIAS, (0, 1, 2), torch.tensor([1, 2, 0, 3]))
    assert seen.templates.tolist() == [[0, 0], [3, 0], [0, 4]]
    assert seen.coordinates.tolist() == [[3, 1], [0, -1], [-1, 0]]
    assert seen.labels.tolist() == [1, 2, 0]
    assert seen.index.tolist() == [0, 1, 2]
    assert seen.sides.tolist() == [3, 4, 5]


def test_is_the_nearest_point_of_the_plane():
    features, weight, bias, labels = problem()
    seen = penultimate_projection(features, weight, bias, (3, 0, 4), labels)
    points = torch.cat([features, torch.ones(len(features), 1)], -1)[seen.index]
    corners = torch.cat([weight, bias[:, None]], -1)[[3, 0, 4]]
    spanned = (corners[1:] - corners[0]).T
    steps = torch.linalg.lstsq(spanned, (points - corners[0]).T).solution
    nearest = corners[0] + (spanned @ steps).T
    torch.testing.assert_close(
        torch.cdist(seen.coordinates, seen.templates), torch.cdist(nearest, corners)
    )
    torch.testing.assert_close(seen.sides, torch.pdist(corners))


def test_signs_are_fixed():
    for seed in range(20):
        seen = penultimate_projection(*problem(seed=seed)[:3], (0, 1, 2), problem()[3])
        assert seen.templates[0].tolist() == [0, 0]
        assert seen.templates[1, 0] > 0
        assert seen.templates[1, 1] == 0
        assert seen.templates[2, 1] > 0


def test_classes_may_be_a_tensor():
    *given, labels = problem()
    seen = penultimate_projection(*given, torch.tensor([4, 2, 1]), labels)
    assert seen.classes == (4, 2, 1)
    expected = penultimate_projection(*given, (4, 2, 1), labels)
    assert torch.equal(seen.coordinates, expected.coordinates)


def test_only_classes_asked_for_and_not_ignored_ones():
    features, weight, bias, labels = problem()
    labels = torch.where(torch.arange(len(labels)) % 7 == 0, -100, labels)
    seen = penultimate_projection(features, weight, bias, (4, 2, 1), labels)
    assert set(seen.labels.tolist()) == {1, 2, 4}
    assert torch.equal(labels[seen.index], seen.labels)
    assert len(seen.coordinates) == int(sum((labels == each).sum() for each in (1, 2, 4)))


def test_rotating_features_and_weights_changes_nothing():
    features, weight, bias, labels = problem()
    turn = rotation(7)
    seen = penultimate_projection(features, weight, bias, (0, 1, 2), labels)
    turned = penultimate_projection(features @ turn, weight @ turn, bias, (0, 1, 2), labels)
    torch.testing.assert_close(turned.coordinates, seen.coordinates)
    torch.testing.assert_close(turned.templates, seen.templates)


def test_a_constant_added_to_the_biases_moves_all_samples_together():
    features, weight, bias, labels = problem()
    seen = penultimate_projection(features, weight, bias, (0, 1, 2), labels)
    moved = penultimate_projection(features, weight, bias + 3, (0, 1, 2), labels)
    torch.testing.assert_close(moved.templates, seen.templates)
    shifts = moved.coordinates - seen.coordinates
    torch.testing.assert_close(shifts, shifts[:1].expand_as(shifts))
    assert shifts[0].norm() > 0.1


def test_other_orders_of_the_classes_give_the_same_distances():
    features, weight, bias, labels = problem()
    one = penultimate_projection(features, weight, bias, (0, 1, 2), labels)
    other = penultimate_projection(features, weight, bias, (2, 0, 1), labels)
    order = [one.classes.index(each) for each in other.classes]
    torch.testing.assert_close(
        torch.cdist(other.coordinates, other.templates),
        torch.cdist(one.coordinates, one.templates)[:, order],
    )


def test_samples_of_another_part_lie_in_the_same_plane():
    features, weight, bias, labels = problem()
    all_at_once = penultimate_projection(features, weight, bias, (0, 1, 2), labels)
    half = penultimate_projection(features[20:], weight, bias, (0, 1, 2), labels[20:])
    torch.testing.assert_close(half.coordinates, all_at_once.coordinates[-len(half.index) :])


def test_without_bias_is_a_bias_of_zero_for_distances_among_samples():
    features, weight, _, labels = problem()
    without = penultimate_projection(features, weight, None, (0, 1, 2), labels)
    zero = penultimate_projection(features, weight, torch.zeros(5), (0, 1, 2), labels)
    torch.testing.assert_close(without.coordinates, zero.coordinates)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_precision_is_computed_in_double(dtype):
    features, weight, bias, labels = problem(dtype)
    seen = penultimate_projection(features, weight, bias, (0, 1, 2), labels)
    exact = penultimate_projection(
        features.double(), weight.double(), bias.double(), (0, 1, 2), labels
    )
    torch.testing.assert_close(seen.coordinates, exact.coordinates, rtol=0, atol=0)


def test_features_that_need_a_gradient_are_read_only():
    features, weight, bias, labels = problem()
    seen = penultimate_projection(
        features.requires_grad_(), weight.requires_grad_(), bias, (0, 1, 2), labels
    )
    assert not seen.coordinates.requires_grad
    assert not seen.templates.requires_grad


def test_templates_on_a_line():
    features, weight, _, labels = problem()
    weight[2] = 2 * weight[1] - weight[0]
    with pytest.raises(ValueError, match=r"those of \(0, 1, 2\) lie on one line .*other classes"):
        penultimate_projection(features, weight, None, (0, 1, 2), labels)
    weight[1] = weight[0]
    with pytest.raises(ValueError, match="lie on one line"):
        penultimate_projection(features, weight, None, (0, 1, 3), labels)
    with pytest.raises(ValueError, match="1 dimensions"):
        penultimate_projection(features[:, :1], weight[:, :1], None, (0, 1, 3), labels)


def test_the_bias_alone_can_span_the_plane():
    features, weight, bias, labels = problem()
    weight[2] = 2 * weight[1] - weight[0]
    seen = penultimate_projection(features, weight, bias, (0, 1, 2), labels)
    assert bool(seen.coordinates.isfinite().all())


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"classes": (0, 1, 1)}, ValueError, r"three different classes, got \(0, 1, 1\)"),
        ({"classes": (0, 1)}, ValueError, "three classes, got 2; a plane"),
        ({"classes": (0, 1, 5)}, ValueError, r"in 0 \.\. 4, got 5"),
        ({"classes": (0, 1, -1)}, ValueError, "`classes`"),
        ({"classes": (0, 1, 2.0)}, TypeError, "`classes`"),
        ({"labels": torch.zeros(40, dtype=torch.int64)}, ValueError, "class 1 has no sample"),
        ({"labels": torch.zeros(40)}, TypeError, "`labels` must hold integers"),
        ({"labels": torch.zeros(39, dtype=torch.int64)}, ValueError, r"shape \(40,\)"),
        ({"labels": [0] * 40}, TypeError, "`labels` must be a tensor"),
        ({"features": torch.ones(40, 6)}, ValueError, "7 columns of `weight`, got 6"),
        ({"features": torch.ones(40, 7, 1)}, ValueError, "`.flatten.1.`"),
        ({"features": torch.ones(40, 7).long()}, TypeError, "`features` must be a floating"),
        ({"features": torch.full((40, 7), math.nan)}, ValueError, r"finite, got nan at \(0, 0\)"),
        ({"weight": torch.ones(7)}, ValueError, r"`weight` must have shape \(K, D\)"),
        ({"bias": torch.ones(4)}, ValueError, r"`bias` must have shape \(5,\)"),
        ({"bias": torch.full((5,), torch.inf)}, ValueError, "`bias` must be finite"),
        ({"bias": [0.0] * 5}, TypeError, "`bias` must be a floating point tensor, got list"),
    ],
)
def test_errors(changed, error, message):
    features, weight, bias, labels = problem()
    given = {
        "features": features,
        "weight": weight,
        "bias": bias,
        "classes": (0, 1, 2),
        "labels": labels,
    }
    with pytest.raises(error, match=message):
        penultimate_projection(**(given | changed))


def test_is_frozen():
    seen = penultimate_projection(*problem()[:3], (0, 1, 2), problem()[3])
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.classes = (1, 2, 3)
