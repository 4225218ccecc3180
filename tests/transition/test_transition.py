"""Transition matrices: each structure against its dense matrix in plain float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

import softtargets as st
from softtargets.noise import DenseTransition, PairTransition, SymmetricTransition
from softtargets.transition import as_transition, equivalent_smoothing

RATES = (0.0, 0.1, 0.5, 0.75, 0.95, 1.0)


def _random(num_classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_classes, num_classes, generator=generator, dtype=torch.float64)
    return torch.softmax(rows + 2 * torch.eye(num_classes), -1)


def _absorbing(num_classes):
    """Everything is labelled 0: the other columns are 0, most rows are lost without class 0."""
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.float64)
    matrix[:, 0] = 1
    return matrix


def transitions(num_classes):
    for rate in RATES:
        yield SymmetricTransition(rate, num_classes)
        yield PairTransition(rate, num_classes)
        yield DenseTransition(PairTransition(rate, num_classes).dense())
    yield DenseTransition(_random(num_classes))
    yield DenseTransition(_absorbing(num_classes))


CASES = [(k, t) for k in (2, 3, 5) for t in transitions(k)]


def _names(case):
    if isinstance(case, int):
        return str(case)
    return type(case).__name__ + str(getattr(case, "rate", ""))


def _noisy_probs(matrix, logits, alive):
    """`softmax(z) @ T`, row by row, the rows of T renormalised over living classes."""
    rows = []
    for z, lives in zip(logits, alive, strict=True):
        probs = torch.softmax(z.masked_fill(~lives, -torch.inf), -1)
        noisy = torch.zeros_like(probs)
        for i in lives.nonzero()[:, 0]:
            row = matrix[i] * lives
            noisy += probs[i] * (row / row.sum() if row.sum() > 0 else lives.double() / lives.sum())
        rows.append(noisy)
    return torch.stack(rows)


@pytest.mark.parametrize(("num_classes", "transition"), CASES, ids=_names)
@pytest.mark.parametrize("masks", [False, True])
def test_noisy_logits_are_those_of_the_dense_product(num_classes, transition, masks):
    generator = torch.Generator().manual_seed(1)
    logits = 5 * torch.randn(40, num_classes, generator=generator, dtype=torch.float64)
    alive = torch.ones_like(logits, dtype=torch.bool)
    if masks:
        alive = torch.rand(logits.shape, generator=generator) < 0.6
        alive[:, 0] |= ~alive.any(-1)
    masked = logits.masked_fill(~alive, -torch.inf).requires_grad_()
    noisy = transition.noisy_logits(masked, alive if masks else None)
    expected = _noisy_probs(transition.dense(), logits, alive)
    torch.testing.assert_close(torch.softmax(noisy, -1), expected, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(noisy.logsumexp(-1), masked.logsumexp(-1))
    assert bool((noisy.masked_select(~alive) == -torch.inf).all())
    # Noisy labels that T makes impossible are at -inf, and their gradient is 0, not NaN.
    (gradient,) = torch.autograd.grad(noisy.masked_fill(noisy == -torch.inf, 0).sum(), masked)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(("num_classes", "transition"), CASES, ids=_names)
def test_apply_solve_and_condition(num_classes, transition):
    matrix = transition.dense()
    probs = torch.rand(4, num_classes, dtype=torch.float64)
    torch.testing.assert_close(transition.apply(probs), probs @ matrix)
    singular = torch.linalg.svdvals(matrix)
    if float(singular[-1]) < 1e-10:
        assert transition.condition() == math.inf
        with pytest.raises(ValueError, match="it is singular"):
            transition.solve(probs)
        with pytest.raises(ValueError, match="it is singular"):
            transition.inverse()
        return
    assert transition.condition() == pytest.approx(float(singular[0] / singular[-1]))
    torch.testing.assert_close(transition.solve(transition.apply(probs)), probs)
    torch.testing.assert_close(transition.inverse() @ matrix, torch.eye(num_classes).double())


@settings(deadline=None, max_examples=50)
@given(k=some.integers(2, 12), share=some.floats(0, 1))
def test_noise_and_smoothing_are_one_matrix(k, share):
    rate = share * (k - 1) / k
    noise = SymmetricTransition.from_smoothing(share, k)
    assert noise.rate == pytest.approx(rate, abs=1e-15)
    one_hot = torch.eye(k, dtype=torch.float64)
    smoothed = st.Target.from_labels(torch.arange(k), k, dtype=torch.float64).smooth(share).dense()
    torch.testing.assert_close(noise.apply(one_hot), smoothed, rtol=0, atol=1e-14)
    assert equivalent_smoothing(noise) == pytest.approx(share, abs=1e-14)
    assert equivalent_smoothing(noise.dense()) == pytest.approx(share, abs=1e-14)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_from_smoothing_goes_back_for_every_rate(k, rate):
    share = equivalent_smoothing(SymmetricTransition(rate, k))
    back = SymmetricTransition.from_smoothing(share, k)
    assert back.rate == pytest.approx(rate, abs=1e-15)
    with pytest.raises(ValueError, match=r"`rate` must be in \[0, .*every label flips"):
        SymmetricTransition.from_smoothing(share + 2.1, k)


@pytest.mark.parametrize(
    "noise",
    [
        SymmetricTransition(0.498, 2),
        PairTransition(0.498, 2),
        DenseTransition(PairTransition(0.498, 2).dense()),
    ],
    ids=_names,
)
def test_a_nearly_singular_matrix_is_solved_with_a_warning(noise):
    probs = torch.tensor([0.3, 0.7], dtype=torch.float64)
    noisy = noise.apply(probs)
    for solve in (lambda: noise.solve(noisy), lambda: noisy @ noise.inverse()):
        with pytest.warns(UserWarning, match="its condition number is 250") as told:
            torch.testing.assert_close(solve(), probs, rtol=0, atol=1e-12)
        assert [each.filename for each in told] == [__file__]


def test_pair_noise_of_two_classes_is_symmetric_and_of_three_is_not():
    assert equivalent_smoothing(PairTransition(0.2, 2)) == pytest.approx(0.4)
    with pytest.raises(ValueError, match=r"must be symmetric noise.*0\.1 away.*tolerance"):
        equivalent_smoothing(PairTransition(0.2, 3))


def test_structured_noise_of_many_classes_is_cheap_to_hold():
    for kind in (SymmetricTransition, PairTransition):
        noise = kind(0.2, 200_000)
        probs = torch.rand(1, 200_000, dtype=torch.float64).softmax(-1)
        torch.testing.assert_close(noise.solve(noise.apply(probs)), probs, rtol=1e-6, atol=1e-12)
        assert noise.noisy_logits(probs.log()).shape == probs.shape
        assert noise.table is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_logits_keep_their_value_and_gradient(dtype):
    """Where the noise never makes this label of the top class, the label's own way remains."""
    matrix = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.4], [0.0, 0.3, 0.7]], dtype=dtype)
    logits = torch.tensor([[400.0, -400.0, -390.0]], dtype=dtype, requires_grad=True)
    noisy = DenseTransition(matrix).noisy_logits(logits)
    assert noisy[0, 2].item() == pytest.approx(-390 + math.log(0.7), rel=1e-6)
    (gradient,) = torch.autograd.grad(noisy[0, 2], logits)
    assert float(gradient[0, 2]) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SymmetricTransition(1.2, 3), ValueError, r"`rate` must be in \[0, 1\], got 1.2"),
        (lambda: PairTransition(-0.1, 3), ValueError, r"`rate` must be in \[0, 1\], got -0.1"),
        (lambda: PairTransition(float("nan"), 3), ValueError, "got nan"),
        (lambda: SymmetricTransition(0.2, 1), ValueError, "at least 2 classes, got 1"),
        (lambda: SymmetricTransition(0.2, 3.0), TypeError, "`num_classes` must be an integer"),
        (lambda: DenseTransition(torch.ones(2, 3) / 3), ValueError, r"shape \(K, K\).*\(2, 3\)"),
        (lambda: DenseTransition(torch.ones(2, 2)), ValueError, "row 0 sums to 2"),
        (lambda: DenseTransition(torch.eye(2) * torch.nan), ValueError, "finite, got NaN.* 0"),
        (lambda: DenseTransition(torch.eye(2) * torch.inf), ValueError, "finite, got NaN.* 0"),
        (lambda: DenseTransition(torch.eye(2, dtype=torch.long)), TypeError, "floating point"),
        (
            lambda: DenseTransition(torch.tensor([[1.5, -0.5], [0.0, 1.0]])),
            ValueError,
            "minimum -0.5",
        ),
        (lambda: as_transition([[1.0]]), TypeError, r"`transition` must be a \(K, K\) tensor"),
        (
            lambda: SymmetricTransition(0.1, 3).apply(torch.ones(2, 4)),
            ValueError,
            r"`probs` must have 3 classes.*\(2, 4\)",
        ),
    ],
)
def test_bad_input_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_rows_are_renormalised_in_float64():
    matrix = _random(7).float().double() * (1 + 3e-5)
    sums = DenseTransition(matrix).dense().sum(-1)
    torch.testing.assert_close(sums, torch.ones(7, dtype=torch.float64), rtol=0, atol=1e-12)
