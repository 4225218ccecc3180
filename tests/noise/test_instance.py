import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats
from sklearn.datasets import load_digits

import softtargets as st

K = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    """Standardised pixels and labels."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels - pixels.mean(0)) / (pixels.std(0) + 1e-9)
    return torch.tensor(pixels), torch.tensor(labels)


def reference(features, labels, rate, num_classes, source):
    """The chances, the numbers drawn and the destinations, sample by sample, by scipy."""

    def uniform(*shape):
        return torch.rand(*shape, generator=source, dtype=torch.float64).numpy()

    reach = 10 * min(rate, 1 - rate)
    law = stats.truncnorm(-reach, reach, loc=rate, scale=0.1)
    chances, drawn, places = (
        law.ppf(uniform(len(labels))),
        uniform(len(labels)),
        uniform(len(labels)),
    )
    matrices = [stats.norm.ppf(uniform(features.shape[1], num_classes)) for _ in range(num_classes)]
    destinations = []
    for row, label, place in zip(features.double().numpy(), labels.tolist(), places, strict=True):
        others = [j for j in range(num_classes) if j != label]
        scores = numpy.array([row @ matrices[label][:, j] for j in others])
        weights = numpy.exp(scores - scores.max())
        edges = (weights / weights.sum()).cumsum()
        destinations.append(others[min(int((edges <= place).sum()), len(others) - 1)])
    return chances, drawn, torch.tensor(destinations)


@given(some.floats(0.01, 0.99), some.integers(2, 6), some.integers(1, 5), some.integers(0, 99))
def test_the_formula(rate, num_classes, size, seed):
    features = torch.randn(40, size, generator=generator(seed))
    labels = torch.randint(num_classes, (40,), generator=generator(seed))
    chances, drawn, destinations = reference(features, labels, rate, num_classes, generator(seed))
    inject = st.noise.instance_dependent
    noisy = inject(features, labels, rate, num_classes, generator=generator(seed))
    assert noisy.flipped.tolist() == (drawn < chances).tolist()
    assert torch.equal(noisy.labels, torch.where(noisy.flipped, destinations, labels))
    exact = inject(features, labels, rate, num_classes, generator=generator(seed), exact=True)
    assert int(exact.flipped.sum()) == round(rate * 40)
    for i in range(num_classes):
        own = (labels == i).numpy()
        count = int(exact.flipped[labels == i].sum())
        assert abs(count - rate * own.sum()) < 1
        first = numpy.argsort((drawn / chances)[own])[:count]
        assert exact.flipped[labels == i].nonzero().squeeze(-1).tolist() == sorted(first)
    assert torch.equal(exact.labels, torch.where(exact.flipped, destinations, labels))


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.2, 0.5, 0.95, 1.0])
def test_the_average_rate(rate):
    labels = torch.arange(K).repeat(20_000)
    features = torch.zeros(len(labels), 1)
    noisy = st.noise.instance_dependent(features, labels, rate, K, generator=generator())
    deviation = (rate * (1 - rate) / len(labels)) ** 0.5
    assert noisy.flipped.double().mean().item() == pytest.approx(rate, abs=5 * deviation)
    # Without features, all other classes are equally likely.
    law = torch.full((K, K), rate / (K - 1), dtype=torch.float64).fill_diagonal_(1 - rate)
    spread = (law * (1 - law) / 20_000).sqrt()
    assert bool(((noisy.transition - law).abs() <= 5 * spread).all())


def agreement(features, labels, noisy, order=torch.arange):
    """How often a flipped sample reads as the flipped sample of its class that is most alike."""
    agree = []
    for i in range(10):
        own = noisy.flipped & (labels == i)
        rows = features[own][order(int(own.sum()))]
        distances = torch.cdist(rows, rows).fill_diagonal_(torch.inf)
        read = noisy.labels[own]
        agree.append(read == read[distances.argmin(-1)])
    return torch.cat(agree).double().mean().item()


def test_flips_of_digits_depend_on_what_they_look_like(digits):
    features, labels = digits
    shares = []
    for seed in range(5):
        noisy = st.noise.instance_dependent(features, labels, 0.4, 10, generator=generator(seed))
        even = st.noise.symmetric(labels, 0.4, 10, generator=generator(seed))
        # Over 30 seeds 0.49 to 0.59, with shuffled features 0.19 to 0.33; symmetric 0.08 to 0.14.
        found = agreement(features, labels, noisy)
        assert found > 0.4
        assert found - agreement(features, labels, noisy, torch.randperm) > 0.15
        assert agreement(features, labels, even) < 0.2
        shares.append(noisy.flipped.double().mean().item())
    assert numpy.mean(shares) == pytest.approx(0.4, abs=5 * (0.24 / (5 * len(labels))) ** 0.5)


@pytest.mark.parametrize("exact", [False, True])
def test_a_seed_gives_the_same_flips_with_any_number_of_threads(digits, exact, threads):
    before = torch.get_rng_state()
    first = st.noise.instance_dependent(*digits, 0.3, 10, generator=generator(), exact=exact)
    threads(2)
    again = st.noise.instance_dependent(*digits, 0.3, 10, generator=generator(), exact=exact)
    assert torch.equal(first.labels, again.labels)
    assert torch.equal(torch.get_rng_state(), before)


def test_stored_flips():
    features = torch.linspace(-1, 1, 50).reshape(25, 2)
    labels = torch.arange(K).repeat(5)
    labels[12] = -100
    flips = []
    for exact in (False, True):
        noisy = st.noise.instance_dependent(
            features, labels, 0.4, K, generator=generator(4), exact=exact
        )
        flips.append("".join("-" if each < 0 else str(each) for each in noisy.labels.tolist()))
    assert flips == [
        "023313403201-340123210204",
        "023343403201-340121211204",
    ]


def test_images_dtypes_and_ignored_labels():
    images = torch.randn(60, 3, 2, 2).half()
    labels = torch.randint(K, (60,), dtype=torch.uint8)
    labels[::7] = 255
    made = [
        st.noise.instance_dependent(each, labels, 0.5, K, generator=generator(), ignore_index=255)
        for each in (images, images.float().flatten(1), images.double().requires_grad_())
    ]
    assert all(torch.equal(made[0].labels, each.labels) for each in made)
    assert torch.equal(made[0].flipped, made[0].labels != labels)
    assert bool((made[0].labels[::7] == 255).all())
    assert made[0].flipped.any()
    absent = made[0].transition[:, 0]
    assert absent[1] == (made[0].labels[labels == 1] == 0).double().mean()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"rate": 1.01}, ValueError, r"`rate` must be in \[0, 1\], got 1.01; it is"),
        ({"num_classes": 1}, ValueError, "needs at least 2 classes"),
        ({"labels": torch.tensor([0, 9])}, ValueError, r"0 \.\. 4 \(5 classes\), got 9 at \(1,\)"),
        ({"labels": torch.zeros(2, 1).long()}, ValueError, r"labels of shape \(2, 1\); for label"),
        ({"labels": numpy.array([0, 1])}, TypeError, "got ndarray; make one with"),
        ({"features": torch.ones(3, 2)}, ValueError, r"for each of N labels, got \(3, 2\)"),
        ({"features": torch.ones(2)}, ValueError, r"must have shape \(N, \.\.\.\).* got \(2,\)"),
        ({"features": torch.ones(2, 2).long()}, TypeError, "got torch.int64; convert it with"),
        ({"features": numpy.ones((2, 2))}, TypeError, "`features` must be a floating point"),
        ({"features": torch.tensor([[0.0], [torch.nan]])}, ValueError, "got nan in row 1"),
        ({"features": torch.tensor([[0.0], [-torch.inf]]).half()}, ValueError, "got -inf in row 1"),
        (
            {"features": torch.tensor([[1e300], [0]], dtype=torch.float64)},
            ValueError,
            r"got 1e\+300 in row 0",
        ),
        ({"ignore_index": 0}, ValueError, "`ignore_index` must lie outside"),
        ({"generator": None}, TypeError, "`generator` must be a torch.Generator, got NoneType"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_arguments(wrong, error, message):
    source = generator()
    before = source.get_state()
    right = {"features": torch.ones(2, 3), "labels": torch.tensor([0, 1]), "rate": 0.2}
    options = {**right, "num_classes": K, "generator": source, **wrong}
    with pytest.raises(error, match=message):
        st.noise.instance_dependent(**options)
    assert torch.equal(source.get_state(), before)
