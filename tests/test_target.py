import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.testing import check_target, dense_target
from softtargets.testing.targets import check_algebra, check_parts

K = 5


def labels_of(batch_shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, batch_shape, generator=generator)
    if labels.numel() > 2:
        labels.view(-1)[1] = -100
    return labels


def labels(shape, dtype):
    return st.Target.from_labels(labels_of(shape), K, dtype=dtype)


def probs(shape, dtype):
    rows = torch.softmax(torch.randn(*shape, K, dtype=dtype), -1)
    rows[labels_of(shape) == -100] = 0
    return st.Target.from_probs(rows)


def top_k(shape, dtype, rest):
    values, indices = torch.softmax(torch.randn(*shape, K, dtype=dtype), -1).topk(2, -1)
    return st.Target.from_top_k(indices, values, K, rest=rest)


def prior(dtype, rows=()):
    return torch.softmax(torch.randn(*rows, K, dtype=dtype), -1)


def rates(shape, dtype):
    return torch.rand(shape, dtype=dtype)


KINDS = {
    "labels": labels,
    "probs": probs,
    "half probs": lambda s, d: st.Target.from_probs(probs(s, d).others[0].values.half(), dtype=d),
    "top-k, rest uniform": lambda s, d: top_k(s, d, "uniform"),
    "top-k, rest none": lambda s, d: top_k(s, d, "none"),
    "smooth": lambda s, d: labels(s, d).smooth(0.1),
    "smooth rate 1": lambda s, d: labels(s, d).smooth(1.0),
    "smooth rate 0": lambda s, d: labels(s, d).smooth(0.0),
    "smooth prior": lambda s, d: labels(s, d).smooth(0.2, prior(d)),
    "smooth row prior": lambda s, d: labels(s, d).smooth(0.2, prior(d, (K,))),
    "smooth per sample": lambda s, d: labels(s, d).smooth(rates(s, d)),
    "negative rate": lambda s, d: labels(s, d).smooth(-0.6, allow_negative=True),
    "mix": lambda s, d: labels(s, d).mix(labels(s, d)[...] * 1.0, 0.3),
    "mix of smooth": lambda s, d: labels(s, d).smooth(0.1).mix(probs(s, d).smooth(0.3), 0.7),
    "mix of mixes": lambda s, d: (
        labels(s, d).mix(probs(s, d), rates(s, d)).mix(top_k(s, d, "uniform"), 0.25)
    ),
    "map": lambda s, d: labels(s, d).smooth(0.2).map_classes(torch.randn(K, K, dtype=d)),
    "map of probs": lambda s, d: probs(s, d).map_classes(prior(d, (K,))),
    "map of half probs": lambda s, d: KINDS["half probs"](s, d).map_classes(prior(d, (K,))),
    "difference": lambda s, d: labels(s, d).smooth(0.3) * 2.0 - probs(s, d).smooth(0.1),
    "two tables": lambda s, d: (
        labels(s, d).smooth(0.2, prior(d, (K,))).mix(labels(s, d).smooth(0.4, prior(d)), 0.5)
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_battery(kind, shape, dtype):
    check_target(KINDS[kind](shape, dtype))


def test_battery_on_an_empty_batch_and_one_class():
    check_target(st.Target.from_labels(torch.zeros(0, dtype=torch.long), K).smooth(0.1))
    check_target(st.Target.from_labels(torch.zeros(3, dtype=torch.long), 1).smooth(0.1))


def test_the_oracle_catches_a_wrong_target(monkeypatch):
    target = labels((3,), torch.float64).smooth(0.1)
    monkeypatch.setattr(st.Target, "mass", lambda self, weight=None, alive=None: torch.ones(3))
    with pytest.raises(AssertionError, match="mass"):
        check_target(target)


leaf_kinds = some.sampled_from(["labels", "probs", "top-k, rest uniform", "top-k, rest none"])


@some.composite
def targets(draw, depth=2):
    """A target built by up to `depth` layers of operations, and the dense tensor it must be."""
    if depth == 0 or draw(some.integers(0, 3)) == 0:
        target = KINDS[draw(leaf_kinds)]((3,), torch.float64)
        return target, dense_target(target)
    target, dense = draw(targets(depth - 1))
    other, other_dense = draw(targets(depth - 1))
    amount = draw(some.floats(-2, 2))
    lam = draw(some.floats(0, 1))
    operation = draw(some.sampled_from(["+", "-", "*", "mix", "map"]))
    matrix = torch.arange(K * K, dtype=torch.float64).reshape(K, K).sin()
    return {
        "+": lambda: (target + other, dense + other_dense),
        "-": lambda: (target - other, dense - other_dense),
        "*": lambda: (amount * target, amount * dense),
        "mix": lambda: (target.mix(other, lam), lam * dense + (1 - lam) * other_dense),
        "map": lambda: (target.map_classes(matrix), dense @ matrix),
    }[operation]()


@given(targets())
def test_algebra_equals_dense_algebra(built):
    target, dense = built
    torch.testing.assert_close(target.dense(), dense, atol=1e-12, rtol=1e-12)
    check_parts(target)
    check_algebra(target)


@given(some.floats(0, 1), some.floats(0, 1), some.integers(1, 40))
def test_mixup_and_smoothing_commute(rate, lam, num_classes):
    a = st.Target.from_labels(torch.zeros(2, dtype=torch.long), num_classes, dtype=torch.float64)
    last = torch.full((2,), num_classes - 1)
    b = st.Target.from_labels(last, num_classes, dtype=torch.float64)
    first = a.mix(b, lam).smooth(rate)
    then = a.smooth(rate).mix(b.smooth(rate), lam)
    torch.testing.assert_close(first.dense(), then.dense(), atol=1e-14, rtol=0)
    assert first.smoothed
    assert then.smoothed
    torch.testing.assert_close(first.mass(), torch.ones(2, dtype=torch.float64))


@given(some.floats(0, 0.5), some.integers(2, 9))
def test_argmax_is_kept_for_rates_up_to_a_half(rate, num_classes):
    labels = torch.arange(num_classes)
    dense = st.Target.from_labels(labels, num_classes).smooth(rate).dense()
    assert torch.equal(dense.argmax(-1), labels)


def test_composers_example_is_the_same_in_both_orders():
    a = st.Target.from_labels(torch.tensor([0]), 4)
    b = st.Target.from_labels(torch.tensor([1]), 4)
    expected = torch.tensor([[0.295, 0.655, 0.025, 0.025]])
    torch.testing.assert_close(a.mix(b, 0.3).smooth(0.1).dense(), expected)
    torch.testing.assert_close(a.smooth(0.1).mix(b.smooth(0.1), 0.3).dense(), expected)


def test_same_tables_are_joined_and_uniform_masses_added():
    table = prior(torch.float32, (K,))
    a = labels((3,), torch.float32).smooth(0.1, table)
    both = a.mix(a, 0.5)
    assert len(both.others) == 1
    uniform = labels((3,), torch.float32).smooth(0.1)
    assert len((uniform + uniform).others) == 1


def test_rates_align_with_the_leading_dimensions():
    target = labels((2, 3), torch.float64).smooth(torch.tensor([0.0, 0.5]))
    assert bool((target[0].dense() == labels((2, 3), torch.float64)[0].dense()).all())
    assert target[1].dense()[0].min() == pytest.approx(0.1)


def test_smoothing_is_remembered():
    smooth = labels((3,), torch.float32).smooth(0.1)
    for derived in (smooth * 2.0, smooth[:2], smooth.to(torch.float64), copy.copy(smooth)):
        assert derived.smoothed
    assert smooth.map_classes(torch.eye(K)).smoothed
    with pytest.raises(ValueError, match="again=True"):
        smooth.smooth(0.1)
    with pytest.raises(ValueError, match="cannot be mixed"):
        smooth.mix(labels((3,), torch.float32), 0.5)
    assert smooth.mix(labels((3,), torch.float32).smooth(0.0), 0.5).smoothed
    twice = smooth.smooth(0.1, again=True)
    torch.testing.assert_close(twice.dense()[0].max().item(), 0.81 + 0.19 / K)
    assert torch.equal(twice.given.dense(), labels((3,), torch.float32).dense())


@pytest.mark.parametrize("kind", ["labels", "probs", "smooth", "smooth row prior", "two tables"])
def test_targets_of_two_dtypes_meet_in_the_wider_one(kind):
    narrow, wide = KINDS[kind]((3,), torch.float32), KINDS[kind]((3,), torch.float64)
    lam = torch.full((3,), 0.3, dtype=torch.float64)
    for one, other in ((narrow, wide), (wide, narrow)):
        expected = 0.3 * dense_target(one) + 0.7 * dense_target(other)
        for made in (one.mix(other, 0.3), one.mix(other, lam), one * 0.3 + other * 0.7):
            assert made.dtype == made.dense().dtype == made.given.dtype == torch.float64
        for made in (one.mix(other, 0.3), one.mix(other, lam)):
            torch.testing.assert_close(made.dense(), expected, rtol=0, atol=1e-15)
        check_target(one + other)


def test_gradients_reach_the_parts():
    rate = torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True)
    table = prior(torch.float64, (K,)).requires_grad_()
    target = st.Target.from_labels(torch.tensor([0, 1, 2]), K, dtype=torch.float64)
    logits = torch.randn(3, K, dtype=torch.float64)
    log_p = torch.log_softmax(logits, -1)

    def loss(rate, table):
        mixed = target.blend(rate, table)
        return st.cross_entropy(logits, mixed, reduction="sum")

    assert torch.autograd.gradcheck(loss, (rate, table))
    loss(rate, table).backward()
    q = torch.eye(K, dtype=torch.float64)[:3]
    expected = -((table[:3] - q) * log_p).sum(-1)
    torch.testing.assert_close(rate.grad, expected)


@pytest.mark.parametrize("form", ["probs", "rate"])
def test_the_gradient_of_a_zero_weight_is_its_log_probability(form):
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    log_p = torch.log_softmax(logits, -1)
    if form == "probs":
        part = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
        target, expected = st.Target.from_probs(part), -log_p
    else:
        part = torch.ones(1, dtype=torch.float64, requires_grad=True)
        label = st.Target.from_labels(torch.tensor([0]), 3, dtype=torch.float64)
        target, expected = label.smooth(part), log_p[:, 0] - log_p.mean(-1)
    st.cross_entropy(logits, target, reduction="sum").backward()
    torch.testing.assert_close(part.grad, expected)


class TestErrors:
    def test_labels(self):
        with pytest.raises(ValueError, match=r"`labels` must be in 0 \.\. 3 .* got 4 at \(1,\)"):
            st.Target.from_labels(torch.tensor([0, 4]), 4)
        with pytest.raises(TypeError, match=r"`labels` must hold integers, got torch.bool"):
            st.Target.from_labels(torch.tensor([True]), 4)
        with pytest.raises(TypeError, match=r"from_probs"):
            st.Target.from_labels(torch.tensor([1.0]), 4)
        with pytest.raises(TypeError, match=r"`num_classes` must be an integer, got float"):
            st.Target.from_labels(torch.tensor([1]), 4.0)
        with pytest.raises(ValueError, match=r"`num_classes` must be at least 1, got 0"):
            st.Target.from_labels(torch.tensor([], dtype=torch.long), 0)

    def test_probs(self):
        with pytest.raises(TypeError, match=r"from_labels"):
            st.Target.from_probs(torch.tensor([1, 0]))
        with pytest.raises(ValueError, match=r"got a scalar"):
            st.Target.from_probs(torch.tensor(1.0))
        with pytest.raises(ValueError, match=r"got sum 1\.5 at \(1,\); apply softmax"):
            st.Target.from_probs(torch.tensor([[0.5, 0.5], [1.0, 0.5]]), validate=True)
        st.Target.from_probs(torch.tensor([[0.5, 0.5], [0.0, 0.0]]), validate=True)

    def test_top_k(self):
        indices, weights = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.25]])
        with pytest.raises(ValueError, match=r'`rest` must be "uniform" or "none"'):
            st.Target.from_top_k(indices, weights, 4, rest="even")
        with pytest.raises(ValueError, match=r"same shape"):
            st.Target.from_top_k(indices, weights[:, :1], 4)
        with pytest.raises(ValueError, match=r"k <= 1"):
            st.Target.from_top_k(indices, weights, 1)
        with pytest.raises(ValueError, match=r"0 \.\. 3"):
            st.Target.from_top_k(indices + 3, weights, 4)
        with pytest.raises(TypeError, match=r"`weights` must be a floating point"):
            st.Target.from_top_k(indices, indices, 4)
        with pytest.raises(TypeError, match=r"`topk` returns \(values, indices\)"):
            st.Target.from_top_k(*torch.rand(2, 4).topk(2), 4)
        with pytest.raises(TypeError, match=r"`indices` must hold .*bool; convert it with `.long"):
            st.Target.from_top_k(indices > 0, weights, 4)

    @pytest.mark.parametrize("rate", [1.3, float("nan"), float("inf"), torch.tensor([0.1, 1.5])])
    def test_rates(self, rate):
        target = st.Target.from_labels(torch.tensor([0, 1]), 4)
        with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\], got (1\.[35]|nan|inf)"):
            target.smooth(rate)

    def test_negative_rates_need_an_opt_in(self):
        target = st.Target.from_labels(torch.tensor([0, 1]), 4)
        for rate in (-0.5, torch.tensor([0.1, -0.5])):
            with pytest.raises(ValueError, match=r"got -0\.5; .* `allow_negative=True`"):
                target.smooth(rate)
            assert target.smooth(rate, allow_negative=True).dense().min() < 0

    def test_shapes(self):
        target = st.Target.from_labels(torch.tensor([0, 1]), 4)
        with pytest.raises(ValueError, match=r"`rate` must be a number or hold one value per"):
            target.smooth(torch.rand(3))
        with pytest.raises(ValueError, match=r"`prior` must have shape \(4,\) or \(4, 4\)"):
            target.smooth(0.1, torch.ones(3) / 3)
        with pytest.raises(ValueError, match=r"`prior` must hold distributions .* sums to 4"):
            target.smooth(0.1, torch.ones(4))
        with pytest.raises(ValueError, match=r"agree in classes and batch shape"):
            target + target[:1]
        with pytest.raises(ValueError, match=r"on one device to be added, got cpu and meta; move"):
            target + target.to("meta")
        with pytest.raises(
            TypeError, match=r"`prior` must be a floating .*list; make one with `tor"
        ):
            target.smooth(0.1, [0.25] * 4)
        with pytest.raises(TypeError, match=r"`rate` must hold real numbers, got torch\.bool"):
            target.smooth(torch.tensor([True, False]))
        with pytest.raises(TypeError, match="`ignore_index` must be an integer, got NoneType"):
            st.Target.from_labels(torch.tensor([0]), 4, None)
        with pytest.raises(ValueError, match=r"`lam` must be in \[0, 1\], got 1.5"):
            target.mix(target, 1.5)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
    def test_narrow_dtypes_are_refused(self, dtype):
        target = st.Target.from_labels(torch.tensor([0, 1]), 4)
        with pytest.raises(TypeError, match=r"must be torch\.float32 or torch\.float64"):
            target.to(dtype)
        with pytest.raises(TypeError, match=r"must be torch\.float32 or torch\.float64"):
            st.Target.from_labels(torch.tensor([0, 1]), 4, dtype=dtype)

    def test_entropy_of_negative_entries(self):
        target = st.Target.from_labels(torch.tensor([0]), 2).smooth(-1.0, allow_negative=True)
        with pytest.raises(ValueError, match=r"`entropy` needs entries >= 0, got -0\.5"):
            target.entropy()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_narrow_label_dtypes_do_not_wrap_around(dtype):
    labels = torch.tensor([1, 0], dtype=dtype)
    target = st.Target.from_labels(labels, 300, ignore_index=255)
    assert not target.ignored().any()
    wide = torch.tensor([156, 0], dtype=torch.uint8)
    assert not st.Target.from_labels(wide, 300).ignored().any()
    assert wide.tolist() == [156, 0]


