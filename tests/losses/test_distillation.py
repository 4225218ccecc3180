"""Distillation against its formula row by row in float64, and the notations of a teacher."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch.nn import functional

import softtargets as st
from softtargets.losses import teachers
from tests.reference import log_softmax, smoothed, softmax

N, K = 6, 5


def batch(dtype=torch.float64):
    return (
        2 * torch.randn(N, K, dtype=dtype),
        torch.randint(K, (N,)),
        2 * torch.randn(N, K, dtype=dtype),
    )


def reference(logits, labels, teacher, temperature, hard_weight, rate=0.0):
    """Losses and gradients of each row."""
    losses, gradients = np.zeros(N), np.zeros((N, K))
    for i, y in enumerate(labels.tolist()):
        if y == -100:
            continue
        q, t = smoothed(y, K, rate), softmax(teacher[i], temperature)
        hard = -(q * log_softmax(logits[i])).sum()
        log_p = log_softmax(logits[i] / temperature)
        kl = (t * (np.log(t) - log_p)).sum()
        losses[i] = hard_weight * hard + (1 - hard_weight) * temperature**2 * kl
        gradients[i] = hard_weight * (softmax(logits[i]) - q)
        gradients[i] += (1 - hard_weight) * temperature * (np.exp(log_p) - t)
    return losses, gradients


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("hard_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("rate", [None, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_formula(reduction, rate, hard_weight, temperature):
    logits, labels, teacher = batch()
    labels[2] = -100
    leaf = logits.clone().requires_grad_()
    loss = st.distillation_loss(
        leaf,
        labels,
        teacher,
        temperature=temperature,
        hard_weight=hard_weight,
        smoothing=rate,
        reduction=reduction,
    )
    loss.sum().backward()
    losses, gradients = reference(
        logits.numpy(), labels, teacher.numpy(), temperature, hard_weight, rate or 0.0
    )
    share = 1 / (N - 1) if reduction == "mean" else 1
    expected = losses if reduction == "none" else losses.sum() * share
    torch.testing.assert_close(loss.detach(), torch.as_tensor(expected), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        leaf.grad, torch.as_tensor(gradients * share), rtol=1e-10, atol=1e-10
    )


def test_torchs_divergence():
    logits, labels, teacher = batch()
    loss = st.distillation_loss(logits, labels, teacher, temperature=3.0, hard_weight=0.3)
    kl = functional.kl_div(
        torch.log_softmax(logits / 3, -1),
        torch.log_softmax(teacher / 3, -1),
        reduction="batchmean",
        log_target=True,
    )
    torch.testing.assert_close(loss, 0.3 * functional.cross_entropy(logits, labels) + 0.7 * 9 * kl)


def test_gradcheck():
    logits, labels, teacher = batch()
    labels[0] = -100

    def loss(z):
        return st.distillation_loss(z, labels, teacher, temperature=2.0, smoothing=0.1)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())
    assert torch.autograd.gradgradcheck(loss, logits)


@given(seed=some.integers(0, 10_000), temperature=some.floats(0.5, 20))
def test_the_divergence_is_not_negative_and_0_at_the_teacher(seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    logits, teacher = torch.randn(2, N, K, dtype=torch.float64, generator=generator)
    labels = torch.zeros(N, dtype=torch.long)
    keywords = {"temperature": temperature, "hard_weight": 0.0, "reduction": "none"}
    assert bool((st.distillation_loss(logits, labels, teacher, **keywords) > -1e-12).all())
    same = st.distillation_loss(teacher + 1.0, labels, teacher, **keywords)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-10)


class TestTeachers:
    def test_a_target_is_the_teachers_distribution(self):
        logits, labels, teacher = batch()
        expected = st.distillation_loss(logits, labels, teacher, temperature=2.0)
        probs = torch.softmax(teacher / 2, -1)
        weights, indices = probs.topk(K)
        for target in (
            st.Target.from_probs(probs),
            st.Target.from_top_k(indices, weights, K),
        ):
            loss = st.distillation_loss(logits, labels, target, temperature=2.0)
            torch.testing.assert_close(loss, expected)

    def test_top_k(self):
        logits, labels, teacher = batch()
        weights, indices = torch.softmax(teacher, -1).topk(2)
        target = st.Target.from_top_k(indices, weights, K)
        loss = st.distillation_loss(logits, labels, target, hard_weight=0.0)
        rows = target.dense()
        expected = functional.kl_div(torch.log_softmax(logits, -1), rows, reduction="batchmean")
        torch.testing.assert_close(loss, expected)

    def test_the_teacher_gets_no_gradient(self):
        logits, labels, teacher = batch()
        st.distillation_loss(logits.requires_grad_(), labels, teacher.requires_grad_()).backward()
        assert teacher.grad is None
        with pytest.raises(ValueError, match="`teacher_logits` must not require a gradient"):
            st.distillation_loss(logits, labels, st.Target.from_probs(torch.softmax(teacher, -1)))

    def test_masked_classes(self):
        logits, _, teacher = batch()
        labels = torch.randint(3, (N,))
        part = st.distillation_loss(logits[:, :3], labels, teacher[:, :3], temperature=2.0)
        logits[:, 3:] = -torch.inf
        leaf = logits.requires_grad_()
        loss = st.distillation_loss(leaf, labels, teacher, temperature=2.0)
        loss.backward()
        torch.testing.assert_close(loss, part)
        assert bool((leaf.grad[:, 3:] == 0).all())
        assert bool(leaf.grad.isfinite().all())

    def test_ignored_rows_may_hold_anything(self):
        logits, labels, teacher = batch(torch.float32)
        labels[:2] = -100
        clean = st.distillation_loss(logits[2:], labels[2:], teacher[2:])
        logits[0], teacher[1], teacher[0] = torch.nan, torch.nan, torch.inf
        logits[1] = -torch.inf
        leaf = logits.requires_grad_()
        loss = st.distillation_loss(leaf, labels, teacher)
        loss.backward()
        torch.testing.assert_close(loss, clean)
        assert bool((leaf.grad[:2] == 0).all())
        nothing = torch.full((N,), -100)
        assert st.distillation_loss(leaf, nothing, teacher) == 0

    def test_a_bad_teacher_is_named(self):
        logits, labels, teacher = batch()
        teacher[3, 1] = torch.nan
        with pytest.raises(ValueError, match="`teacher_logits` must hold no NaN or inf"):
            st.distillation_loss(logits, labels, teacher)
        with pytest.raises(ValueError, match=r"the student's shape, \(6, 5\) .* \(6, 4\)"):
            st.distillation_loss(logits, labels, teacher[:, :4])
        small = st.Target.from_probs(torch.full((N, 4), 0.25))
        with pytest.raises(ValueError, match=r"batch shape \(6,\) and 5 classes, got \(6,\) and 4"):
            st.distillation_loss(logits, labels, small)


class TestTargetsAsTeachers:
    def targets(self, rows):
        """The same distributions in every kind of term."""
        weights, indices = rows.topk(2)
        top = st.Target.from_top_k(indices, weights, K)
        rows = top.dense()
        same = torch.arange(N)
        table = st.Target.from_labels(same, N, dtype=rows.dtype)
        square = torch.zeros(N, N, dtype=rows.dtype)
        square[:, :K] = rows
        through = st.Target.from_probs(torch.eye(N, dtype=rows.dtype)).map_classes(square)
        return rows, [top, st.Target.from_probs(rows), table.map_classes(square), through]

    def test_masked_classes_are_dropped_and_the_rest_renormalised(self):
        logits, _, teacher = batch()
        labels = torch.zeros(N, dtype=torch.long)
        rows, targets = self.targets(torch.softmax(teacher, -1))
        logits[:, 1] = logits[:3, 3] = -torch.inf
        expected = st.distillation_loss(logits, labels, rows.log(), reduction="none")
        assert bool(expected.isfinite().all())
        for target in targets[:2]:
            loss = st.distillation_loss(logits, labels, target, reduction="none")
            torch.testing.assert_close(loss, expected)
        wide = torch.full((N, 1), -torch.inf, dtype=logits.dtype)
        for target in targets[2:]:
            loss = st.distillation_loss(
                torch.cat([logits, wide], -1), labels, target, reduction="none"
            )
            torch.testing.assert_close(loss, expected)

    def test_the_divergence_is_0_at_the_teacher(self):
        _, labels, teacher = batch()
        rows, targets = self.targets(torch.softmax(teacher, -1))
        masked = torch.rand(N, K) < 0.3
        masked[:, 0] = False
        student = rows.log().masked_fill(masked, -torch.inf)
        keywords = {"hard_weight": 0.0, "reduction": "none"}
        for target in targets[:2]:
            loss = st.distillation_loss(student, labels, target, **keywords)
            torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-10)
            other = torch.randn_like(student).masked_fill(masked, -torch.inf)
            assert bool((st.distillation_loss(other, labels, target, **keywords) > -1e-12).all())

    def test_a_teacher_with_nothing_left_says_nothing(self):
        logits = torch.zeros(2, 3)
        logits[:, 2] = -torch.inf
        teacher = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        labels = torch.tensor([0, 0])
        keywords = {"hard_weight": 0.0, "reduction": "none"}
        for form in (st.Target.from_probs(teacher), teacher.log()):
            loss = st.distillation_loss(logits, labels, form, **keywords)
            torch.testing.assert_close(loss, torch.tensor([0.0, 0.6931]), rtol=0, atol=1e-4)

    def test_it_is_brought_to_the_students_dtype_and_checked(self):
        logits, labels, teacher = batch()
        probs = torch.softmax(teacher, -1)
        expected = st.distillation_loss(logits, labels, teacher)
        for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 1e-2)):
            loss = st.distillation_loss(logits, labels, st.Target.from_probs(probs.to(dtype)))
            assert loss.dtype == torch.float64
            torch.testing.assert_close(loss, expected, rtol=tolerance, atol=tolerance)
        for bad in (probs * 2, probs - 2 * torch.eye(N, K, dtype=probs.dtype)):
            with pytest.raises(ValueError, match=r"must be distributions .* at \(0,\); divide"):
                st.distillation_loss(logits, labels, st.Target.from_probs(bad))
        labels[0], probs[0] = -100, torch.nan
        loss = st.distillation_loss(logits, labels, st.Target.from_probs(probs))
        torch.testing.assert_close(loss, st.distillation_loss(logits, labels, teacher))


class TestWeights:
    def test_a_term_of_weight_0_is_left_out(self):
        logits, labels, teacher = batch()
        logits[0, labels[0]] = -torch.inf
        step = st.Schedule.step((0.0, 1.0), (1,))
        for weight in (0.0, step):
            leaf = logits.clone().requires_grad_()
            loss = st.distillation_loss(leaf, labels, teacher, hard_weight=weight)
            loss.backward()
            assert bool(loss.isfinite())
            assert bool(leaf.grad.isfinite().all())
        step.step()
        labels[0] = (labels[0] + 1) % K
        for weight in (1.0, step):
            loss = st.distillation_loss(logits, labels, teacher, hard_weight=weight)
            torch.testing.assert_close(loss, st.cross_entropy(logits, labels))

    def test_schedules(self):
        logits, labels, teacher = batch(torch.float32)
        criterion = st.DistillationLoss(hard_weight=st.Schedule.linear(0.2, 0.6, 2))
        criterion.step()
        expected = st.distillation_loss(logits, labels, teacher, hard_weight=0.4)
        torch.testing.assert_close(criterion(logits, labels, teacher_logits=teacher), expected)
        assert "hard_weight=<linear schedule>" in repr(criterion)
        with pytest.raises(ValueError, match=r"`hard_weight` must be in \[0, 1\], got 2"):
            st.DistillationLoss(hard_weight=st.Schedule.linear(0.2, 2.0, 2))


def test_layouts_and_blocks(monkeypatch):
    logits, teacher = torch.randn(2, 2, K, 3, 4)
    labels = torch.randint(K, (2, 3, 4))
    labels[0, 1] = -100
    flat = [x.movedim(1, -1).reshape(-1, K) for x in (logits, teacher)]
    expected = st.distillation_loss(flat[0], labels.reshape(-1), flat[1], temperature=2.0)
    for size in (2**22, 4 * K):
        monkeypatch.setattr(teachers, "_BLOCK", size)
        loss = st.distillation_loss(logits, labels, teacher, temperature=2.0)
        torch.testing.assert_close(loss, expected)
    last = [x.movedim(1, -1) for x in (logits, teacher)]
    loss = st.distillation_loss(last[0], labels, last[1], temperature=2.0, class_dim=-1)
    torch.testing.assert_close(loss, expected)
    doubled = st.distillation_loss(logits, labels, teacher, temperature=2.0, normalizer=40)
    torch.testing.assert_close(doubled, expected * 20 / 40)


def test_half_precision_is_computed_in_float32():
    logits, labels, teacher = batch(torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        loss = st.distillation_loss(logits.to(dtype), labels, teacher.to(dtype))
        wide = st.distillation_loss(logits.to(dtype).float(), labels, teacher.to(dtype).float())
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, wide)


class TestModule:
    def test_it_equals_the_function_and_eval_is_the_nll(self):
        logits, labels, teacher = batch(torch.float32)
        criterion = st.DistillationLoss(3.0, 0.2, smoothing=0.1, reduction="none")
        expected = st.distillation_loss(
            logits,
            labels,
            teacher,
            temperature=3.0,
            hard_weight=0.2,
            smoothing=0.1,
            reduction="none",
        )
        assert torch.equal(criterion(logits, labels, teacher_logits=teacher), expected)
        nll = functional.cross_entropy(logits, labels, reduction="none")
        torch.testing.assert_close(criterion.eval()(logits, labels), nll)
        assert "temperature=3, hard_weight=0.2" in repr(criterion)

    def test_a_missing_teacher_is_named(self):
        logits, labels, _ = batch()
        with pytest.raises(TypeError, match=r"needs the teacher .* `teacher_logits=`"):
            st.DistillationLoss()(logits, labels)

    def test_a_policy_shares_the_teacher(self):
        logits, labels, teacher = batch(torch.float32)
        policy = st.InstanceLabelSmoothing(0.2, "teacher")
        criterion = st.DistillationLoss(hard_weight=1.0, smoothing=policy)
        target = policy(st.Target.from_labels(labels, K), teacher_logits=teacher)
        torch.testing.assert_close(
            criterion(logits, labels, teacher_logits=teacher), st.cross_entropy(logits, target)
        )

    def test_compile(self):
        logits, labels, teacher = batch(torch.float32)
        torch.compiler.reset()
        criterion = st.DistillationLoss(2.0, smoothing=0.1)
        run = torch.compile(criterion, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(
            run(logits, labels, teacher_logits=teacher),
            criterion(logits, labels, teacher_logits=teacher),
        )


class TestSmoothingRate:
    def test_it_finds_the_rate_of_smoothed_labels(self):
        labels = torch.tensor([0, 1, 4, -100])
        rows = st.Target.from_labels(labels.clamp(min=0), K, dtype=torch.float64).smooth(0.35)
        logits = rows.dense().log()
        logits[3] = torch.nan
        rate = st.teacher_smoothing_rate(logits, labels)
        assert rate.item() == pytest.approx(0.35, abs=1e-12)
        assert st.teacher_smoothing_rate(torch.zeros(4, K), labels).item() == pytest.approx(1)

    def test_temperature_and_layout(self):
        logits, labels = torch.randn(2, K, 3), torch.randint(K, (2, 3))
        p = torch.softmax(logits / 3, 1)
        moved = 1 - p.gather(1, labels.unsqueeze(1)).mean()
        rate = st.teacher_smoothing_rate(logits, labels, temperature=3)
        torch.testing.assert_close(rate, moved * K / (K - 1))
        assert st.teacher_smoothing_rate(logits, torch.full((2, 3), -100)) == 0
        with pytest.raises(ValueError, match="needs at least 2 classes"):
            st.teacher_smoothing_rate(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be finite and > 0, got 0"),
        ({"hard_weight": 1.5}, r"`hard_weight` must be in \[0, 1\], got 1\.5"),
        ({"smoothing": -0.1}, r"`rate` must be in \[0, 1\], got -0\.1"),
        ({"reduction": "median"}, "`reduction` must be"),
    ],
    ids=str,
)
def test_errors(keywords, message):
    logits, labels, teacher = batch()
    with pytest.raises(ValueError, match=message):
        st.distillation_loss(logits, labels, teacher, **keywords)
    with pytest.raises(ValueError, match=message):
        st.DistillationLoss(**keywords)
