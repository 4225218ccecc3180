"""Penalties against their formulas written row by row in float64, and the contract they share."""

import math

import numpy as np
import pytest
import torch

import softtargets as st
from tests.reference import log_softmax, softmax

K = 6
PENALTIES = {
    "margin": lambda: st.MarginPenalty(1.5, 0.3),
    "confidence": lambda: st.ConfidencePenalty(0.4),
    "threshold": lambda: st.ConfidencePenalty(0.4, threshold=1.2),
    "zipf": lambda: st.ZipfPenalty(0.7, exponent=1.3),
    "acls": lambda: st.ACLSPenalty(0.5, 0.2, top_weight=1.0, rest_weight=0.3),
}


def reference(kind, z, label):
    """The value for one row of living logits and the position of the label among them."""
    p, log_p, k = softmax(z), log_softmax(z), len(z)
    entropy = -(p * log_p).sum()
    if kind == "margin":
        return 0.3 * sum(max(z.max() - v - 1.5, 0) for v in z) / k
    if kind == "confidence":
        return -0.4 * entropy
    if kind == "threshold":
        return 0.4 * max(0, 1.2 - entropy)
    if kind == "zipf":
        rest = sorted((v for i, v in enumerate(z) if i != label), reverse=True)
        law = np.array([rank**-1.3 for rank in range(1, len(rest) + 1)])
        law /= law.sum()
        return 0.7 * (law * (np.log(law) - log_softmax(rest))).sum()
    top = int(z.argmax())
    low = [max(z[top] - v - 0.5, 0) ** 2 for i, v in enumerate(z) if i != top]
    return 0.2 * (max(z[top] - 0.5, 0) ** 2 + 0.3 * sum(low) / max(len(low), 1))


def batch(dtype=torch.float64):
    logits = 2 * torch.randn(8, K, dtype=dtype)
    labels = torch.randint(K, (8,))
    return logits, labels, st.Target.from_labels(labels, K)


