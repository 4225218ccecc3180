"""What does not count costs exactly nothing: half precision, bad teachers, whole batches of it."""

import pytest
import torch

import softtargets as st

N, K = 6, 5
IGNORED = torch.tensor([True, False, True, True, False, False])
POISON = (float("nan"), float("inf"), -float("inf"))


def ils():
    return st.InstanceLabelSmoothing(st.QuadraticRate(0.9, 1.5), "teacher")


def top_k(teacher):
    weights, indices = torch.softmax(teacher.float(), -1).topk(2)
    return st.Target.from_top_k(indices, weights, K)


# Each is called with logits, labels and a teacher's logits.
HEADS = {
    "cross_entropy": lambda z, y, t: st.CrossEntropyLoss(ils())(z, y, teacher_logits=t),
    "metrics": lambda z, y, t: (
        st.cross_entropy_with_metrics(z, y, smoothing=ils(), teacher_logits=t).loss
    ),
    "focal": lambda z, y, t: st.FocalLoss(smoothing=ils())(z, y, teacher_logits=t),
    "dice": lambda z, y, t: st.DiceLoss(ils(), per="batch")(z, y, teacher_logits=t),
    "dice sigmoid": lambda z, y, t: st.DiceLoss(ils(), per="batch", activation="sigmoid")(
        z, y, teacher_logits=t
    ),
    "sequence": lambda z, y, t: st.SequenceCrossEntropyLoss(ils())(z, y, teacher_logits=t),
    "sequence means": lambda z, y, t: st.SequenceCrossEntropyLoss(
        ils(), normalizer="sequence_mean"
    )(z[None], y[None], teacher_logits=t[None]),
    "distillation": lambda z, y, t: st.distillation_loss(z, y, t, temperature=2.0),
    "distillation rows": lambda z, y, t: st.distillation_loss(
        z, y, st.Target.from_probs(torch.softmax(t.float(), -1))
    ),
    "distillation top-k": lambda z, y, t: st.distillation_loss(z, y, top_k(t)),
    "distillation policy": lambda z, y, t: st.distillation_loss(z, y, t, smoothing=ils()),
    "binary": lambda z, y, t: st.binary_cross_entropy_with_logits(z, y, smoothing=0.1),
    "linear": lambda z, y, t: st.linear_cross_entropy(z, torch.eye(K).to(z), y, smoothing=0.1),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", HEADS)
def test_ignored_rows(name, dtype):
    logits, teacher = torch.randn(N, K).to(dtype), torch.randn(N, K).to(dtype)
    labels = torch.randint(K, (N,)).masked_fill(IGNORED, -100)
    kept = ~IGNORED
    leaf = logits.clone().requires_grad_()
    expected = HEADS[name](leaf[kept], labels[kept], teacher[kept])
    (gradient,) = torch.autograd.grad(expected, leaf)
    dirty = teacher.clone()
    for row, filling in zip(IGNORED.nonzero(), POISON, strict=True):
        dirty[row] = filling
        if name != "linear":
            logits[row] = filling
    leaf = logits.requires_grad_()
    loss = HEADS[name](leaf, labels, dirty)
    (found,) = torch.autograd.grad(loss, leaf)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, gradient)
    assert bool((found[IGNORED] == 0).all())


@pytest.mark.parametrize("filling", [0.0, *POISON])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", HEADS)
def test_nothing_else(name, dtype, filling):
    logits = torch.full((N, K), 0.0 if name == "linear" else filling).to(dtype).requires_grad_()
    teacher = torch.full((N, K), filling).to(dtype)
    loss = HEADS[name](logits, torch.full((N,), -100), teacher)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert loss.dtype == torch.float32
    assert bool((gradient == 0).all())
