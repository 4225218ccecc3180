"""Policies whose target depends on the model's own logits: MaxSup and bootstrapping."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.testing import check_policy
from tests import reference
from tests.smoothing.cases import assert_copies, assert_loss, batch, one_hot

K = 5


def suppressed(given, logits, weight):
    result = given.copy()
    for row, g, z in zip(result, given, logits.numpy(), strict=True):
        row += g.sum() * weight * (np.full(K, 1 / K) - np.eye(K)[z.argmax()])
    return result


def bootstrapped(given, logits, beta, hard):
    result = beta * given
    for row, g, z in zip(result, given, logits.numpy(), strict=True):
        said = np.eye(K)[z.argmax()] if hard else reference.softmax(z)
        row += g.sum() * (1 - beta) * said
    return result


CASES = {
    "max": (lambda: st.MaxSup(0.3), lambda g, z: suppressed(g, z, 0.3)),
    "max, 0": (lambda: st.MaxSup(0), lambda g, z: g),
    "soft": (lambda: st.Bootstrapping(), lambda g, z: bootstrapped(g, z, 0.95, False)),
    "soft, 0.4": (lambda: st.Bootstrapping(0.4), lambda g, z: bootstrapped(g, z, 0.4, False)),
    "hard": (lambda: st.Bootstrapping(hard=True), lambda g, z: bootstrapped(g, z, 0.8, True)),
    "hard, 1": (lambda: st.Bootstrapping(1.0, hard=True), lambda g, z: g),
    "soft, 1": (lambda: st.Bootstrapping(1.0), lambda g, z: g),
    "soft, 0": (lambda: st.Bootstrapping(0.0), lambda g, z: bootstrapped(g, z, 0.0, False)),
}


@pytest.mark.parametrize("kind", CASES)
def test_battery(kind):
    check_policy(CASES[kind][0], K, distribution=not kind.startswith("max"), compiles=True)


@pytest.mark.parametrize("kind", CASES)
def test_it_is_its_formula(kind):
    make, expected = CASES[kind]
    logits, labels = batch(K)
    given = one_hot(labels, K)
    assert_loss(make(), logits, labels, expected(given, logits), given)
    assert_copies(make(), st.Target.from_labels(labels, K), logits)


@pytest.mark.parametrize("kind", CASES)
def test_mixed_labels_and_rows_keep_their_entries(kind):
    make, expected = CASES[kind]
    logits, labels = batch(K)
    other = labels.flip(0)
    given = 0.3 * one_hot(labels, K) + 0.7 * one_hot(other, K)
    mixed = st.Target.from_labels(labels, K, dtype=torch.float64).mix(
        st.Target.from_labels(other, K, dtype=torch.float64), 0.3
    )
    assert_loss(make(), logits, mixed, expected(given, logits), given)
    assert_loss(make(), logits, torch.tensor(given), expected(given, logits), given)


@given(some.floats(0, 3))
def test_max_sup_is_the_loss_of_its_paper(weight):
    logits, labels = batch(K, ignored=False)
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = plain + weight * (logits.amax(-1) - logits.mean(-1))
    loss = st.cross_entropy(logits, labels, smoothing=st.MaxSup(weight), reduction="none")
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)


def test_max_sup_of_right_predictions_is_label_smoothing():
    logits, _ = batch(K)
    labels = logits.argmax(-1)
    torch.testing.assert_close(
        st.cross_entropy(logits, labels, smoothing=st.MaxSup(0.2)),
        st.cross_entropy(logits, labels, smoothing=0.2),
    )


@pytest.mark.parametrize("by_mask", [False, True])
def test_5_2_masked_classes_take_no_part(by_mask):
    logits, labels = batch(K - 1, ignored=False)
    high = torch.full((12, 1), 50.0 if by_mask else -torch.inf, dtype=torch.float64)
    wide = torch.cat([logits, high], -1)
    mask = {"class_mask": torch.arange(K) < K - 1} if by_mask else {}
    for make, _ in CASES.values():
        small, large = logits.clone().requires_grad_(), wide.clone().requires_grad_()
        expected = st.cross_entropy(small, labels, smoothing=make())
        loss = st.cross_entropy(large, labels, smoothing=make(), **mask)
        torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(large.grad[:, :-1], small.grad, rtol=0, atol=1e-12)
        assert bool((large.grad[:, -1] == 0).all())


@pytest.mark.parametrize("kind", CASES)
def test_5_4_ignored_and_dead_rows_may_hold_anything(kind):
    logits, labels = batch(K)
    logits[3] = float("nan")
    logits[5] = -torch.inf
    for watched in (False, True):
        leaf = logits.clone().requires_grad_()
        # A gradient into the weights sends the loss through the plain formula.
        weight = torch.ones(K, dtype=torch.float64, requires_grad=watched)
        loss = st.cross_entropy(
            leaf, labels, smoothing=CASES[kind][0](), weight=weight if watched else None
        )
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert bool(loss.isfinite())
        assert bool(gradient.isfinite().all())
        assert bool((gradient[[3, 5]] == 0).all())


def test_no_gradient_flows_through_the_target():
    logits, labels = batch(K)
    leaf = logits.requires_grad_()
    for make, _ in CASES.values():
        assert not make()(st.Target.from_labels(labels, K), leaf).requires_grad


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("kind", CASES)
def test_5_10_derivatives_hold_the_target_fixed(kind):
    logits, labels = batch(K)
    policy = CASES[kind][0]()
    fixed = policy(st.Target.from_labels(labels, K, dtype=torch.float64), logits)

    def loss(z):
        return st.cross_entropy(z, labels, smoothing=policy)

    def of_fixed(z):
        return st.cross_entropy(z, fixed)

    along = torch.randn_like(logits)
    for derivative in (
        lambda f: torch.func.grad(f)(logits),
        lambda f: torch.func.jvp(f, (logits,), (along,))[1],
        lambda f: torch.func.hessian(f)(logits),
        lambda f: torch.func.vmap(f)(logits.expand(2, *logits.shape)),
    ):
        torch.testing.assert_close(derivative(loss), derivative(of_fixed), rtol=0, atol=1e-12)


def test_images_and_linear_cross_entropy():
    logits, labels = batch(K, (2, 3, 4))
    weight, hidden = torch.randn(K, 7, dtype=torch.float64), torch.randn(12, 7).double()
    for make, expected in CASES.values():
        given = one_hot(labels, K)
        flat = expected(given.reshape(-1, K), logits.reshape(-1, K)).reshape(given.shape)
        assert_loss(make(), logits, labels, flat, given)
        rows = labels.reshape(-1)[:12]
        fused = st.linear_cross_entropy(hidden, weight, rows, smoothing=make())
        whole = st.cross_entropy(hidden @ weight.T, rows, smoothing=make())
        torch.testing.assert_close(fused, whole, rtol=0, atol=1e-12)


def test_half_precision_logits():
    logits, labels = batch(K)
    for make, _ in CASES.values():
        low = logits.half()
        loss = st.cross_entropy(low, labels, smoothing=make())
        assert loss.dtype == torch.float32
        expected = st.cross_entropy(low.double(), labels, smoothing=make())
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["max", "soft", "hard"])
def test_logits_are_needed(kind):
    policy, target = CASES[kind][0](), st.Target.from_labels(torch.tensor([0]), K)
    with pytest.raises(TypeError, match=r"`logits` must be given to \w+, .*policy\(target, logits"):
        policy(target)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(1, 5\).*got \(1, 4\)"):
        policy(target, torch.randn(1, 4))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: st.MaxSup(-0.1), ValueError, r"`weight` must be in \[0, inf\], got -0.1"),
        (lambda: st.MaxSup(float("nan")), ValueError, "`weight` must be"),
        (lambda: st.MaxSup(float("inf")), ValueError, "`weight` must be finite"),
        (lambda: st.MaxSup("x"), TypeError, "`weight` must be a number"),
        (lambda: st.Bootstrapping(1.1), ValueError, r"`beta` must be in \[0, 1\], got 1.1"),
        (lambda: st.Bootstrapping(float("nan")), ValueError, "`beta` must be"),
        (lambda: st.Bootstrapping(0.9, hard=1), TypeError, "`hard` must be a bool, got int"),
    ],
)
def test_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_repr():
    assert repr(st.MaxSup(0.2)) == "MaxSup(weight=0.2)"
    assert repr(st.Bootstrapping(hard=True)) == "Bootstrapping(beta=0.8, hard=True)"
