import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from tests.noise import estimation_reference as reference
from tests.noise.estimation_cases import METHODS, generator, problem

STORED = json.loads((Path(__file__).parent / "cleanlab.json").read_text())


def random_transition(num_classes, source):
    rows = torch.rand(num_classes, num_classes, generator=source, dtype=torch.float64)
    return 0.5 * torch.eye(num_classes) + 0.5 * rows / rows.sum(-1, keepdim=True)


@given(some.integers(2, 6), some.integers(0, 999))
def test_true_probabilities_with_anchors_give_the_true_matrix(num_classes, seed):
    source = generator(seed)
    truth = random_transition(num_classes, source)
    clean = torch.rand(50, num_classes, generator=source, dtype=torch.float64)
    clean = torch.cat([clean / clean.sum(-1, keepdim=True), torch.eye(num_classes).double()])
    clean = clean[torch.randperm(len(clean), generator=source)]
    found = st.noise.estimate_transition(clean @ truth)
    # The anchors maximise p(noisy = i | x) since the diagonal is the largest entry of a column.
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-12)


@given(some.integers(2, 6), some.integers(0, 999))
def test_a_model_that_knows_the_clean_class_gives_the_drawn_matrix(num_classes, seed):
    clean = torch.arange(40 * num_classes) % num_classes
    noisy = st.noise.symmetric(clean, 0.2, num_classes, generator=generator(seed))
    probs = 0.99 * torch.eye(num_classes, dtype=torch.float64)[clean] + 0.01 / num_classes
    found = st.noise.estimate_transition(probs, noisy.labels, method="confident")
    torch.testing.assert_close(found, noisy.transition, rtol=0, atol=1e-12)
    one_hot = torch.eye(num_classes)[clean]
    found = st.noise.estimate_transition(one_hot, noisy.labels, method="dual")
    torch.testing.assert_close(found, noisy.transition, rtol=0, atol=1e-12)


