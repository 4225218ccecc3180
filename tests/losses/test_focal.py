"""Focal loss against its formula row by row, its reduction to cross-entropy, and its edges."""

import numpy as np
import pytest
import torch

import softtargets as st
from softtargets.losses import smoothed_target
from tests.reference import log_softmax, smoothed

N, K = 8, 5
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25, 1.5], dtype=torch.float64)
GAMMAS = [0.0, 0.5, 2.0, 3.0, "flsd-53"]


def batch(dtype=torch.float64):
    labels = torch.randint(K, (N,))
    labels[3] = -100
    return 2 * torch.randn(N, K, dtype=dtype), labels


def reference(logits, labels, gamma, rate, weight):
    losses, divisor = np.zeros(N), 0.0
    w = np.ones(K) if weight is None else weight.numpy()
    for i, y in enumerate(labels.tolist()):
        if y == -100:
            continue
        log_p = log_softmax(logits[i])
        p = np.exp(log_p)
        power = np.where(p < 0.2, 5.0, 3.0) if gamma == "flsd-53" else gamma
        losses[i] = -(w * smoothed(y, K, rate) * (1 - p) ** power * log_p).sum()
        divisor += w[y]
    return losses, divisor


@pytest.mark.parametrize("gamma", GAMMAS)
class TestFormula:
    @pytest.mark.parametrize("rate", [0.0, 0.2])
    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
    def test_values(self, gamma, rate, weight):
        logits, labels = batch()
        losses, divisor = reference(logits.numpy(), labels, gamma, rate, weight)
        keywords = {"gamma": gamma, "smoothing": rate, "weight": weight}
        for reduction, expected in (
            ("none", losses),
            ("sum", losses.sum()),
            ("mean", losses.sum() / divisor),
        ):
            loss = st.focal_loss(logits, labels, reduction=reduction, **keywords)
            torch.testing.assert_close(loss, torch.as_tensor(expected), rtol=1e-10, atol=1e-10)
        fixed = st.focal_loss(logits, labels, normalizer=5, **keywords)
        assert fixed.item() == pytest.approx(losses.sum() / 5, abs=1e-10)

    def test_gradcheck(self, gamma):
        logits, labels = batch()

        def loss(z):
            return st.focal_loss(z, labels, gamma=gamma, smoothing=0.1, weight=WEIGHT)

        assert torch.autograd.gradcheck(loss, logits.requires_grad_())
        assert torch.autograd.gradgradcheck(loss, logits)

    def test_every_notation_and_layout(self, gamma):
        logits, labels = torch.randn(2, K, 3, 4), torch.randint(K, (2, 3, 4))
        rows = torch.nn.functional.one_hot(labels, K).movedim(-1, 1).float()
        keywords = {"gamma": gamma, "smoothing": 0.1}
        expected = st.focal_loss(logits, labels, **keywords)
        for form in (rows, st.Target.from_labels(labels, K)):
            torch.testing.assert_close(st.focal_loss(logits, form, **keywords), expected)
        last = st.focal_loss(logits.movedim(1, -1), labels, class_dim=-1, **keywords)
        torch.testing.assert_close(last, expected)

    def test_sure_and_masked_predictions_stay_finite(self, gamma):
        inf = torch.inf
        logits = torch.tensor(
            [[200.0, 0.0, -inf], [0.0, 200.0, -inf], [-200.0, 0.0, 1.0]], requires_grad=True
        )
        labels = torch.tensor([0, 0, 0])
        for smoothing in (None, 0.1):
            loss = st.focal_loss(logits, labels, gamma=gamma, smoothing=smoothing, reduction="none")
            (gradient,) = torch.autograd.grad(loss.sum(), logits)
            assert bool(loss.isfinite().all())
            assert bool(gradient.isfinite().all())
            assert gradient[0, 2] == gradient[1, 2] == 0
        small = st.focal_loss(logits[:2, :2], labels[:2], gamma=gamma, smoothing=0.1)
        torch.testing.assert_close(
            st.focal_loss(logits[:2], labels[:2], gamma=gamma, smoothing=0.1), small
        )

    def test_ignored_rows_are_exactly_0(self, gamma):
        logits, labels = batch(torch.float32)
        logits[3] = torch.nan
        leaf = logits.requires_grad_()
        loss = st.focal_loss(leaf, labels, gamma=gamma, smoothing=0.1)
        loss.backward()
        assert bool(loss.isfinite())
        assert bool((leaf.grad[3] == 0).all())
        assert st.focal_loss(leaf, torch.full((N,), -100), gamma=gamma) == 0

    def test_half_precision_and_compile(self, gamma):
        logits, labels = batch(torch.float32)
        torch.compiler.reset()
        criterion = st.FocalLoss(gamma, smoothing=0.1)
        for dtype in (torch.float16, torch.bfloat16):
            loss = criterion(logits.to(dtype), labels)
            assert loss.dtype == torch.float32
            assert torch.equal(loss, criterion(logits.to(dtype).float(), labels))
        run = torch.compile(criterion, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(run(logits, labels), criterion(logits, labels))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [None, 0.1])
def test_gamma_0_is_cross_entropy(smoothing, reduction):
    logits, labels = batch()
    keywords = {"smoothing": smoothing, "weight": WEIGHT, "reduction": reduction}
    results = []
    for loss_of in (lambda z: st.focal_loss(z, labels, gamma=0, **keywords),
                    lambda z: st.cross_entropy(z, labels, **keywords)):  # fmt: skip
        leaf = logits.clone().requires_grad_()
        loss = loss_of(leaf)
        loss.sum().backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)


def test_the_module_and_eval():
    logits, labels = batch(torch.float32)
    criterion = st.FocalLoss(2.0, smoothing=0.1, weight=WEIGHT.float())
    expected = st.focal_loss(logits, labels, gamma=2, smoothing=0.1, weight=WEIGHT.float())
    assert torch.equal(criterion(logits, labels), expected)
    nll = st.cross_entropy(logits, labels, weight=WEIGHT.float())
    torch.testing.assert_close(criterion.eval()(logits, labels), nll)
    assert "gamma=2" in repr(criterion)


def test_errors():
    logits, labels = batch()
    with pytest.raises(ValueError, match=r"`gamma` must be in \[0, inf\], got -1"):
        st.FocalLoss(-1)
    with pytest.raises(ValueError, match="`gamma` must be a number or \"flsd-53\", got 'flsd'"):
        st.focal_loss(logits, labels, gamma="flsd")
    smooth = st.Target.from_labels(labels, K).smooth(0.1)
    with pytest.raises(ValueError, match="smoothed already"):
        st.focal_loss(logits, smooth, smoothing=0.1)
    with pytest.raises(ValueError, match=r"`weight` must have shape \(5,\)"):
        st.focal_loss(logits, labels, weight=torch.ones(3))


def test_unknown_keywords_are_errors_and_schedules_advance():
    logits, labels = torch.randn(3, 4), torch.tensor([0, 1, 2])
    for criterion in (st.FocalLoss(), st.DiceLoss(per="batch")):
        with pytest.raises(TypeError, match="class_mask"):
            criterion(logits, labels, class_mask=torch.ones(4, dtype=torch.bool))
    with pytest.raises(TypeError, match="class_mask"):
        smoothed_target(logits, labels, None, class_dim=1, ignore_index=-100, class_mask=labels)
    for make in (st.FocalLoss, st.DiceLoss, st.DistillationLoss):
        criterion = make(smoothing=st.LabelSmoothing(st.Schedule.linear(0.0, 0.2, 2)))
        criterion.step()
        assert criterion.smoothing.rate.value == pytest.approx(0.1)
