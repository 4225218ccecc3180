"""Every target that should be a distribution sums to 1 within 1e-12 in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st

K = 6
LABELS = torch.tensor([0, 3, 5, -100, 1, 2])
IGNORED = LABELS == -100


def off(rows, error, dtype):
    """Rows that sum to 1 + error, as rounding leaves them."""
    return (rows * (1 + error)).to(dtype)


def rows_of(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(*shape, K, generator=generator).double(), -1)


def learned(**arguments):
    policy = st.OnlineLabelSmoothing(K, **arguments)
    target = st.Target.from_labels(LABELS, K)
    logits = torch.eye(K)[LABELS.clamp(min=0)] + torch.randn(len(LABELS), K) / 3
    policy(target, logits)
    policy.end_epoch()
    return policy


def priors(prior, matrix, rate):
    return {
        "prior": st.LabelSmoothing(rate, prior),
        "table": st.LabelSmoothing(rate, matrix),
        "prior, rates by class": st.LabelSmoothing(torch.full((K,), rate), prior),
        "table, rates by class": st.LabelSmoothing(torch.full((K,), rate), matrix),
        "class matrix": st.ClassMatrixSmoothing(matrix, rate),
    }


def others(matrix, rate):
    """Policies that are given no rows, and those that make rows of what they are given."""
    similar, distances = matrix + matrix.T, (1 - torch.eye(K)).to(matrix)
    counts = torch.arange(K * K).reshape(K, K)
    make = st.ClassMatrixSmoothing
    return {
        "uniform": st.LabelSmoothing(rate),
        "K-1": st.LabelSmoothing(rate, convention="K-1"),
        "schedule": st.LabelSmoothing(st.Schedule.cosine(rate, 0.0, 3)),
        "label aware": st.LabelAwareSmoothing(range(1, K + 1), rate, rate / 3),
        "similarities": make.from_similarities(similar, rate),
        "features": make.from_features(matrix, rate),
        "distances": make.from_distances(distances, 1 + rate, rate),
        "confusion": make.from_confusion(counts, rate, pseudocount=1),
        "max": st.MaxSup(rate),
        "bootstrapping": st.Bootstrapping(rate),
        "bootstrapping, hard": st.Bootstrapping(rate, hard=True),
        "ILS1": st.InstanceLabelSmoothing(st.QuadraticRate(rate, 1.5, 1.0)),
        "ILS2": st.InstanceLabelSmoothing(rate, "teacher"),
        "online": learned(hard_weight=rate),
        "online, bfloat16": learned(hard_weight=rate, storage="bfloat16"),
        "online, top-k": learned(hard_weight=rate, storage="top_k", top_k=2),
    }


def assert_mass(made, counted=~IGNORED, tolerance=1e-12):
    one = counted.double()
    dense = made.dense()
    for mass in (made.mass(), dense.sum(-1)):
        torch.testing.assert_close(mass.double(), one, rtol=0, atol=tolerance)


errors = some.floats(-9e-5, 9e-5)
dtypes = some.sampled_from([torch.float32, torch.float64])


@given(errors, some.floats(0, 1), some.integers(0, 99), dtypes)
def test_rows_off_by_rounding_have_their_mass_again(error, rate, seed, dtype):
    prior, matrix = off(rows_of((), seed), error, dtype), off(rows_of((K,), seed), error, dtype)
    target = st.Target.from_labels(LABELS, K, dtype=torch.float64)
    narrow = target.to(torch.float32)
    for policy in priors(prior, matrix, rate).values():
        assert_mass(policy(target))
        assert_mass(policy(narrow), tolerance=2e-6)
    for rows in (prior, matrix):
        assert_mass(target.smooth(rate, rows))
        assert_mass(target.smooth(torch.full((len(LABELS),), rate), rows))
        assert_mass(narrow.smooth(rate, rows), tolerance=2e-6)


@given(some.floats(0, 1), some.integers(0, 99))
def test_every_policy_makes_distributions(rate, seed):
    logits, teacher = rows_of((2, len(LABELS)), seed).log()
    target = st.Target.from_labels(LABELS, K, dtype=torch.float64)
    for policy in others(rows_of((K,), seed), rate).values():
        assert_mass(policy.eval()(target, logits, teacher_logits=teacher))
    maps, counted = target[None, :, None], ~IGNORED[None, :, None]
    assert_mass(st.SpatialSmoothing(0.1 + rate)(maps), counted)
    assert_mass(st.TemporalSmoothing(rate)(target[None]), ~IGNORED[None])


def test_a_unigram_prior_is_exact_in_float64():
    words = torch.randint(1000, (50_000,)) % 37
    prior = st.unigram_prior(words, 1000)
    target = st.Target.from_labels(torch.tensor([3, 999]), 1000, dtype=torch.float64)
    for made in (target.smooth(0.3, prior), st.LabelSmoothing(0.3, prior)(target)):
        assert_mass(made, torch.ones(2))
    logits = torch.zeros(1, 2, 1000, dtype=torch.float64)
    loss = st.sequence_cross_entropy(
        logits, torch.tensor([[3, 999]]), smoothing=st.LabelSmoothing(0.3, prior)
    )
    assert loss.item() == pytest.approx(torch.tensor(1000.0).double().log().item(), abs=1e-12)


def test_half_precision_rows_are_taken_for_what_they_round():
    prior = rows_of((), 0).bfloat16()
    assert abs(prior.double().sum().item() - 1) > 1e-4
    target = st.Target.from_labels(LABELS, K, dtype=torch.float64)
    for made in (target.smooth(0.5, prior), st.LabelSmoothing(0.5, prior)(target)):
        assert_mass(made)
        torch.testing.assert_close(made.dense()[0, 1:], prior.double()[1:] / 2, rtol=0.01, atol=0)


def test_where_values_are_not_looked_at_rows_are_mended_too(monkeypatch):
    monkeypatch.setattr("softtargets.checks.readable", lambda tensor: False)
    target = st.Target.from_labels(LABELS, K, dtype=torch.float64)
    for rows in (
        off(rows_of((), 0), 9e-5, torch.float64),
        off(rows_of((K,), 0), -9e-5, torch.float32),
    ):
        assert_mass(target.smooth(0.7, rows))
    values, indices = off(rows_of((4,), 0), 9e-5, torch.float64).topk(K)
    assert_mass(st.Target.from_top_k(indices, values, K), torch.ones(4))


def test_rows_that_are_exact_stay_one_table():
    table = torch.eye(K).roll(1, 1)
    a = st.Target.from_labels(LABELS, K)
    assert a.smooth(0.1, table).others[0].table is table
    assert len(a.smooth(0.1, table).mix(a.smooth(0.3, table), 0.5).others) == 1


@given(errors, some.integers(1, K), some.integers(0, 99), dtypes)
def test_the_largest_entries_and_the_rest_sum_to_1(error, k, seed, dtype):
    values, indices = off(rows_of((4,), seed), error, dtype).topk(k)
    made = st.Target.from_top_k(indices, values, K)
    assert_mass(made, torch.ones(4), 1e-12 if dtype == torch.float64 else 2e-6)
    assert bool((made.dense() >= -1e-7 * (dtype == torch.float32) - 1e-15).all())


def test_top_k_of_all_classes_leaves_nothing_to_fill_up():
    indices, half = torch.arange(K)[None], torch.full((1, K), 0.5 / K)
    with pytest.raises(ValueError, match=r"sum to 1 in a row that holds every class, got 0\.5 at"):
        st.Target.from_top_k(indices, half, K)
    assert st.Target.from_top_k(indices, half, K, rest="none").mass().item() == pytest.approx(0.5)


def test_the_gradient_of_a_prior_is_that_of_its_share():
    weights = torch.rand(K, dtype=torch.float64, requires_grad=True)
    target = st.Target.from_labels(torch.tensor([0, 2]), K, dtype=torch.float64)
    logits = torch.randn(2, K, dtype=torch.float64)

    def loss(weights):
        return st.cross_entropy(logits, target.smooth(0.3, torch.softmax(weights, -1)))

    assert torch.autograd.gradcheck(loss, (weights,))