@pytest.mark.parametrize("kind", PENALTIES)
class TestEachPenalty:
    def test_the_formula(self, kind):
        logits, labels, target = batch()
        expected = [reference(kind, z, int(y)) for z, y in zip(logits.numpy(), labels, strict=True)]
        ours = PENALTIES[kind]()(logits, target)
        torch.testing.assert_close(ours, torch.tensor(np.array(expected)), rtol=1e-10, atol=1e-10)
        smooth = PENALTIES[kind]()(logits, target.smooth(0.1))
        assert torch.equal(ours, smooth)

    def test_gradcheck(self, kind):
        logits, _, target = batch()
        penalty = PENALTIES[kind]()
        # The stopped gradient of ACLS has no finite difference: its two halves are checked below.
        if kind != "acls":
            assert torch.autograd.gradcheck(lambda z: penalty(z, target), logits.requires_grad_())

    def test_masked_classes_take_no_part(self, kind):
        logits, labels, target = batch()
        alive = torch.rand(8, K) > 0.4
        alive[torch.arange(8), labels] = True
        alive[torch.arange(8), (labels + 1) % K] = True
        expected = torch.tensor(
            np.array(
                [
                    reference(kind, z[a.numpy()], int(a[:y].sum()))
                    for z, a, y in zip(logits.numpy(), alive, labels, strict=True)
                ]
            )
        )
        dead = logits.masked_fill(~alive, -torch.inf)
        for form, mask in ((dead, None), (dead, alive), (logits, alive)):
            leaf = form.clone().requires_grad_()
            values = PENALTIES[kind]()(leaf, target, mask)
            values.sum().backward()
            torch.testing.assert_close(values.detach(), expected, rtol=1e-10, atol=1e-10)
            assert bool(leaf.grad.isfinite().all())
            assert bool((leaf.grad[~alive] == 0).all())

    def test_ignored_rows_are_exactly_0(self, kind):
        logits, labels, _ = batch(torch.float32)
        labels[::2] = -100
        poisoned = logits.clone()
        poisoned[0], poisoned[2], poisoned[4] = torch.nan, torch.inf, -torch.inf
        leaf = poisoned.requires_grad_()
        values = PENALTIES[kind]()(leaf, st.Target.from_labels(labels, K))
        values.sum().backward()
        assert bool((values[::2] == 0).all())
        assert bool((leaf.grad[::2] == 0).all())
        clean = PENALTIES[kind]()(logits[1::2], st.Target.from_labels(labels[1::2], K))
        torch.testing.assert_close(values[1::2], clean)

    def test_half_precision_is_computed_in_float32(self, kind):
        logits, _, target = batch(torch.float32)
        for dtype in (torch.float16, torch.bfloat16):
            values = PENALTIES[kind]()(logits.to(dtype), target)
            assert values.dtype == torch.float32
            assert torch.equal(values, PENALTIES[kind]()(logits.to(dtype).float(), target))

    def test_batch_dimensions_lead(self, kind):
        logits, labels, target = batch()
        penalty = PENALTIES[kind]()
        square = st.Target.from_labels(labels.reshape(2, 4), K)
        values = penalty(logits.reshape(2, 4, K), square)
        assert torch.equal(values, penalty(logits, target).reshape(2, 4))

    def test_compile(self, kind):
        logits, _, target = batch(torch.float32)
        penalty = PENALTIES[kind]()
        torch.compiler.reset()
        run = torch.compile(lambda z: penalty(z, target), fullgraph=True, backend="aot_eager")
        results = []
        for call in (run, lambda z: penalty(z, target)):
            leaf = logits.clone().requires_grad_()
            values = call(leaf)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
            results.append((values.detach(), gradient))
        torch.testing.assert_close(results[0], results[1])

    def test_shapes_are_checked(self, kind):
        _, _, target = batch()
        with pytest.raises(ValueError, match=r"`logits` must have shape \(8, 6\) .* got \(8, 5\)"):
            PENALTIES[kind]()(torch.randn(8, 5), target)
        with pytest.raises(TypeError, match="`logits` must be a floating point tensor"):
            PENALTIES[kind]()(torch.ones(8, 6, dtype=torch.long), target)

    def test_size_0_is_nothing(self, kind):
        logits, _, target = batch()
        penalty = PENALTIES[kind]()
        penalty.weight = 0.0
        assert bool((penalty(logits, target) == 0).all())
        assert "weight=0" in repr(penalty)


def test_the_halves_of_acls():
    logits, _, target = batch()
    high = st.ACLSPenalty(0.5, rest_weight=0.0)
    assert torch.autograd.gradcheck(lambda z: high(z, target), logits.clone().requires_grad_())
    leaf = logits.clone().requires_grad_()
    st.ACLSPenalty(0.5, 1.0, top_weight=0.0, rest_weight=1.0)(leaf, target).sum().backward()
    top = logits.amax(-1, keepdim=True)
    expected = -2 * (top - logits - 0.5).relu() / (K - 1)
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-10, atol=1e-10)


def test_known_values():
    _, _, target = batch()
    even = torch.zeros(8, K)
    torch.testing.assert_close(
        st.ConfidencePenalty(1.0)(even, target), torch.full((8,), -math.log(K))
    )
    assert bool((st.ConfidencePenalty(1.0, math.log(K) - 1e-3)(even, target) == 0).all())
    assert bool((st.MarginPenalty(0.0)(even, target) == 0).all())
    # A model that follows the law costs nothing.
    label_first = st.Target.from_labels(torch.tensor([0]), K)
    logits = torch.cat([torch.tensor([3.0]), -torch.arange(1.0, K).log()])[None]
    assert st.ZipfPenalty(1.0)(logits, label_first).item() == pytest.approx(0, abs=1e-6)


