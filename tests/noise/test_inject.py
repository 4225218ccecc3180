import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st

K = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_seed_gives_the_same_flips_and_touches_no_global_state():
    labels = torch.randint(K, (200,))
    before = torch.get_rng_state()
    first = st.noise.symmetric(labels, 0.3, K, generator=generator())
    again = st.noise.symmetric(labels, 0.3, K, generator=generator())
    other = st.noise.symmetric(labels, 0.3, K, generator=generator(1))
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, other.labels)
    assert torch.equal(torch.get_rng_state(), before)


@given(some.floats(0, 1), some.integers(2, 6), some.integers(0, 99))
def test_flips_are_what_they_say(rate, num_classes, seed):
    labels = torch.randint(num_classes, (60,), generator=generator(seed))
    labels[::7] = -100
    clean = labels.clone()
    noisy = st.noise.symmetric(labels, rate, num_classes, generator=generator(seed))
    assert torch.equal(labels, clean)
    assert torch.equal(noisy.flipped, noisy.labels != labels)
    assert bool((noisy.labels[::7] == -100).all())
    counted = noisy.labels[labels != -100]
    assert bool(((counted >= 0) & (counted < num_classes)).all())
    torch.testing.assert_close(
        noisy.transition.sum(-1), torch.ones(num_classes, dtype=torch.float64)
    )


def test_the_rate_and_the_evenness_of_flips():
    labels = torch.arange(K).repeat(20_000)
    noisy = st.noise.symmetric(labels, 0.4, K, generator=generator())
    # Five standard deviations of a share of 100,000 and of 20,000 draws.
    assert noisy.flipped.double().mean().item() == pytest.approx(0.4, abs=5 * 0.00155)
    expected = torch.full((K, K), 0.1, dtype=torch.float64).fill_diagonal_(0.6)
    assert (noisy.transition - expected).abs().max() < 5 * 0.0035


def test_the_limits():
    labels = torch.arange(K).repeat(10)
    none = st.noise.symmetric(labels, 0.0, K, generator=generator())
    assert torch.equal(none.labels, labels)
    assert torch.equal(none.transition, torch.eye(K, dtype=torch.float64))
    every = st.noise.symmetric(labels, 1.0, K, generator=generator())
    assert bool(every.flipped.all())
    absent = st.noise.symmetric(torch.tensor([0]), 1.0, 3, generator=generator())
    assert torch.equal(absent.transition[1:], torch.eye(3, dtype=torch.float64)[1:])
    images = st.noise.symmetric(labels.reshape(5, 10), 0.5, K, generator=generator())
    assert images.labels.shape == images.flipped.shape == (5, 10)


def test_the_drawn_transition_counts_labels():
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    noisy = st.noise.symmetric(labels, 0.5, 2, generator=generator())
    for i in (0, 1):
        for j in (0, 1):
            share = (noisy.labels[labels == i] == j).double().mean()
            assert noisy.transition[i, j] == share


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rate": 1.5}, ValueError, r"`rate` must be in \[0, 1\], got 1.5"),
        ({"num_classes": 1}, ValueError, "needs at least 2 classes"),
        ({"labels": torch.tensor([7])}, ValueError, r"0 \.\. 4"),
        ({"labels": torch.tensor([0.5])}, TypeError, "must hold integers"),
        ({"labels": [1, 2]}, TypeError, "must be a tensor of integers, got list"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_arguments(arguments, error, message):
    given = {"labels": torch.tensor([0, 1]), "rate": 0.1, "num_classes": K, **arguments}
    with pytest.raises(error, match=message):
        st.noise.symmetric(**given, generator=generator())
