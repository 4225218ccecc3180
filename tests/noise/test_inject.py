import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.noise.drawing import pick

K = 5
ROWS = torch.tensor([8, 4, 2, 1, 0.5, 0.25, 0.125]).double()

KINDS = {
    "symmetric": st.noise.symmetric,
    "pair": st.noise.pair,
    "asymmetric": lambda labels, rate, num_classes, **options: st.noise.asymmetric(
        labels, rate, {0: 1, num_classes - 1: 0}, num_classes, **options
    ),
    "class_matrix": lambda labels, rate, num_classes, **options: st.noise.class_matrix(
        labels, expected_transition("class_matrix", rate, num_classes), **options
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def expected_transition(kind, rate, num_classes):
    """The `(K, K)` law of each kind, written out."""
    law = torch.eye(num_classes, dtype=torch.float64) * (1 - rate)
    for i in range(num_classes):
        for j in range(num_classes):
            following = j == (i + 1) % num_classes
            if kind == "symmetric" and i != j:
                law[i, j] += rate / (num_classes - 1)
            elif kind == "pair" and following:
                law[i, j] += rate
            elif kind == "class_matrix":
                law[i, j] += rate * float(ROWS[j] / ROWS[:num_classes].sum())
    if kind == "asymmetric":
        law = torch.eye(num_classes, dtype=torch.float64)
        law[0, 0], law[0, 1] = 1 - rate, rate
        law[-1, -1], law[-1, 0] = 1 - rate, rate
    return law


@every_kind
def test_a_seed_gives_the_same_flips_and_touches_no_global_state(kind):
    labels = torch.randint(K, (200,))
    before = torch.get_rng_state()
    source = generator()
    first = KINDS[kind](labels, 0.3, K, generator=source)
    following = KINDS[kind](labels, 0.3, K, generator=source)
    again = KINDS[kind](labels, 0.3, K, generator=source.manual_seed(0))
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, following.labels)
    assert torch.equal(torch.get_rng_state(), before)


@every_kind
@pytest.mark.parametrize("exact", [False, True])
def test_the_number_of_threads_changes_nothing(kind, exact, threads):
    labels = torch.randint(K, (40_000,))  # more than torch gives to one thread
    first = KINDS[kind](labels, 0.3, K, generator=generator(), exact=exact)
    threads(2)
    again = KINDS[kind](labels, 0.3, K, generator=generator(), exact=exact)
    assert torch.equal(first.labels, again.labels)


# Labels 0 .. 4 five times, the 13th ignored, rate 0.4, seed 3. Recorded runs depend on these.
STORED = {
    "symmetric": "422440323411-442423101104",
    "pair": "122440223411-441223001344",
    "asymmetric": "112340123411-341123001234",
    "class_matrix": "102140023431-042023001004",
}
STORED_EXACT = {
    "symmetric": "412440313401-342423101101",
    "pair": "112440233401-341223001340",
    "asymmetric": "112340123401-341123001230",
    "class_matrix": "112140023401-340023001000",
}


@every_kind
def test_stored_flips(kind):
    labels = torch.arange(K).repeat(5)
    labels[12] = -100
    for exact, stored in ((False, STORED), (True, STORED_EXACT)):
        noisy = KINDS[kind](labels, 0.4, K, generator=generator(3), exact=exact)
        assert (
            "".join("-" if each < 0 else str(each) for each in noisy.labels.tolist())
            == stored[kind]
        )


@given(
    some.sampled_from(sorted(KINDS)),
    some.floats(0, 1),
    some.integers(2, 6),
    some.lists(some.integers(0, 7), max_size=3),
    some.sampled_from([-100, -1, 255]),
    some.booleans(),
    some.integers(0, 99),
)
def test_flips_are_what_they_say(kind, rate, num_classes, shape, ignore_index, exact, seed):
    labels = torch.randint(num_classes, shape, generator=generator(seed))
    ignored = torch.rand(shape, generator=generator(seed)) < 0.2
    labels[ignored] = ignore_index
    clean = labels.clone()
    noisy = KINDS[kind](
        labels, rate, num_classes, generator=generator(seed), exact=exact, ignore_index=ignore_index
    )
    assert torch.equal(labels, clean)
    assert noisy.labels.dtype == torch.int64
    assert noisy.labels.shape == noisy.flipped.shape == labels.shape
    assert torch.equal(noisy.flipped, noisy.labels != labels)
    assert bool((noisy.labels[ignored] == ignore_index).all())
    possible = expected_transition(kind, rate, num_classes) > 0
    assert bool(possible[clean[~ignored], noisy.labels[~ignored]].all())
    for i in range(num_classes):
        own = noisy.labels[labels == i]
        for j in range(num_classes):
            share = (own == j).double().mean() if len(own) else float(i == j)
            assert noisy.transition[i, j] == share


@every_kind
def test_flips_follow_the_law(kind):
    labels = torch.arange(K).repeat(20_000)
    noisy = KINDS[kind](labels, 0.4, K, generator=generator())
    law = expected_transition(kind, 0.4, K)
    deviation = (law * (1 - law) / 20_000).sqrt()
    assert bool(((noisy.transition - law).abs() <= 5 * deviation + 1e-15).all())


@every_kind
def test_the_limits(kind):
    labels = torch.arange(K).repeat(10)
    none = KINDS[kind](labels, 0.0, K, generator=generator())
    assert torch.equal(none.labels, labels)
    assert torch.equal(none.transition, torch.eye(K, dtype=torch.float64))
    every = KINDS[kind](labels, 1.0, K, generator=generator())
    leaves = expected_transition(kind, 1.0, K).diagonal() == 0
    assert torch.equal(
        every.flipped[leaves[labels]], torch.ones_like(labels[leaves[labels]]).bool()
    )
    absent = KINDS[kind](torch.tensor([0]), 1.0, 3, generator=generator())
    assert torch.equal(absent.transition[1:], torch.eye(3, dtype=torch.float64)[1:])


@given(
    some.sampled_from(["symmetric", "pair", "class_matrix"]),
    some.one_of(some.floats(0, 1), some.sampled_from([0.1, 0.15, 0.2, 0.29, 0.35, 0.5, 0.7])),
    some.lists(some.integers(0, 40), min_size=2, max_size=7),
)
def test_exact_counts(kind, rate, sizes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    noisy = KINDS[kind](labels, rate, len(sizes), generator=generator(), exact=True)
    counts = [int(noisy.flipped[labels == i].sum()) for i in range(len(sizes))]
    law = expected_transition(kind, rate, len(sizes))
    shares = [float(1 - law[i, i]) * size for i, size in enumerate(sizes)]
    # The rates of a matrix are computed, so halves may fall on either side.
    assert abs(sum(counts) - sum(shares)) <= 0.5 + 1e-9
    assert all(abs(count - share) < 1 + 1e-9 for count, share in zip(counts, shares, strict=True))
    if kind != "class_matrix":
        assert sum(counts) == round(rate * len(labels))
        raised = [s % 1 for c, s in zip(counts, shares, strict=True) if c > s]
        left = [s % 1 for c, s in zip(counts, shares, strict=True) if c < s]
        assert max(left, default=0) <= min(raised, default=1) + 1e-9


def test_exact_counts_by_hand():
    # Shares 2.5, 1.25, 1.25, 0.75: 5.75 flips in all; two of the 6 go to the largest remainders.
    labels = torch.tensor([0] * 10 + [1] * 5 + [2] * 5 + [3] * 3)
    noisy = st.noise.symmetric(labels, 0.25, 4, generator=generator(), exact=True)
    assert [int(noisy.flipped[labels == i].sum()) for i in range(4)] == [3, 1, 1, 1]
    # 4.5 flips in all: round gives 4; of equal remainders the lower class comes first.
    even = torch.arange(3).repeat(3)
    noisy = st.noise.pair(even, 0.5, 3, generator=generator(), exact=True)
    assert [int(noisy.flipped[even == i].sum()) for i in range(3)] == [2, 1, 1]
    # Only the labels that the mapping names count.
    noisy = st.noise.asymmetric(even, 0.34, {1: 2}, generator=generator(), exact=True)
    assert [int(noisy.flipped[even == i].sum()) for i in range(3)] == [0, 1, 0]


@every_kind
def test_exact_flips_come_first_by_the_same_draw(kind):
    labels = torch.randint(K, (500,))
    exact = KINDS[kind](labels, 0.3, K, generator=generator(), exact=True)
    free = KINDS[kind](labels, 0.3, K, generator=generator())
    assert not torch.equal(exact.flipped, free.flipped)
    for i in range(K):
        own, others = exact.flipped[labels == i], free.flipped[labels == i]
        assert int((own & others).sum()) == min(int(own.sum()), int(others.sum()))
    both = exact.flipped & free.flipped
    assert torch.equal(exact.labels[both], free.labels[both])


def test_mappings_of_every_form():
    labels = torch.arange(4).repeat(25)
    given = [{0: 2, 1: 0, 2: 3, 3: 0}, [2, 0, 3, 0], (2, 0, 3, 0), torch.tensor([2, 0, 3, 0])]
    made = [st.noise.asymmetric(labels, 0.5, one, generator=generator()) for one in given]
    assert all(torch.equal(made[0].labels, one.labels) for one in made)
    assert made[0].transition.shape == (4, 4)
    # Classes that lead to themselves are as if not named.
    some = st.noise.asymmetric(labels, 0.5, {0: 4, 2: 3}, K, generator=generator(), exact=True)
    whole = torch.tensor([4, 1, 3, 3, 4])
    same = st.noise.asymmetric(labels, 0.5, whole, generator=generator(), exact=True)
    assert all(torch.equal(*pair) for pair in zip(some, same, strict=True))
    larger = st.noise.asymmetric(labels, 0.5, {0: 6}, generator=generator())
    assert larger.transition.shape == (7, 7)
    ignored = torch.tensor([255, 0, 1], dtype=torch.uint8)
    small = st.noise.asymmetric(ignored, 1.0, {0: 1}, generator=generator(), ignore_index=255)
    assert small.labels.tolist() == [255, 1, 1]
    assert small.transition.tolist() == [[0, 1], [0, 1]]
    # In eight bits -100 would be 156.
    many = torch.tensor([156, 0], dtype=torch.uint8)
    assert len(st.noise.asymmetric(many, 1.0, {0: 1}, generator=generator()).transition) == 157


def test_a_matrix_may_be_of_any_float_dtype_and_hold_zeros():
    rows = torch.tensor([[0, 0, 1, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]])
    labels = torch.arange(4).repeat(1000)
    made = [
        st.noise.class_matrix(labels, rows.to(dtype).requires_grad_(), generator=generator())
        for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    ]
    assert all(torch.equal(made[0].labels, one.labels) for one in made)
    assert torch.equal(made[0].transition[0], torch.tensor([0, 0, 1.0, 0]).double())
    assert bool((made[0].transition[rows == 0] == 0).all())


def test_a_row_that_is_rounded_is_divided_by_its_sum():
    rows = torch.tensor([[0.0, 0.99995], [0.0, 1.0]])
    labels = torch.zeros(20_000, dtype=torch.long)
    noisy = st.noise.class_matrix(labels, rows, generator=generator(), exact=True)
    assert bool(noisy.flipped.all())


def test_the_ends_of_a_draw():
    drawn = torch.tensor([0, 0.5 - 2**-54, 0.5, 1 - 2**-53], dtype=torch.float64)
    row = torch.tensor([0, 0.7, 0.7, 1.4, 1.4], dtype=torch.float64)
    assert pick(row, drawn).tolist() == [1, 1, 3, 3]
    assert pick(row.repeat(4, 1), drawn).tolist() == [1, 1, 3, 3]


class _Elsewhere(torch.Generator):
    device = torch.device("cuda")


EYE = torch.eye(K)
NAN = float("nan")
WRONG = [
    ("symmetric", {"rate": 1.5}, ValueError, r"`rate` must be in \[0, 1\], got 1.5; it is"),
    ("pair", {"rate": -0.1}, ValueError, r"`rate` must be in \[0, 1\], got -0.1; it is"),
    ("asymmetric", {"rate": NAN}, ValueError, r"`rate` must be in \[0, 1\], got nan"),
    ("symmetric", {"rate": "0.1"}, TypeError, "`rate` must be a number, got str"),
    ("symmetric", {"num_classes": 1}, ValueError, "needs at least 2 classes"),
    ("pair", {"num_classes": 1}, ValueError, "needs at least 2 classes"),
    ("pair", {"num_classes": 2.0}, TypeError, "`num_classes` must be an integer, got float"),
    ("symmetric", {"labels": torch.tensor([7])}, ValueError, r"0 \.\. 4"),
    ("pair", {"labels": torch.tensor([[0, -1]])}, ValueError, r"got -1 at \(0, 1\)"),
    ("class_matrix", {"labels": torch.tensor([7])}, ValueError, r"0 \.\. 4 \(5 classes\), got 7"),
    ("asymmetric", {"labels": torch.tensor([7]), "num_classes": K}, ValueError, r"0 \.\. 4"),
    ("asymmetric", {"labels": torch.tensor([-7])}, ValueError, "got -7"),
    ("symmetric", {"labels": torch.tensor([0.5])}, TypeError, "must hold integers"),
    ("asymmetric", {"labels": torch.tensor([0.5])}, TypeError, "must hold integers"),
    ("symmetric", {"labels": [1, 2]}, TypeError, "must be a tensor of integers, got list"),
    ("symmetric", {"generator": 0}, TypeError, "`generator` must be a torch.Generator, got int"),
    ("pair", {"generator": _Elsewhere()}, ValueError, r"must be on the CPU, got cuda; make one"),
    ("pair", {"ignore_index": 4}, ValueError, r"`ignore_index` must lie outside 0 \.\. 4"),
    ("asymmetric", {"mapping": {}}, ValueError, "must lead a class to another one, got {}"),
    ("asymmetric", {"mapping": [0, 1]}, ValueError, "another one, got {0: 0, 1: 1}; .* flips 0"),
    ("asymmetric", {"mapping": {0: -1}}, ValueError, r"stay in 0 \.\. 1 .* got 0 to -1"),
    ("asymmetric", {"mapping": {0: 5}, "num_classes": K}, ValueError, r"0 \.\. 4 .*got 0 to 5"),
    ("asymmetric", {"mapping": [1, 0], "num_classes": K}, ValueError, "all 5 classes, got 2"),
    ("asymmetric", {"mapping": [1, 0], "labels": torch.tensor([3])}, ValueError, r"0 \.\. 1"),
    ("asymmetric", {"mapping": {0: {1: 0.5}}}, TypeError, "class numbers, got {1: 0.5}; .*matrix"),
    ("asymmetric", {"mapping": torch.tensor([1.0, 0.0])}, TypeError, "class numbers, got 1.0"),
    ("asymmetric", {"mapping": {True: 0}}, TypeError, "class numbers, got True"),
    ("asymmetric", {"mapping": 3}, TypeError, "`mapping` must be a dict .*got int"),
    ("class_matrix", {"transition": EYE[:3]}, ValueError, r"shape \(K, K\).*got \(3, 5\)"),
    ("class_matrix", {"transition": EYE[0]}, ValueError, r"shape \(K, K\).*got \(5,\)"),
    ("class_matrix", {"transition": EYE.long()}, TypeError, "must be a floating point tensor"),
    ("class_matrix", {"transition": EYE * 2}, ValueError, "row 0 sums to 2"),
    ("class_matrix", {"transition": EYE * NAN}, ValueError, "`transition` must be finite"),
    ("class_matrix", {"transition": EYE / 0}, ValueError, "`transition` must be finite"),
    ("class_matrix", {"transition": 2 * EYE - 0.2}, ValueError, "minimum -0.2"),
]
RIGHT = {
    "symmetric": {"rate": 0.1, "num_classes": K},
    "pair": {"rate": 0.1, "num_classes": K},
    "asymmetric": {"rate": 0.1, "mapping": {0: 1}},
    "class_matrix": {"transition": EYE},
}


@pytest.mark.parametrize(("kind", "wrong", "error", "message"), WRONG)
def test_arguments(kind, wrong, error, message):
    source = generator()
    before = source.get_state()
    options = {"labels": torch.tensor([0, 1]), "generator": source, **RIGHT[kind]}
    getattr(st.noise, kind)(**options)
    source.set_state(before)
    with pytest.raises(error, match=message):
        getattr(st.noise, kind)(**{**options, **wrong})
    assert torch.equal(source.get_state(), before)


def test_numpy_labels_are_refused_with_a_way_out():
    numpy = pytest.importorskip("numpy")
    labels = numpy.array([0, 1, 2])
    with pytest.raises(TypeError, match=r"got ndarray; make one with `torch.as_tensor\(labels\)`"):
        st.noise.symmetric(labels, 0.1, 3, generator=generator())
    noisy = st.noise.asymmetric(
        torch.as_tensor(labels), numpy.float32(1), {labels[0]: labels[2]}, generator=generator()
    )
    assert noisy.labels.tolist() == [2, 1, 2]
