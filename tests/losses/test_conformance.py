"""`F.cross_entropy` is right for finite logits: there the two are the same."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import softtargets as st

K = 5
SHAPES = [(), (6,), (2, 3), (2, 3, 2)]
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.0, 1.5])


def batch(shape, dtype=torch.float64):
    logits = 2 * torch.randn(*shape, K, dtype=dtype)
    labels = torch.randint(K, shape)
    if labels.numel() > 3:
        labels.view(-1)[::3] = -100
    return (logits.movedim(-1, 1).contiguous() if len(shape) > 1 else logits), labels


def both(logits, torchs, ours):
    results = []
    for loss_of in (torchs, ours):
        leaf = logits.clone().requires_grad_()
        loss = loss_of(leaf)
        loss.sum().backward()
        results.append((loss.detach(), leaf.grad))
    return results


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_index_labels(reduction, weight, rate, shape):
    logits, labels = batch(shape)
    if weight is not None:
        weight = weight.double()
        if not shape:
            labels = torch.tensor(1)
    (expected, gradient), (loss, ours) = both(
        logits,
        lambda z: functional.cross_entropy(
            z, labels, weight=weight, reduction=reduction, label_smoothing=rate
        ),
        lambda z: st.cross_entropy(z, labels, smoothing=rate, weight=weight, reduction=reduction),
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours, gradient)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weight", [None, WEIGHT.double()], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_probabilities(reduction, weight, shape):
    logits, _ = batch(shape)
    probs = torch.softmax(torch.randn_like(logits), 1 if len(shape) else 0)
    (expected, gradient), (loss, ours) = both(
        logits,
        lambda z: functional.cross_entropy(z, probs, weight=weight, reduction=reduction),
        lambda z: st.cross_entropy(z, probs, weight=weight, reduction=reduction),
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours, gradient)


def test_the_module_is_a_drop_in():
    logits, labels = batch((6,), torch.float32)
    ours = st.CrossEntropyLoss(0.1, weight=WEIGHT, ignore_index=1, reduction="sum")
    torchs = nn.CrossEntropyLoss(WEIGHT, ignore_index=1, reduction="sum", label_smoothing=0.1)
    labels = labels.clamp(min=0)
    torch.testing.assert_close(ours(logits, labels), torchs(logits, labels))
    assert "weight" in ours.state_dict()
    assert torch.equal(ours.double().weight, WEIGHT.double())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_module_equals_the_function(reduction):
    logits, labels = batch((2, 3), torch.float32)
    mask = torch.rand(logits.shape) > 0.1
    for smoothing in (None, 0.1, st.LabelSmoothing(0.2, convention="K-1")):
        keywords = {"weight": WEIGHT, "reduction": reduction}
        module = st.CrossEntropyLoss(smoothing, **keywords)
        expected = st.cross_entropy(
            logits, labels, smoothing=smoothing, class_mask=mask, **keywords
        )
        assert torch.equal(module(logits, labels, class_mask=mask), expected)
    assert "reduction='" in repr(module)


class TestWhereTorchIsWrong:
    """The cases measured on torch 2.13; if one of these fails, torch has changed."""

    def test_masked_classes(self):
        logits, labels = torch.randn(4, K), torch.zeros(4, dtype=torch.long)
        logits[:, 4] = -torch.inf
        assert functional.cross_entropy(logits, labels, label_smoothing=0.1).isinf()
        assert st.cross_entropy(logits, labels, smoothing=0.1).isfinite()
        one_hot = functional.one_hot(labels, K).float()
        assert functional.cross_entropy(logits, one_hot).isnan()
        assert st.cross_entropy(logits, one_hot).isfinite()
        weight = torch.ones(K).scatter(0, torch.tensor([4]), 0.0)
        broken = functional.cross_entropy(logits, labels, weight=weight, label_smoothing=0.1)
        assert broken.isnan()
        assert st.cross_entropy(logits, labels, smoothing=0.1, weight=weight).isfinite()

    def test_half_precision(self):
        logits, labels = torch.randn(4, 32_000).half(), torch.arange(4)
        assert functional.cross_entropy(logits, labels, label_smoothing=0.1).isinf()
        exact = functional.cross_entropy(logits.double(), labels, label_smoothing=0.1)
        ours = st.cross_entropy(logits, labels, smoothing=0.1)
        torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=0)

    def test_negative_rates_normalisers_and_ignored_batches(self):
        logits, labels = torch.randn(4, K), torch.arange(4)
        plain = functional.cross_entropy(logits, labels)
        assert functional.cross_entropy(logits, labels, label_smoothing=-0.1) == plain
        q = torch.eye(K)[labels]
        indexed = functional.cross_entropy(logits, labels, weight=WEIGHT)
        assert not torch.isclose(functional.cross_entropy(logits, q, weight=WEIGHT), indexed)
        torch.testing.assert_close(st.cross_entropy(logits, q, weight=WEIGHT), indexed)
        nothing = torch.full((4,), -100)
        assert functional.cross_entropy(logits, nothing).isnan()
        assert st.cross_entropy(logits, nothing) == 0
