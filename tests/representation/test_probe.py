import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from softtargets.representation import linear_probe


def problem(samples=150, width=6, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % classes
    centres = 0.8 * torch.randn(classes, width, generator=generator, dtype=torch.float64)
    scales = torch.logspace(-1, 1, width, dtype=torch.float64)
    noise = torch.randn(samples, width, generator=generator, dtype=torch.float64)
    return 3 + scales * (centres[labels] + noise), labels


def parts(features, labels):
    return features[:70], labels[:70], features[70:110], labels[70:110]


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_is_scikit_learns(penalty):
    features, labels = problem()
    x, y, held_out, truth = parts(features, labels)
    probe = linear_probe(x, y, held_out, truth, penalties=[penalty])
    centre = x.mean(0)
    scale = (x - centre).square().sum(-1).mean().sqrt()
    oracle = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-10, max_iter=10_000)
    oracle.fit(((x - centre) / scale).numpy(), y.numpy())
    np.testing.assert_allclose(probe.weight * scale, oracle.coef_, atol=1e-4)
    expected = oracle.predict_log_proba(((held_out - centre) / scale).numpy())
    found = probe.logits(held_out).log_softmax(-1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert probe.validation_nll == pytest.approx(-expected[range(40), truth].mean(), abs=1e-5)
    assert probe.accuracy(held_out, truth) == np.mean(expected.argmax(-1) == truth.numpy())
    assert probe.converged


def test_the_penalty_is_that_of_least_validation_nll():
    features, labels = problem()
    given = (features[:24], labels[:24], features[24:], labels[24:])
    tried = [1e-6, 1e-3, 1e-2, 1e-1, 10.0]
    alone = {each: linear_probe(*given, penalties=[each]).validation_nll for each in tried}
    probe = linear_probe(*given, penalties=tried)
    assert probe.penalty == min(alone, key=alone.get)
    assert probe.validation_nll == pytest.approx(min(alone.values()), abs=1e-5)
    assert not probe.at_bound
    assert linear_probe(*given, penalties=[100.0, 10.0]).at_bound


def test_moving_rotating_and_stretching_features_changes_nothing():
    features, labels = problem()
    generator = torch.Generator().manual_seed(5)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    moved = 40 * (features @ turn) - 7
    probe = linear_probe(*parts(features, labels))
    other = linear_probe(*parts(moved, labels))
    assert other.penalty == probe.penalty
    torch.testing.assert_close(
        other.logits(moved).softmax(-1), probe.logits(features).softmax(-1), rtol=0, atol=1e-4
    )


def test_separable_features_are_no_trouble():
    features, labels = torch.eye(3).repeat(10, 1), torch.arange(3).repeat(10)
    probe = linear_probe(features, labels, features, labels)
    assert probe.accuracy(features, labels) == 1
    assert probe.at_bound
    assert bool(probe.weight.isfinite().all())


def test_works_where_gradients_are_off():
    with torch.no_grad():
        probe = linear_probe(*parts(*problem()), penalties=[0.1])
    assert not probe.weight.requires_grad


X, Y, V, W = parts(*problem())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((X, Y, V[:, :5], W), ValueError, "6 columns of `features`, got 5"),
        ((X, Y, V, W[:5]), ValueError, "per row of `validation_features`"),
        ((X, Y, V, W + 1), ValueError, r"each class of 0 \.\. 4, class 4 has no sample"),
        ((X, 2 * Y, V, W), ValueError, "class 1 has no sample; number the classes"),
        ((X, 0 * Y, V, 0 * W), ValueError, "two classes, got one"),
        ((X, Y - 1, V, W), ValueError, "0 or more, got -1"),
        ((0 * X, Y, V, W), ValueError, "must differ, got equal rows"),
        ((X * math.nan, Y, V, W), ValueError, "`features` must be finite"),
        ((X.long(), Y, V, W), TypeError, "`features` must be a floating"),
    ],
)
def test_errors(given, error, message):
    with pytest.raises(error, match=message):
        linear_probe(*given)


@pytest.mark.parametrize("penalties", [[], [0.0], [1e-3, -1.0], [math.inf]])
def test_penalties_are_above_zero(penalties):
    with pytest.raises(ValueError, match="`penalties` must be one or more finite numbers above 0"):
        linear_probe(X, Y, V, W, penalties=penalties)


def test_test_features_must_fit():
    probe = linear_probe(X, Y, V, W, penalties=[0.1])
    with pytest.raises(ValueError, match="must have 6 columns, as in the fit, got 5"):
        probe.logits(X[:, :5])
    with pytest.raises(ValueError, match=r"shape \(70,\)"):
        probe.accuracy(X, Y[:5])