def test_zipf_leaves_out_every_label_of_a_mix():
    logits = torch.randn(4, K, dtype=torch.float64)
    labels, partners = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 4, 3])
    mixed = st.Target.from_labels(labels, K).mix(st.Target.from_labels(partners, K), 0.4)
    values = st.ZipfPenalty(1.0)(logits, mixed)
    for i in range(3):
        rest = [k for k in range(K) if k not in (int(labels[i]), int(partners[i]))]
        part = torch.cat([torch.zeros(1, dtype=torch.float64), logits[i, rest]])[None]
        alone = st.ZipfPenalty(1.0)(part, st.Target.from_labels(torch.tensor([0]), K - 1))
        torch.testing.assert_close(values[i], alone[0])


def test_zipf_without_another_class_is_0():
    leaf = torch.tensor([[1.0, -torch.inf]], requires_grad=True)
    value = st.ZipfPenalty(1.0)(leaf, st.Target.from_labels(torch.tensor([0]), 2))
    value.sum().backward()
    assert value == 0
    assert bool((leaf.grad == 0).all())


def test_zipf_needs_labels():
    probs = st.Target.from_probs(torch.full((2, K), 1 / K))
    with pytest.raises(TypeError, match=r"`target` must be labels .* ZipfPenalty"):
        st.ZipfPenalty()(torch.randn(2, K), probs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: st.MarginPenalty(-1.0), r"`margin` must be in \[0, inf\], got -1"),
        (lambda: st.MarginPenalty(weight=float("inf")), "`weight` must be finite"),
        (lambda: st.ConfidencePenalty(-0.1), r"`weight` must be in \[0, inf\], got -0\.1"),
        (lambda: st.ZipfPenalty(exponent=float("nan")), "`exponent` must be in"),
        (lambda: st.ACLSPenalty(rest_weight=-1), "`rest_weight` must be in"),
    ],
)
def test_sizes_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("kind", ["margin", "confidence", "acls"])
def test_large_logits_stay_finite(kind):
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = PENALTIES[kind]()(logits, st.Target.from_labels(torch.tensor([0]), 3))
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize(
    "make", [st.MarginPenalty, st.ConfidencePenalty, st.ZipfPenalty, st.ACLSPenalty]
)
def test_weights_take_schedules(make):
    logits, target = 20 * torch.randn(3, 4), st.Target.from_labels(torch.tensor([0, 1, 2]), 4)
    criterion = st.CrossEntropyLoss(penalty=make(weight=st.Schedule.linear(0.0, 0.4, 2)))
    assert bool((criterion.penalty(logits, target) == 0).all())
    criterion.step()
    torch.testing.assert_close(criterion.penalty(logits, target), make(weight=0.2)(logits, target))
    assert "weight=<linear schedule>" in repr(criterion)
    with pytest.raises(ValueError, match="`weight` must be in"):
        make(weight=st.Schedule.linear(-1.0, 1.0, 2))


def test_the_weights_of_acls_take_schedules():
    logits, _, target = batch()
    criterion = st.CrossEntropyLoss(
        penalty=st.ACLSPenalty(
            0.5,
            top_weight=st.Schedule.linear(0.0, 2.0, 2),
            rest_weight=st.Schedule.step((0.3, 0.0), (2,)),
        )
    )
    for top, rest in ((0.0, 0.3), (1.0, 0.3), (2.0, 0.0)):
        expected = st.ACLSPenalty(0.5, top_weight=top, rest_weight=rest)(logits, target)
        torch.testing.assert_close(criterion.penalty(logits, target), expected)
        criterion.step()
    assert "top_weight=<linear schedule>, rest_weight=<step schedule>" in repr(criterion)
    with pytest.raises(ValueError, match="`rest_weight` must be in"):
        st.ACLSPenalty(rest_weight=st.Schedule.linear(0.0, -1.0, 2))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (st.MarginPenalty, "margin"),
        (st.ACLSPenalty, "margin"),
        (st.ConfidencePenalty, "threshold"),
        (st.ZipfPenalty, "exponent"),
    ],
)
def test_what_takes_no_schedule_says_what_does(make, name):
    with pytest.raises(TypeError, match=rf"`{name}` must be a number, .* `weight=schedule`"):
        make(**{name: st.Schedule.linear(0.0, 1.0, 2)})
