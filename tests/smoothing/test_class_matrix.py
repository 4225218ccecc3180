import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.testing import check_policy
from tests.smoothing.cases import assert_copies, assert_loss, batch, one_hot

K = 5


def rows(seed=0, size=K):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.rand(size, size, generator=generator, dtype=torch.float64)
    return raw / raw.sum(-1, keepdim=True)


def smoothed(given, matrix, rate):
    return (1 - rate) * given + rate * given @ np.asarray(matrix)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_battery(rate):
    check_policy(lambda: st.ClassMatrixSmoothing(rows(), rate), K, compiles=True)


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_it_is_its_formula(rate):
    logits, labels = batch(K)
    given = one_hot(labels, K)
    policy = st.ClassMatrixSmoothing(rows(), rate)
    assert_loss(policy, logits, labels, smoothed(given, rows(), rate), given)
    assert_copies(policy, st.Target.from_labels(labels, K), logits)


def test_mixed_labels_and_rows_take_the_mixture():
    logits, labels = batch(K, ignored=False)
    other, lam = labels.flip(0), torch.rand(12, dtype=torch.float64)
    given = lam[:, None].numpy() * one_hot(labels, K)
    given = given + (1 - lam)[:, None].numpy() * one_hot(other, K)
    mixed = st.Target.from_labels(labels, K, dtype=torch.float64).mix(
        st.Target.from_labels(other, K, dtype=torch.float64), lam
    )
    policy = st.ClassMatrixSmoothing(rows(), 0.3)
    assert_loss(policy, logits, mixed, smoothed(given, rows(), 0.3), given)
    assert_loss(policy, logits, torch.tensor(given), smoothed(given, rows(), 0.3), given)


def test_known_cases():
    _, labels = batch(K)
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    identity = st.ClassMatrixSmoothing(torch.eye(K, dtype=torch.float64), 0.4)(target)
    torch.testing.assert_close(identity.dense(), target.dense(), rtol=0, atol=1e-15)
    even = torch.full((K, K), 1 / K, dtype=torch.float64)
    uniform = st.ClassMatrixSmoothing(even, 0.4)(target).dense()
    torch.testing.assert_close(uniform, target.smooth(0.4).dense(), rtol=0, atol=1e-15)


@given(some.floats(0.1, 30), some.integers(2, 6))
def test_distances_are_their_formula(beta, size):
    heights = torch.rand(size, size, dtype=torch.float64).fill_diagonal_(0.0)
    matrix = st.ClassMatrixSmoothing.from_distances(heights, beta).matrix.numpy()
    raw = np.exp(-beta * heights.numpy() / heights.numpy().max())
    np.testing.assert_allclose(matrix, raw / raw.sum(-1, keepdims=True), rtol=0, atol=1e-14)
    assert (matrix.argmax(-1) == np.arange(size)).all()


def test_a_row_of_distances_is_the_whole_target():
    heights = torch.tensor([[0.0, 1, 2], [1, 0, 2], [2, 2, 0]])
    policy = st.ClassMatrixSmoothing.from_distances(heights, 4.0)
    assert policy.rate == 1.0
    dense = policy(st.Target.from_labels(torch.arange(3), 3)).dense()
    torch.testing.assert_close(dense, policy.matrix)
    sharp = st.ClassMatrixSmoothing.from_distances(heights, 1e6).matrix
    torch.testing.assert_close(sharp, torch.eye(3))


def test_similarities_leave_the_label_out():
    alike = torch.randn(K, K, dtype=torch.float64)
    matrix = st.ClassMatrixSmoothing.from_similarities(alike, 0.1, temperature=0.5).matrix
    raw = np.exp(alike.numpy() / 0.5)
    np.fill_diagonal(raw, 0.0)
    np.testing.assert_allclose(matrix.numpy(), raw / raw.sum(-1, keepdims=True), atol=1e-14)
    alike.fill_diagonal_(float("nan"))
    again = st.ClassMatrixSmoothing.from_similarities(alike, 0.1, temperature=0.5).matrix
    assert torch.equal(again, matrix)
    two = st.ClassMatrixSmoothing.from_similarities(torch.randn(2, 2).double(), 0.1)
    target = st.Target.from_labels(torch.tensor([0, 1]), 2, dtype=torch.float64)
    plain = st.LabelSmoothing(0.1, convention="K-1")(target).dense()
    torch.testing.assert_close(two(target).dense(), plain)


def test_features_are_compared_by_cosine():
    vectors = torch.randn(K, 3, dtype=torch.float64)
    unit = vectors.numpy() / np.linalg.norm(vectors.numpy(), axis=1, keepdims=True)
    by_hand = st.ClassMatrixSmoothing.from_similarities(torch.tensor(unit @ unit.T), 0.1)
    matrix = st.ClassMatrixSmoothing.from_features(vectors, 0.1).matrix
    torch.testing.assert_close(matrix, by_hand.matrix, rtol=0, atol=1e-14)
    scaled = st.ClassMatrixSmoothing.from_features(vectors * 7, 0.1).matrix
    torch.testing.assert_close(scaled, matrix, rtol=0, atol=1e-14)


