"""The twelve methods: what void pixels do, and what each is made of."""

import math

import pytest
import torch
from torch import nn

import softtargets as st
from softtargets.lab.epoch import end_epoch
from softtargets.lab.segmentation.methods import METHODS, TARGETS

K, VOID = 5, 7


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, K, 6, 8, generator=generator, dtype=torch.float64)
    masks = torch.randint(K, (3, 6, 8), generator=generator)
    masks[0, :2], masks[1, 3, 3], masks[2] = VOID, VOID, VOID
    return logits, masks


def learned(name):
    """The criterion after an epoch, so that what learns online has learned."""
    method = METHODS[name]
    criterion = method.build(method.parameters, K, VOID)
    logits, masks = batch(1)
    logits = logits + 4 * nn.functional.one_hot(masks.clamp(max=K - 1), K).movedim(-1, 1)
    criterion(logits.requires_grad_(), masks)
    end_epoch(criterion)
    return criterion


def loss_and_gradient(criterion, logits, masks):
    leaf = logits.clone().requires_grad_()
    loss = criterion(leaf, masks)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), gradient


def test_there_are_twelve():
    assert len(METHODS) == 12
    assert {"ce", "dice-ls", "ce+dice-spatial"} <= set(METHODS)
    assert len({method.title for method in METHODS.values()}) == 12


@pytest.mark.parametrize("held", [1e3, math.nan, -math.inf])
@pytest.mark.parametrize("name", METHODS)
def test_void_pixels_have_exactly_no_loss_and_no_gradient(name, held):
    criterion = learned(name)
    logits, masks = batch()
    loss, gradient = loss_and_gradient(criterion, logits, masks)
    void = (masks == VOID).unsqueeze(1).expand(logits.shape)
    assert bool((gradient[void] == 0).all())
    assert bool((gradient[:2][~void[:2]] != 0).any())
    changed, same = loss_and_gradient(criterion, logits.masked_fill(void, held), masks)
    assert torch.equal(changed, loss)
    assert torch.equal(same, gradient)


@pytest.mark.parametrize("name", METHODS)
def test_an_image_of_void_alone_changes_nothing(name):
    criterion = learned(name)
    logits, masks = batch()
    loss, _ = loss_and_gradient(criterion, logits, masks)
    torch.testing.assert_close(loss, criterion(logits[:2], masks[:2]))
    nothing, gradient = loss_and_gradient(criterion, logits, torch.full_like(masks, VOID))
    assert float(nothing) == 0
    assert bool((gradient == 0).all())


@pytest.mark.parametrize("loss", ["ce", "dice", "ce+dice"])
@pytest.mark.parametrize("kind", TARGETS)
def test_the_loss_is_the_librarys_of_the_policys_target(loss, kind):
    """By two ways: the criterion, and plain formulas of the target that the policy makes."""
    logits, masks = batch()
    name = loss if kind == "hard" else f"{loss}-{kind}"
    criterion = learned(name)
    policies = [m for m in criterion.modules() if isinstance(m, st.AbstractSmoothing)]
    target = st.Target.from_labels(masks, K, VOID, dtype=torch.float64)
    if policies:
        target = policies[0].eval()(target)
        policies[0].train()
    q, p = target.dense(), logits.movedim(1, -1).softmax(-1)
    counted = masks != VOID
    expected = 0.0
    if "ce" in loss.split("+"):
        expected += float(-(q * p.log()).sum(-1)[counted].mean())
    if "dice" in loss:
        each = []
        for n in range(2):
            p_n, q_n = p[n][counted[n]], q[n][counted[n]]
            sizes = (p_n**2).sum(0) + (q_n**2).sum(0)
            each.append(float((1 - (2 * (p_n * q_n).sum(0) + 1e-5) / (sizes + 1e-5)).mean()))
        expected += sum(each) / 2
    assert float(criterion(logits, masks)) == pytest.approx(expected, abs=1e-9)


def test_in_evaluation_targets_are_hard():
    logits, masks = batch()
    for name, method in METHODS.items():
        plain = METHODS[method.loss].build({}, K, VOID)
        torch.testing.assert_close(learned(name).eval()(logits, masks), plain(logits, masks))
