"""Entries of one class may cancel, on a masked class too: what counts is their sum."""

import pytest
import torch

import softtargets as st
from softtargets.testing import dense_cross_entropy

K = 4
INF = float("inf")


def label(number, dtype=torch.float64):
    return st.Target.from_labels(torch.tensor([number]), K, dtype=dtype)


def logits(dtype=torch.float64):
    return torch.tensor([[-INF, 1.0, 2.0, -1.0]], dtype=dtype)


TARGETS = {
    "nothing": lambda t, u: t - t,
    "another label after": lambda t, u: t - t + u,
    "another label before": lambda t, u: u + t - t,
    "in between": lambda t, u: t + u - t,
    "smoothed": lambda t, u: (t + u - t).smooth(0.3),
    "many": lambda t, u: sum([t + u - t for _ in range(4)], u),
    "what is left": lambda t, u: 2 * t - t,
    "what is left is negative": lambda t, u: u + t - 2 * t,
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0, 0.25]).double()])
def test_the_dot_is_that_of_the_sum(kind, weight):
    target, z = TARGETS[kind](label(0), label(1)), logits()
    rows = target.dense(z != -INF) * (1 if weight is None else weight)
    expected = torch.where(rows == 0, 0.0, rows * z).sum(-1)
    torch.testing.assert_close(target.dot(z, weight, z != -INF), expected)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("through", ["eager", "formula", "reuse", "class_mask"])
def test_the_loss_is_the_dense_one(kind, dtype, through):
    wide = torch.promote_types(dtype, torch.float32)
    target = TARGETS[kind](label(0, wide), label(1, wide))
    z, mask = logits(dtype), None
    if through == "class_mask":
        z[0, 0], mask = -1e4, torch.arange(K) > 0
    reference = z.double().clone().requires_grad_()
    expected = dense_cross_entropy(
        reference, target, reduction="none",
        class_mask=None if mask is None else mask.expand(1, K),
    )  # fmt: skip
    leaf = z.clone().requires_grad_()
    weight = torch.ones(K, dtype=wide, requires_grad=True) if through == "formula" else None
    loss = st.cross_entropy(
        leaf * 1, target, weight=weight, reduction="none", class_mask=mask,
        options=st.LossOptions(reuse_logits=through == "reuse"),
    )  # fmt: skip
    tolerance = 1e-6 if dtype != torch.bfloat16 else 1e-2
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    loss.sum().backward()
    expected.sum().backward()
    living = z[0] != -INF if mask is None else mask
    torch.testing.assert_close(
        leaf.grad[:, living].double(), reference.grad[:, living], rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("kind", ["another label after", "smoothed"])
def test_compiled(kind):
    torch.compiler.reset()
    target, z = TARGETS[kind](label(0), label(1)), logits()
    run = torch.compile(
        lambda z: st.cross_entropy(z, target, reduction="none"),
        fullgraph=True, backend="aot_eager",
    )  # fmt: skip
    torch.testing.assert_close(run(z), dense_cross_entropy(z, target, reduction="none"))


def test_the_gradient_of_weights_on_a_living_class_is_its_logit():
    classes, z = torch.tensor([[1, 2, 1]]), logits()
    weights = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64, requires_grad=True)
    entries = st.Target.from_labels(torch.tensor([1]), K, dtype=torch.float64).entries
    terms = type(entries)(classes, weights)
    (gradient,) = torch.autograd.grad(terms.dot(z, None, z != -INF), weights)
    assert gradient.tolist() == [[1.0, 2.0, 1.0]]
