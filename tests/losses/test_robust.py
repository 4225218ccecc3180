"""Generalised and symmetric cross-entropy: formulas row by row, known special cases, edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from tests.reference import log_softmax

N, K = 8, 5
INF = torch.inf
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25, 1.5], dtype=torch.float64)
FLOOR_LOG = math.log(1e-4)


def batch(dtype=torch.float64):
    labels = torch.randint(K, (N,))
    labels[3] = -100
    return 2 * torch.randn(N, K, dtype=dtype), labels


def base():
    return st.Target.from_labels(batch()[1], K, dtype=torch.float64)


def rows():
    return torch.softmax(3 * torch.randn(N, K, dtype=torch.float64), -1)


TARGETS = {
    "labels": base,
    "marked": lambda: base().smooth(0.0),
    "scaled": lambda: base() * torch.linspace(0.5, 2, N),
    "smooth": lambda: base().smooth(0.2),
    "negative": lambda: base().smooth(-0.3, allow_negative=True),
    "prior": lambda: base().smooth(0.3, torch.tensor([0.5, 0.5, 0, 0, 0]).double()),
    "mixed": lambda: base().mix(base(), 0.3),
    "probs": lambda: st.Target.from_probs(rows()),
    "half": lambda: st.Target.from_probs(rows() * 0.5),
}


def generalized(z, t, m, w, q=0.7):
    """Loss and gradient of one row; m is the mass before smoothing, of no use here."""
    p = np.exp(log_softmax(z))
    scaled = w * t * p**q
    return (w * t * (1 - p**q) / q).sum(), scaled.sum() * p - scaled


def symmetric(z, t, m, w, alpha=0.1, beta=1.0, floor=1e-4):
    """Loss and gradient of one row; m is the target before smoothing."""
    log_p = log_softmax(z)
    p, a = np.exp(log_p), np.log(np.maximum(t / m.sum(), floor))
    share = (w * m).sum()
    loss = alpha * -(w * t * log_p).sum() - beta * share * (p * a).sum()
    plain = (w * t).sum() * p - w * t
    return loss, alpha * plain - beta * share * p * (a - (p * a).sum())


HEADS = {
    "gce": (st.generalized_cross_entropy, generalized, {}),
    "gce .1": (st.generalized_cross_entropy, generalized, {"q": 0.1}),
    "gce 1": (st.generalized_cross_entropy, generalized, {"q": 1.0}),
    "sce": (st.symmetric_cross_entropy, symmetric, {}),
    "sce 6": (st.symmetric_cross_entropy, symmetric, {"alpha": 6.0, "beta": 0.1}),
    "rce": (st.symmetric_cross_entropy, symmetric, {"alpha": 0.0, "floor": 0.01}),
}


def reference(formula, keywords, logits, target, weight):
    """Losses, gradients and divisor."""
    w = np.ones(K) if weight is None else weight.numpy()
    dense, before = target.dense().numpy(), target.given.dense().numpy()
    losses, gradients, divisor = np.zeros(N), np.zeros((N, K)), 0.0
    for i, z in enumerate(logits.numpy()):
        if dense[i].any():
            losses[i], gradients[i] = formula(z, dense[i], before[i], w, **keywords)
            divisor += (w * before[i]).sum()
    return torch.tensor(losses), torch.tensor(gradients), divisor


def same(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_values_and_gradients(head, kind, weight):
    function, formula, keywords = HEADS[head]
    logits, target = batch()[0], TARGETS[kind]()
    losses, gradients, divisor = reference(formula, keywords, logits, target, weight)
    keywords = {**keywords, "weight": weight}
    leaf = logits.clone().requires_grad_()
    loss = function(leaf, target, **keywords)
    loss.backward()
    same(loss.detach(), losses.sum() / divisor)
    same(leaf.grad, gradients / divisor)
    same(function(logits, target, reduction="none", **keywords), losses)
    same(function(logits, target, reduction="sum", **keywords), losses.sum())
    same(function(logits, target, normalizer=3, **keywords), losses.sum() / 3)


@pytest.mark.parametrize("head", HEADS)
class TestHeads:
    @pytest.mark.parametrize("kind", ["labels", "smooth", "probs"])
    def test_gradcheck(self, head, kind):
        function, _, keywords = HEADS[head]
        logits, target = batch()[0].requires_grad_(), TARGETS[kind]()

        def loss(z):
            return function(z, target, weight=WEIGHT, **keywords)

        assert torch.autograd.gradcheck(loss, logits)
        assert torch.autograd.gradgradcheck(loss, logits)

    def test_a_target_that_learns(self, head):
        function, _, keywords = HEADS[head]
        logits, probs = batch()[0], rows().requires_grad_()

        def loss(p):
            return function(logits, st.Target.from_probs(p), reduction="sum", **keywords)

        assert torch.autograd.gradcheck(loss, probs)

    def test_renamed_classes(self, head):
        function, _, keywords = HEADS[head]
        logits, target, order = batch()[0], rows(), torch.randperm(K)
        turned = function(logits[:, order], target[:, order], weight=WEIGHT[order], **keywords)
        same(turned, function(logits, target, weight=WEIGHT, **keywords))

    @pytest.mark.parametrize("smoothing", [None, 0.1])
    def test_masked_classes_take_no_part(self, head, smoothing):
        function, _, keywords = HEADS[head]
        logits = torch.tensor([[2.0, 0.0, -INF], [0.0, 200.0, -INF], [-INF] * 3])
        labels = torch.tensor([0, 0, 1])
        keywords = {"smoothing": smoothing, "reduction": "none", **keywords}
        leaf = logits.requires_grad_()
        loss = function(leaf, labels, **keywords)
        loss.sum().backward()
        expected = function(logits[:2, :2].detach(), labels[:2], **keywords)
        torch.testing.assert_close(loss[:2].detach(), expected)
        assert loss[2] == 0
        assert bool(leaf.grad.isfinite().all())
        assert not bool(leaf.grad[:, 2].any() | leaf.grad[2].any())

    @pytest.mark.parametrize("kind", ["labels", "smooth", "rows"])
    def test_ignored_rows_are_exactly_0(self, head, kind):
        function, _, keywords = HEADS[head]
        logits, labels = batch(torch.float32)
        logits[3] = torch.nan
        target = st.Target.from_labels(labels, K)
        target = {"labels": target, "smooth": target.smooth(0.1), "rows": target.dense()}[kind]
        leaf = logits.requires_grad_()
        loss = function(leaf, target, reduction="none", **keywords)
        loss.sum().backward()
        assert loss[3] == 0
        assert bool((leaf.grad[3] == 0).all())
        assert bool(leaf.grad.isfinite().all())
        assert function(leaf, target * 0.0, **keywords) == 0

    def test_half_precision(self, head):
        function, _, keywords = HEADS[head]
        logits, labels = batch(torch.float32)
        for dtype in (torch.float16, torch.bfloat16):
            for smoothing in (None, 0.1):
                loss = function(logits.to(dtype), labels, smoothing=smoothing, **keywords)
                wide = function(logits.to(dtype).float(), labels, smoothing=smoothing, **keywords)
                assert loss.dtype == torch.float32
                torch.testing.assert_close(loss, wide)

    def test_the_module_is_the_function_and_reports_the_nll(self, head):
        function, _, keywords = HEADS[head]
        logits, labels = batch()
        module = (st.GeneralizedCrossEntropyLoss if head.startswith("gce")
                  else st.SymmetricCrossEntropyLoss)  # fmt: skip
        criterion = module(smoothing=0.1, weight=WEIGHT, ignore_index=1, **keywords)
        keywords = {"weight": WEIGHT, "ignore_index": 1, **keywords}
        labels[3] = 1
        loss = criterion(logits, labels)
        assert torch.equal(loss, function(logits, labels, smoothing=0.1, **keywords))
        nll = st.cross_entropy(logits, labels, weight=WEIGHT, ignore_index=1)
        assert torch.equal(criterion.eval()(logits, labels), nll)
        for name, value in keywords.items():
            assert name not in ("q", "alpha", "beta") or f"{name}={value}" in repr(criterion)

    def test_saturated_mistakes(self, head):
        # The slope at p = e^-80 is right in float32, though 1 - p^q rounds to 1 long before.
        function, _, keywords = HEADS[head]
        gradients = {}
        for dtype in (torch.float64, torch.float32, torch.float16):
            for smoothing in (None, 0.1):
                logits = torch.tensor([[4.0, -4.0], [15, -15], [40, -40], [60, -60]])
                leaf, labels = logits.to(dtype).requires_grad_(), torch.ones(4, dtype=torch.long)
                function(leaf, labels, smoothing=smoothing, **keywords).backward()
                assert bool(leaf.grad.isfinite().all())
                gradients[dtype, smoothing] = leaf.grad[:3].double()
        exact, narrow = gradients[torch.float64, None], gradients[torch.float32, None]
        torch.testing.assert_close(narrow, exact, rtol=1e-4, atol=1e-40)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_special_cases(kind, reduction):
    logits, target = batch()[0], TARGETS[kind]()
    keywords = {"weight": WEIGHT, "reduction": reduction}
    expected = st.cross_entropy(logits, target, **keywords)
    assert torch.equal(st.generalized_cross_entropy(logits, target, q=0, **keywords), expected)
    sce = st.symmetric_cross_entropy(logits, target, alpha=1, beta=0, **keywords)
    assert torch.equal(sce, expected)
    for q in (1e-300, 1e-18, 1e-13):
        same(st.generalized_cross_entropy(logits, target, q=q, **keywords), expected)


def test_labels_at_q_1_and_alpha_0_are_multiples_of_the_mean_absolute_error():
    logits, labels = batch()
    p = torch.softmax(logits, -1)
    counted = labels != -100
    hot = torch.nn.functional.one_hot(labels[counted], K)
    distance = (p[counted] - hot).abs().sum(-1)
    gce = st.generalized_cross_entropy(logits, labels, q=1, reduction="none")[counted]
    same(gce, distance / 2)
    rce = st.symmetric_cross_entropy(logits, labels, alpha=0, reduction="none")[counted]
    same(rce, -FLOOR_LOG * distance / 2)


@given(
    q=some.floats(0, 1),
    z=some.lists(some.floats(-90, 90, width=32), min_size=2, max_size=6),
    label=some.integers(0, 1),
    smoothing=some.sampled_from([None, 0.0, 0.1]),
)
def test_bounds_in_float32(q, z, label, smoothing):
    logits, labels = torch.tensor([z]), torch.tensor([label])
    loss = st.generalized_cross_entropy(logits, labels, q=q, smoothing=smoothing)
    assert 0 <= loss <= (1 / q if q > 1e-6 else 200) * (1 + 1e-6)
    wide = st.generalized_cross_entropy(logits.double(), labels, q=q, smoothing=smoothing)
    torch.testing.assert_close(loss.double(), wide, rtol=1e-4, atol=1e-5)
    assert loss <= st.cross_entropy(logits, labels, smoothing=smoothing) * (1 + 1e-5) + 1e-5
    reverse = st.symmetric_cross_entropy(logits, labels, alpha=0, smoothing=smoothing)
    assert -1e-6 <= reverse <= -FLOOR_LOG * (1 + 1e-6)


@pytest.mark.parametrize("smoothing", [None, 0.3])
def test_masked_labels(smoothing):
    logits = torch.tensor([[-INF, 1.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0])
    bounded = st.generalized_cross_entropy(logits, labels, q=0.5, smoothing=smoothing)
    rest = 0 if smoothing is None else float(
        smoothing * (1 - torch.softmax(logits[0, 1:].detach(), 0).sqrt()).mean() / 0.5
    )  # fmt: skip
    assert bounded.item() == pytest.approx((1 - (smoothing or 0)) * 2 + rest, abs=1e-6)
    reverse = st.symmetric_cross_entropy(logits, labels, alpha=0, smoothing=smoothing)
    assert bool(reverse.isfinite())
    assert st.symmetric_cross_entropy(logits, labels, smoothing=smoothing) == INF
    idle = torch.tensor([0.0, 1.0, 1.0])
    free = st.symmetric_cross_entropy(
        logits, labels, weight=idle, smoothing=smoothing, reduction="sum"
    )
    assert bool(free.isfinite())
    for loss in (bounded, reverse, free):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert bool(gradient.isfinite().all())


def test_the_floor_holds_in_every_dtype():
    # 1e-60 is 0 in float32.
    logits, labels = torch.tensor([[0.0, 0.0]]), torch.tensor([0])
    for target in (labels, torch.eye(2)[:1]):
        loss = st.symmetric_cross_entropy(logits, target, alpha=0, floor=1e-60)
        assert loss.item() == pytest.approx(-math.log(1e-60) / 2)


def test_labels_hold_no_second_tensor_of_the_logits_size():
    logits = torch.randn(64, 100, requires_grad=True)
    labels = torch.randint(100, (64,))
    for function in (st.generalized_cross_entropy, st.symmetric_cross_entropy):
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = function(logits, labels)
        loss.backward()
        assert sum(kept.values()) <= logits.numel() + 20 * len(labels)


def test_every_notation_and_layout():
    logits, labels = torch.randn(2, K, 3, 4).double(), torch.randint(K, (2, 3, 4))
    hot = torch.nn.functional.one_hot(labels, K).movedim(-1, 1).double()
    for function in (st.generalized_cross_entropy, st.symmetric_cross_entropy):
        expected = function(logits, labels, weight=WEIGHT)
        for form in (hot, st.Target.from_labels(labels, K)):
            same(function(logits, form, weight=WEIGHT), expected)
        last = function(logits.movedim(1, -1), labels, weight=WEIGHT, class_dim=-1)
        same(last, expected)


def test_errors_and_schedules():
    logits, labels = batch()
    with pytest.raises(ValueError, match=r"`q` must be in \[0, 1\], got 1.5"):
        st.GeneralizedCrossEntropyLoss(1.5)
    with pytest.raises(ValueError, match=r"`alpha` must be in \[0, inf\], got -1"):
        st.SymmetricCrossEntropyLoss(-1)
    with pytest.raises(ValueError, match="`alpha` and `beta` must not both be 0"):
        st.symmetric_cross_entropy(logits, labels, alpha=0, beta=0)
    with pytest.raises(ValueError, match="`floor` must be finite and > 0, got 0"):
        st.symmetric_cross_entropy(logits, labels, floor=0)
    with pytest.raises(ValueError, match=r"`floor` must be in \[0, 1\], got 2"):
        st.SymmetricCrossEntropyLoss(floor=2.0)
    smooth = st.Target.from_labels(labels, K).smooth(0.1)
    for make in (st.GeneralizedCrossEntropyLoss, st.SymmetricCrossEntropyLoss):
        with pytest.raises(ValueError, match="smoothed already"):
            make(smoothing=0.1)(logits, smooth)
        with pytest.raises(ValueError, match=r"`weight` must have shape \(5,\)"):
            make(weight=torch.ones(3))(logits, labels)
        criterion = make(smoothing=st.LabelSmoothing(st.Schedule.linear(0.0, 0.2, 2)))
        criterion.step()
        assert criterion.smoothing.rate.value == pytest.approx(0.1)