def test_dual_has_the_noise_of_calibrated_probabilities_twice():
    truth = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.float64)
    clean = torch.arange(2).repeat_interleave(10)
    labels = torch.tensor([0] * 8 + [1] * 2 + [0] * 3 + [1] * 7)
    found = st.noise.estimate_transition(truth[clean], labels, method="dual")
    torch.testing.assert_close(found, truth @ truth, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:fewer than 1 samples")
@pytest.mark.parametrize("quantile", [None, 0.0, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_formulas(num_classes, quantile):
    probs, labels = problem(num_classes)
    p, y = probs.numpy(), labels.numpy()
    q = 1.0 if quantile is None else quantile
    found = st.noise.estimate_transition(probs, quantile=quantile)
    np.testing.assert_allclose(found.numpy(), reference.anchor(p, q), rtol=0, atol=1e-12)
    if q > 0.9:
        found = st.noise.estimate_transition(probs, labels, "dual", quantile=quantile)
        np.testing.assert_allclose(found.numpy(), reference.dual(p, y, q), rtol=0, atol=1e-12)
    found = st.noise.estimate_transition(probs, labels, method="confident")
    np.testing.assert_allclose(found.numpy(), reference.confident(p, y), rtol=0, atol=1e-12)
    assert not np.allclose(reference.anchor(p, 0.5), reference.anchor(p, 1.0))


def test_of_several_confident_classes_the_most_probable_of_all_counts():
    # Thresholds .4, .19, .63: the second sample reaches the first two and is likeliest the third.
    probs = torch.tensor([[0.4, 0.0, 0.6], [0.4, 0.19, 0.41], [0.1, 0.0, 0.9], [0.41, 0.09, 0.5],
                          [0.2, 0.3, 0.5]], dtype=torch.float64)  # fmt: skip
    labels = torch.tensor([0, 1, 2, 2, 2])
    found = st.noise.estimate_transition(probs, labels, method="confident")
    np.testing.assert_allclose(
        found.numpy(), reference.confident(probs.numpy(), labels.numpy()), rtol=0, atol=1e-12
    )
    joint = reference.confident_joint(probs.numpy(), labels.numpy())
    assert joint.tolist() == [[1, 0, 0], [0, 0, 1], [1, 1, 1]]


@pytest.fixture(params=["digits", "c10_wrn16_4", "c10_lenet5"])
def stored(request):
    """Probabilities, noisy labels and what cleanlab made of them."""
    expected = STORED[request.param]
    if request.param == "digits":
        probs = torch.tensor(expected["probs"], dtype=torch.float64) / 10_000
        return probs, torch.tensor(expected["labels"]), expected
    folder = request.getfixturevalue("shared_data")
    with np.load(folder / "calibration" / "netcal_cifar_probs.npz") as archive:
        probs = torch.from_numpy(archive[f"{request.param}_probs"])
        labels = torch.from_numpy(archive["y_c10"]).long()
    number = torch.arange(len(labels))
    flipped = (labels + 1 + number // 5 % 9) % 10
    return probs, torch.where(number % 5 == 0, flipped, labels), expected


def test_agreement_with_cleanlab(stored):
    probs, labels, expected = stored
    found = st.noise.estimate_transition(probs, labels, method="confident")
    joint = np.array(expected["confident_joint"], dtype=np.float64)
    calibrated = reference.from_joint(joint, labels.numpy())
    np.testing.assert_allclose(found.numpy(), calibrated, rtol=0, atol=1e-12)
    known = st.noise.bootstrap_transition(
        probs, labels, method="confident", draws=40, generator=generator()
    )
    assert known.support.tolist() == joint.sum(0).tolist()
    # cleanlab rounds the calibrated joint to whole samples; ten classes of about N / 10.
    theirs = np.array(expected["noise_matrix"]).T
    np.testing.assert_allclose(found.numpy(), theirs, rtol=0, atol=30 / len(labels))


@given(
    some.sampled_from(METHODS),
    some.integers(2, 6),
    some.floats(0.5, 8),
    some.integers(0, 999),
    some.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_rows_are_distributions(method, num_classes, sharpness, seed, dtype):
    probs, labels = problem(num_classes, 240, seed, sharpness)
    found = st.noise.estimate_transition(probs.to(dtype), labels, method=method)
    assert found.dtype == torch.float64
    assert found.shape == (num_classes, num_classes)
    assert bool((found >= 0).all())
    ones = torch.ones(num_classes, dtype=torch.float64)
    torch.testing.assert_close(found.sum(-1), ones, rtol=0, atol=1e-12)


@given(some.sampled_from(METHODS), some.integers(0, 999))
def test_permutations_of_classes_and_of_samples(method, seed):
    probs, labels = problem(5, 200, seed)
    found = st.noise.estimate_transition(probs, labels, method=method)
    order = torch.randperm(len(probs), generator=generator(seed))
    again = st.noise.estimate_transition(probs[order], labels[order], method=method)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-12)
    classes = torch.randperm(5, generator=generator(seed))
    renamed = classes.argsort()[labels]
    moved = st.noise.estimate_transition(probs[:, classes], renamed, method=method)
    torch.testing.assert_close(moved, found[classes][:, classes], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_shrinkage_is_a_line_to_the_identity(method):
    probs, labels = problem()
    plain = st.noise.estimate_transition(probs, labels, method=method)
    identity = torch.eye(4, dtype=torch.float64)
    for share in (0.0, 0.3, 1.0):
        shrunk = st.noise.estimate_transition(probs, labels, method=method, shrinkage=share)
        expected = (1 - share) * plain + share * identity
        torch.testing.assert_close(shrunk, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_ignored_samples_are_as_if_absent(method):
    probs, labels = problem()
    expected = st.noise.estimate_transition(probs[20:], labels[20:], method=method)
    marked = torch.where(torch.arange(len(labels)) < 20, -1, labels)
    probs[:20] = torch.nan
    found = st.noise.estimate_transition(probs, marked, method=method, ignore_index=-1)
    assert torch.equal(found, expected)


def test_anchors_need_no_labels():
    probs, labels = problem()
    with_labels = st.noise.estimate_transition(probs, labels)
    assert torch.equal(st.noise.estimate_transition(probs), with_labels)
    assert not st.noise.estimate_transition(probs.requires_grad_()).requires_grad


def spoiled(row, values):
    probs = problem()[0]
    probs[row] = torch.tensor(values, dtype=torch.float64)
    return probs


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"probs": spoiled(3, [torch.nan, 0, 0, 1])}, ValueError, "finite, got NaN .* in row 3"),
        ({"probs": spoiled(3, [2.0, 1, -3, 1])}, ValueError, "row 3 sums to 1 with minimum -3; "),
        ({"probs": spoiled(5, [2.0, 1, 3, 1])}, ValueError, "row 5 sums to 7 .* apply softmax"),
        ({"probs": torch.ones(9, 4).long()}, TypeError, "`probs` must be a floating point"),
        ({"probs": torch.ones(9)}, ValueError, r"`probs` must have shape \(N, K\), got \(9,\)"),
        ({"probs": torch.ones(9, 1)}, ValueError, "needs at least 2 classes, got 1"),
        ({"probs": torch.eye(4)[:3]}, ValueError, "got 3 samples .* and 4 classes"),
        ({"labels": torch.full((200,), -100)}, ValueError, "got 0 samples that are not ignored"),
        ({"labels": torch.zeros(7).long()}, ValueError, r"shape \(200,\), .* got \(7,\)"),
        ({"labels": torch.zeros(200)}, TypeError, "`labels` must hold integers"),
        ({"labels": torch.arange(200) % 5}, ValueError, r"`labels` must be in 0 \.\. 3"),
        ({"labels": torch.arange(200) % 3}, ValueError, "got 0 of class 3; leave the class out"),
        ({"method": "anchors"}, ValueError, '`method` must be one of "anchor", "confident", "d'),
        ({"method": "dual", "labels": None}, ValueError, '`labels` must be given for method "dual'),
        ({"quantile": 97}, ValueError, "in .0, 1., got 97; it is a share, no percentage: 97 % is "),
        ({"quantile": "high"}, TypeError, "`quantile` must be a number, got str"),
        ({"method": "confident", "quantile": 0.9}, ValueError, "which has no anchors, got 0.9"),
        ({"shrinkage": 1.5}, ValueError, r"`shrinkage` must be in \[0, 1\], got 1.5"),
    ],
    ids=lambda x: str(x)[:30] if isinstance(x, str) else "",
)
def test_arguments(arguments, error, message):
    probs, labels = problem()
    if "probs" in arguments and "labels" not in arguments:
        arguments = {"labels": None, **arguments}
    given = {"probs": probs, "labels": labels, **arguments}
    with pytest.raises(error, match=message):
        st.noise.estimate_transition(given.pop("probs"), given.pop("labels"), **given)


def test_a_class_without_an_anchor_is_refused():
    probs = torch.tensor([[0.6, 0.4, 0.0]] * 6)
    with pytest.raises(ValueError, match=r"an anchor of every class, that of class 2 has the prob"):
        st.noise.estimate_transition(probs)


@pytest.mark.parametrize(
    ("method", "message"), [("dual", "predicted as class 1"), ("confident", "confidently of cl")]
)
def test_a_row_without_support(method, message):
    probs = torch.tensor([[0.6, 0.4]] * 6)
    labels = torch.tensor([0, 1, 1, 0, 1, 1])
    with pytest.raises(ValueError, match=message):
        st.noise.estimate_transition(probs, labels, method=method)