def test_labels_are_not_changed():
    labels = torch.tensor([1, -100, 2])
    st.cross_entropy(torch.randn(3, 4, requires_grad=True), labels, smoothing=0.1).backward()
    assert labels.tolist() == [1, -100, 2]


def test_a_signed_row_that_sums_to_zero_is_left_alone_where_nothing_is_dead():
    table = torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0], [0.0, 0.0, 0.0]])
    target = st.Target.from_labels(torch.tensor([0, 1]), 3).map_classes(table)
    alive = torch.tensor([[True, True, True], [True, False, True]])
    torch.testing.assert_close(target.dense(alive)[0], table[0])
    torch.testing.assert_close(target.dense(alive), dense_target(target, alive).float())


@pytest.mark.parametrize("make", ["labels", "probs", "smoothed"])
def test_factors_per_sample_compile(make):
    logits, labels = torch.randn(4, K), torch.tensor([0, 1, 2, 0])
    lam = torch.tensor([0.3, 0.2, 0.9, 0.5])

    def loss(z):
        target = st.Target.from_labels(labels, K)
        if make == "probs":
            target = st.Target.from_probs(target.dense())
        if make == "smoothed":
            target = target.smooth(lam / 2, torch.full((K,), 1 / K))
        return -target.mix(target[torch.tensor([3, 2, 1, 0])], lam).dot(z)

    torch.compiler.reset()
    run = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(logits), loss(logits))