def test_confusion_counts_are_normalised():
    counts = torch.tensor([[8, 2, 0], [1, 6, 3], [0, 0, 5]])
    matrix = st.ClassMatrixSmoothing.from_confusion(counts, 0.5).matrix
    torch.testing.assert_close(matrix, counts / counts.sum(-1, keepdim=True))
    more = st.ClassMatrixSmoothing.from_confusion(counts, 0.5, pseudocount=1).matrix
    torch.testing.assert_close(more[2], torch.tensor([1, 1, 6]) / 8)
    empty = torch.tensor([[3, 1], [0, 0]])
    torch.testing.assert_close(
        st.ClassMatrixSmoothing.from_confusion(empty, 0.5, pseudocount=1).matrix[1],
        torch.tensor([0.5, 0.5]),
    )


def test_the_matrix_is_a_detached_copy_in_the_state():
    matrix = rows().requires_grad_()
    policy = st.ClassMatrixSmoothing(matrix, 0.1)
    assert not policy.matrix.requires_grad
    other = st.ClassMatrixSmoothing(rows(1), 0.1)
    other.load_state_dict(policy.state_dict())
    assert torch.equal(other.matrix, matrix)
    assert "matrix=(5, 5), rate=0.1" in repr(policy)


HEIGHTS = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
Matrix = st.ClassMatrixSmoothing


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Matrix(rows()[:2], 0.1), ValueError, r"shape \(K, K\).*got \(2, 5\); .*prior="),
        (lambda: Matrix(rows()[0], 0.1), ValueError, r"shape \(K, K\)"),
        (lambda: Matrix(torch.eye(3).long(), 0.1), TypeError, "floating point tensor, got"),
        (lambda: Matrix(torch.eye(3) * 2, 0.1), ValueError, "row 0 sums to 2 .*divide counts"),
        (
            lambda: Matrix(torch.eye(3) * float("nan"), 0.1),
            ValueError,
            "finite, got NaN or infinity in row 0",
        ),
        (lambda: Matrix(rows(), 1.5), ValueError, r"`rate` must be in \[0, 1\], got 1.5"),
        (lambda: Matrix(rows(), "x"), TypeError, "`rate` must be a number"),
        (lambda: Matrix.from_distances(HEIGHTS, 0.0), ValueError, "`beta` must be finite and > 0"),
        (lambda: Matrix.from_distances(HEIGHTS - 1, 1.0), ValueError, "0 on the diagonal, got -1"),
        (lambda: Matrix.from_distances(HEIGHTS + 1, 1.0), ValueError, "on the diagonal, got 1"),
        (lambda: Matrix.from_distances(HEIGHTS * 0, 1.0), ValueError, "hold one above 0"),
        (lambda: Matrix.from_similarities(torch.eye(1), 0.1), ValueError, "at least 2 classes"),
        (lambda: Matrix.from_similarities(1 / torch.eye(2), 0.1), ValueError, "row 0 is not"),
        (lambda: Matrix.from_similarities(HEIGHTS, 0.1, -1.0), ValueError, "`temperature` must"),
        (lambda: Matrix.from_features(torch.eye(3)[0], 0.1), ValueError, r"shape \(K, D\)"),
        (lambda: Matrix.from_features(torch.zeros(2, 2), 0.1), ValueError, "row 0 has norm 0"),
        (lambda: Matrix.from_confusion(HEIGHTS * 0, 0.1), ValueError, "row 0 sums to 0; .*count=1"),
        (lambda: Matrix.from_confusion(-HEIGHTS, 0.1), ValueError, "row 0 sums to -1"),
        (lambda: Matrix.from_confusion(HEIGHTS, 0.1, -1.0), ValueError, "`pseudocount` must be"),
        (lambda: Matrix.from_confusion(HEIGHTS > 0, 0.1), TypeError, "must hold integers"),
    ],
)
def test_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("low", [torch.float32, torch.float16])
def test_rounded_rows_sum_to_1_again(low):
    matrix = torch.softmax(torch.randn(K, K), -1)
    for make in (
        lambda: st.ClassMatrixSmoothing(matrix, 0.3).to(low),
        lambda: st.LabelSmoothing(0.3, matrix).to(low),
        lambda: st.LabelSmoothing(torch.full((K,), 0.3), matrix[0]).to(low),
    ):
        check_policy(make, K)


def test_another_number_of_classes():
    with pytest.raises(ValueError, match="policy's num_classes=5, got 3"):
        st.ClassMatrixSmoothing(rows(), 0.1)(st.Target.from_labels(torch.tensor([0]), 3))
