"""Promise 5.10: derivatives of every kind are right, or a clear error."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, vmap

import softtargets as st

# torch's own forward mode compiles with what it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

K = 4
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 1.5], dtype=torch.float64)


def base():
    return st.Target.from_labels(torch.tensor([0, -100, 3]), K, dtype=torch.float64)


TARGETS = {
    "labels": base,
    "smooth": lambda: base().smooth(0.1),
    "rows": lambda: base().smooth(0.3, torch.softmax(torch.randn(K, K).double(), -1)),
    "probs": lambda: st.Target.from_probs(torch.softmax(torch.randn(3, K).double(), -1)),
    "negative": lambda: base().smooth(-0.5, allow_negative=True),
}


def loss_of(target, **keywords):
    return lambda z: st.cross_entropy(z, target, weight=WEIGHT, reduction="none", **keywords)


def naive(target):
    q = target.dense()

    def loss(z):
        return -(WEIGHT * q * torch.log_softmax(z, -1)).sum(-1)

    return loss


@pytest.mark.parametrize("kind", TARGETS)
class TestDerivatives:
    def test_gradcheck_and_gradgradcheck(self, kind):
        logits = torch.randn(3, K, dtype=torch.float64, requires_grad=True)
        loss = loss_of(TARGETS[kind]())
        assert torch.autograd.gradcheck(loss, logits)
        assert torch.autograd.gradgradcheck(loss, logits)
        assert torch.autograd.gradcheck(
            loss, logits, check_forward_ad=True, check_backward_ad=False
        )

    def test_func_transforms(self, kind):
        target, logits = TARGETS[kind](), torch.randn(3, K, dtype=torch.float64)

        def ours(z):
            return loss_of(target)(z).sum()

        def plain(z):
            return naive(target)(z).sum()

        for transform in (grad, jacrev, jacfwd, hessian):
            torch.testing.assert_close(transform(ours)(logits), transform(plain)(logits))

    def test_double_backward(self, kind):
        target = TARGETS[kind]()
        results = []
        for loss in (loss_of(target), naive(target)):
            leaf = torch.linspace(-1, 2, 3 * K, dtype=torch.float64).reshape(3, K).requires_grad_()
            (first,) = torch.autograd.grad(loss(leaf).sum(), leaf, create_graph=True)
            first.square().sum().backward()
            results.append((first.detach(), leaf.grad))
        torch.testing.assert_close(results[0], results[1])

    def test_forward_mode(self, kind):
        target = TARGETS[kind]()
        logits = torch.randn(3, K, dtype=torch.float64)
        tangent = torch.randn(3, K, dtype=torch.float64)
        results = []
        for loss in (loss_of(target), naive(target)):
            with forward_ad.dual_level():
                dual = loss(forward_ad.make_dual(logits, tangent))
                results.append(forward_ad.unpack_dual(dual))
        torch.testing.assert_close(results[0].primal, results[1].primal)
        torch.testing.assert_close(results[0].tangent, results[1].tangent)


def test_a_tangent_of_the_target_alone_is_not_dropped():
    logits = torch.randn(3, K, dtype=torch.float64)
    probs = torch.softmax(torch.randn(3, K, dtype=torch.float64), -1)
    tangent = torch.randn(3, K, dtype=torch.float64)
    with forward_ad.dual_level():
        rows = st.Target.from_probs(forward_ad.make_dual(probs, tangent))
        dual = forward_ad.unpack_dual(st.cross_entropy(logits, rows, reduction="sum"))
    expected = -(tangent * torch.log_softmax(logits, -1)).sum()
    torch.testing.assert_close(dual.tangent, expected)


def test_vmap_over_labels_and_logits():
    logits, labels = torch.randn(6, 3, K), torch.randint(K, (6, 3))
    for smoothing in (None, 0.1, st.LabelSmoothing(0.2, torch.tensor([0.1, 0.2, 0.3, 0.4]))):

        def one(z, y, policy=smoothing):
            return st.cross_entropy(z, y, smoothing=policy)

        each = torch.stack([one(z, y) for z, y in zip(logits, labels, strict=True)])
        torch.testing.assert_close(vmap(one)(logits, labels), each)
        gradients = vmap(grad(one))(logits, labels)
        leaf = logits[2].clone().requires_grad_()
        one(leaf, labels[2]).backward()
        torch.testing.assert_close(gradients[2], leaf.grad)


def test_per_sample_gradients_of_a_model():
    model = torch.nn.Linear(3, K)
    inputs, labels = torch.randn(5, 3), torch.randint(K, (5,))
    parameters = dict(model.named_parameters())

    def loss(parameters, x, y):
        return st.cross_entropy(torch.func.functional_call(model, parameters, x), y, smoothing=0.1)

    each = vmap(grad(loss), (None, 0, 0))(parameters, inputs, labels)
    st.cross_entropy(model(inputs), labels, smoothing=0.1).backward()
    torch.testing.assert_close(each["weight"].mean(0), model.weight.grad)


def test_the_gradient_of_class_weights():
    logits, labels = torch.randn(3, K, dtype=torch.float64), torch.tensor([0, 2, 3])

    def loss(weight):
        return st.cross_entropy(logits, labels, smoothing=0.1, weight=weight, reduction="sum")

    assert torch.autograd.gradcheck(loss, WEIGHT.clone().requires_grad_())


def test_second_derivatives_stay_finite_with_masked_classes():
    logits = torch.tensor([[1.0, 2.0, -torch.inf, 0.5]], dtype=torch.float64)
    living = [0, 1, 3]
    target = st.Target.from_labels(torch.tensor([1]), K, dtype=torch.float64).smooth(0.1)
    small = st.Target.from_labels(torch.tensor([1]), 3, dtype=torch.float64).smooth(0.1)
    leaf = logits.clone().requires_grad_()
    (first,) = torch.autograd.grad(st.cross_entropy(leaf, target), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    part = logits[:, living].clone().requires_grad_()
    (small_first,) = torch.autograd.grad(st.cross_entropy(part, small), part, create_graph=True)
    (small_second,) = torch.autograd.grad(small_first.square().sum(), part)
    torch.testing.assert_close(first[:, living], small_first)
    torch.testing.assert_close(second[:, living], small_second)
    assert first[0, 2] == second[0, 2] == 0


def test_an_explicit_implementation_refuses_what_it_cannot_do():
    options = st.LossOptions(impl="eager")
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r'`impl="eager"` cannot run under .*leave `impl` at None'):
        grad(lambda z: st.cross_entropy(z, labels, options=options))(torch.randn(2, K))
    with pytest.raises(ValueError, match=r"`reuse_logits` works in eager mode only"):
        grad(lambda z: st.cross_entropy(z, labels, options=st.LossOptions(reuse_logits=True)))(
            torch.randn(2, K)
        )


def test_changing_the_target_before_backward_is_noticed():
    logits = torch.randn(2, K, requires_grad=True)
    rows = torch.softmax(torch.randn(2, K), -1)
    loss = st.cross_entropy(logits, rows)
    rows.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "smoothing",
    [
        0.1,
        lambda: st.LabelSmoothing(0.2, torch.tensor([0.1, 0.2, 0.3, 0.4])),
        lambda: st.OnlineLabelSmoothing(K),
        lambda: st.InstanceLabelSmoothing(st.QuadraticRate(0.9, 1.0), "teacher"),
    ],
    ids=["LS", "prior", "OLS", "ILS"],
)
def test_compile(smoothing):
    logits, labels = torch.randn(6, K), torch.tensor([0, 1, 2, 3, -100, 1])
    torch.compiler.reset()
    results = []
    for compiled in (False, True):
        criterion = st.CrossEntropyLoss(smoothing() if callable(smoothing) else smoothing)
        run = criterion
        if compiled:
            run = torch.compile(criterion, fullgraph=True, backend="aot_eager")
        for step in range(2):
            leaf = (logits + step).requires_grad_()
            loss = run(leaf, labels, teacher_logits=logits.flip(0))
            (gradient,) = torch.autograd.grad(loss, leaf)
        state = criterion.state_dict()
        matrix = state.get("smoothing._extra_state", {"sums": loss})["sums"]
        results.append((loss, gradient, matrix))
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight_mode", ["per_class", "per_sample"])
def test_the_gradient_into_target_and_weights_goes_through_the_divisor_too(reduction, weight_mode):
    logits = torch.randn(3, K, dtype=torch.float64)
    scores = torch.randn(3, K, dtype=torch.float64, requires_grad=True)
    weight = WEIGHT.clone().requires_grad_()
    options = st.LossOptions(weight_mode=weight_mode)

    def loss(scores, weight):
        # Rows of unequal mass, so that the divisor depends on them.
        rows = st.Target.from_probs(torch.sigmoid(scores)).smooth(0.1)
        return st.cross_entropy(logits, rows, weight=weight, reduction=reduction, options=options)

    assert torch.autograd.gradcheck(loss, (scores, weight))
