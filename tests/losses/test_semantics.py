"""The promises a user can trust, numbered as `docs/concepts` numbers them; 5.8 (online label
smoothing) is in `tests/smoothing/test_online.py`, 5.7 and 5.9 in `test_errors.py`, 5.10 in
`test_autograd.py`.
"""

import pytest
import torch
from torch.nn import functional

import softtargets as st
from softtargets.testing import dense_cross_entropy

N, K = 8, 5
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25, 1.5])
REDUCTIONS = ["mean", "sum", "none"]
INF = float("inf")


def batch(*shape, dtype=torch.float32):
    logits = 2 * torch.randn(*(shape or (N,)), K, dtype=dtype)
    labels = torch.randint(K, shape or (N,))
    return logits, labels


def run(logits, target, **keywords):
    leaf = logits.clone().requires_grad_()
    loss = st.cross_entropy(leaf, target, **keywords)
    loss.sum().backward()
    return loss.detach(), leaf.grad


class TestOneNormaliser:  # 5.1
    @pytest.mark.parametrize("smoothing", [None, 0.1])
    @pytest.mark.parametrize("weight_mode", ["per_class", "per_sample"])
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_5_1_labels_one_hot_and_target_agree(self, reduction, weight_mode, smoothing):
        logits, labels = batch()
        labels[2] = -100
        one_hot = functional.one_hot(labels.clamp(min=0), K).float()
        one_hot[2] = 0
        keywords = {
            "weight": WEIGHT,
            "reduction": reduction,
            "smoothing": smoothing,
            "options": st.LossOptions(weight_mode=weight_mode),
        }
        expected = dense_cross_entropy(
            logits,
            (target := st.Target.from_labels(labels, K)).smooth(smoothing or 0.0),
            weight=WEIGHT,
            reduction=reduction,
            weight_mode=weight_mode,
        ).float()
        for form in (labels, one_hot, target):
            loss, gradient = run(logits, form, **keywords)
            torch.testing.assert_close(loss, expected)
            assert bool((gradient[2] == 0).all())

    def test_5_1_the_mean_divides_by_the_mass_before_smoothing(self):
        logits, labels = batch()
        total = st.cross_entropy(logits, labels, smoothing=0.3, weight=WEIGHT, reduction="sum")
        mean = st.cross_entropy(logits, labels, smoothing=0.3, weight=WEIGHT)
        torch.testing.assert_close(mean, total / WEIGHT[labels].sum())

    def test_5_1_soft_rows_count_with_their_mass(self):
        logits, _ = batch()
        probs = torch.rand(N, K)
        total = st.cross_entropy(logits, probs, weight=WEIGHT, reduction="sum")
        mean = st.cross_entropy(logits, probs, weight=WEIGHT)
        torch.testing.assert_close(mean, total / (probs @ WEIGHT).sum())

    def test_5_1_weight_modes_differ_as_documented(self):
        logits, labels = batch()
        weighted = st.cross_entropy(
            logits,
            labels,
            smoothing=0.2,
            weight=WEIGHT,
            reduction="none",
            options=st.LossOptions(weight_mode="per_sample"),
        )
        plain = st.cross_entropy(logits, labels, smoothing=0.2, reduction="none")
        torch.testing.assert_close(weighted, WEIGHT[labels] * plain)
        torchs = functional.cross_entropy(
            logits, labels, weight=WEIGHT, label_smoothing=0.2, reduction="none"
        )
        per_class = st.cross_entropy(logits, labels, smoothing=0.2, weight=WEIGHT, reduction="none")
        torch.testing.assert_close(per_class, torchs)
        assert (per_class - weighted).abs().max() > 0.1

    def test_5_1_a_divisor_that_is_not_positive_is_an_error(self):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r"weighted mass .* must be > 0, got 0"):
            st.cross_entropy(logits, labels, weight=torch.zeros(K))
        negative = st.Target.from_labels(labels, K) * -1.0
        with pytest.raises(ValueError, match=r"got -8.*normalizer="):
            st.cross_entropy(logits, negative)
        assert st.cross_entropy(logits, negative, normalizer=8).isfinite()

    def test_5_1_a_normaliser_replaces_the_divisor(self):
        logits, labels = batch()
        total = st.cross_entropy(logits, labels, smoothing=0.1, reduction="sum")
        for normalizer in (7, 7.0, torch.tensor(7), torch.tensor([7.0])):
            mean = st.cross_entropy(logits, labels, smoothing=0.1, normalizer=normalizer)
            torch.testing.assert_close(mean, total / 7)
            assert mean.shape == ()

    def test_5_1_accumulated_steps_equal_one_step(self):
        logits, labels = batch()
        labels[:3] = -100
        whole = st.cross_entropy(logits, labels, smoothing=0.1)
        count = (labels != -100).sum()
        parts = [
            st.cross_entropy(logits[s], labels[s], smoothing=0.1, normalizer=count)
            for s in (slice(0, 3), slice(3, 4), slice(4, N))
        ]
        torch.testing.assert_close(sum(parts), whole)


class TestMaskedClasses:  # 5.2
    def masked(self):
        logits, labels = batch(dtype=torch.float64)
        alive = torch.rand(N, K) > 0.4
        alive[torch.arange(N), labels] = True
        return logits, labels, alive

    @pytest.mark.parametrize("kind", ["uniform", "prior", "rows", "online", "K-1"])
    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
    def test_5_2_mass_is_spread_over_the_living(self, kind, weight):
        logits, labels, alive = self.masked()
        target = st.Target.from_labels(labels, K, dtype=torch.float64)
        rows = torch.softmax(torch.randn(K, K, dtype=torch.float64), -1)
        smoothed = {
            "uniform": lambda: target.smooth(0.2),
            "prior": lambda: target.smooth(0.2, rows[0]),
            "rows": lambda: target.smooth(0.2, rows),
            "online": lambda: st.OnlineLabelSmoothing(K).eval()(target),
            "K-1": lambda: st.LabelSmoothing(0.2, convention="K-1")(target),
        }[kind]()
        dead = logits.masked_fill(~alive, -INF)
        reference = dead.clone().requires_grad_()
        expected = dense_cross_entropy(reference, smoothed, weight=weight)
        (gradient,) = torch.autograd.grad(expected, reference)
        large = logits.masked_fill(~alive, -1e9)
        for form, mask in ((dead, None), (dead, alive), (large, alive), (logits, alive)):
            loss, ours = run(form, smoothed, weight=weight, class_mask=mask)
            torch.testing.assert_close(loss, expected.detach())
            torch.testing.assert_close(ours[alive], gradient[alive])
            assert bool((ours[~alive] == 0).all())
        q = smoothed.dense(alive)
        assert bool((q[~alive] == 0).all())
        torch.testing.assert_close(q.sum(-1), torch.ones(N, dtype=torch.float64))

    def test_5_2_a_masked_vocabulary_equals_the_smaller_one(self):
        logits, _ = batch()
        labels = torch.randint(3, (N,))
        dead = logits.clone()
        dead[:, 3:] = -INF
        loss = st.cross_entropy(dead, labels, smoothing=0.1)
        torchs = functional.cross_entropy(logits[:, :3], labels, label_smoothing=0.1)
        torch.testing.assert_close(loss, torchs)

    def test_5_2_no_mass_on_a_dead_class_counts_nothing(self):
        logits, labels, alive = self.masked()
        dead = logits.masked_fill(~alive, -INF)
        one_hot = functional.one_hot(labels, K).double()
        plain = functional.cross_entropy(dead, labels)
        torch.testing.assert_close(st.cross_entropy(dead, one_hot), plain)
        torch.testing.assert_close(st.cross_entropy(dead, labels), plain)

    def test_5_2_weight_0_outweighs_a_dead_class(self):
        logits = torch.tensor([[1.0, 2.0, -INF]])
        weight = torch.tensor([1.0, 1.0, 0.0])
        for target in (torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([0])):
            loss, gradient = run(logits, target, weight=weight)
            assert loss.isfinite()
            assert gradient.isfinite().all()
        label = torch.tensor([2])
        for mode in ("per_class", "per_sample"):
            options = st.LossOptions(weight_mode=mode)
            loss, gradient = run(logits, label, weight=weight, reduction="sum", options=options)
            assert loss.item() == 0
            assert bool((gradient == 0).all())

    def test_5_2_a_row_without_a_living_class_is_ignored(self):
        logits, labels = batch()
        dead = logits.clone()
        dead[3] = -INF
        loss, gradient = run(dead, labels, smoothing=0.1)
        keep = torch.arange(N) != 3
        torch.testing.assert_close(
            loss, st.cross_entropy(logits[keep], labels[keep], smoothing=0.1)
        )
        assert bool((gradient[3] == 0).all())
        losses, _ = run(dead, labels, smoothing=0.1, reduction="none")
        assert losses[3] == 0
        mask = torch.ones(N, K, dtype=torch.bool)
        mask[3] = False
        torch.testing.assert_close(run(logits, labels, smoothing=0.1, class_mask=mask)[0], loss)
        everything = torch.full_like(logits, -INF)
        loss, gradient = run(everything, labels, smoothing=0.1)
        assert loss == 0
        assert bool((gradient == 0).all())

    @pytest.mark.parametrize("smoothing", [None, 0.1])
    def test_5_2_a_masked_label_is_inf_or_an_error(self, smoothing):
        logits, labels = batch()
        logits[1, labels[1]] = -INF
        loss, gradient = run(logits, labels, smoothing=smoothing)
        assert loss == INF
        assert gradient.isfinite().all()
        options = st.LossOptions(validate=True)
        one_hot = functional.one_hot(labels, K).float()
        for target in (labels, one_hot, st.Target.from_labels(labels, K)):
            with pytest.raises(ValueError, match=r"mass on a masked class .* at \(1,\)"):
                st.cross_entropy(logits, target, smoothing=smoothing, options=options)

    def test_5_2_policies_see_the_class_mask(self):
        logits, labels, alive = self.masked()
        matrices = []
        for form, mask in ((logits.masked_fill(~alive, -INF), None), (logits, alive)):
            policy = st.OnlineLabelSmoothing(K)
            st.CrossEntropyLoss(policy)(form.requires_grad_(), labels, class_mask=mask)
            policy.end_epoch()
            matrices.append(policy.matrix)
        torch.testing.assert_close(*matrices)

    def test_5_2_masks_of_one_row_and_images(self):
        logits, labels = batch(2, 3, 2)
        labels = labels % 3
        keep = torch.tensor([True, True, True, False, False])
        small = st.cross_entropy(logits[..., :3], labels, smoothing=0.1, class_dim=-1)
        images = logits.movedim(-1, 1)
        full = keep.reshape(1, K, 1, 1).expand(images.shape)
        for mask in (keep, full):
            loss = st.cross_entropy(images, labels, smoothing=0.1, class_mask=mask)
            torch.testing.assert_close(loss, small)


class TestHalfPrecision:  # 5.3
    @pytest.mark.parametrize("vocabulary", [32_000, 128_000])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("smoothing", [None, 0.1])
    def test_5_3_large_vocabularies(self, vocabulary, dtype, smoothing):
        logits = (3 * torch.randn(4, vocabulary)).to(dtype)
        labels = torch.randint(vocabulary, (4,))
        loss, gradient = run(logits, labels, smoothing=smoothing)
        wide = logits.double().requires_grad_()
        exact = functional.cross_entropy(wide, labels, label_smoothing=smoothing or 0.0)
        exact.backward()
        assert loss.dtype == torch.float32
        assert gradient.dtype == dtype
        assert loss.item() == pytest.approx(exact.item(), rel=2e-6)
        # Half a unit in the last place, of normal and of subnormal numbers.
        unit = torch.finfo(dtype)
        budget = 0.51 * unit.eps * wide.grad.abs() + 0.51 * unit.smallest_normal * unit.eps
        assert bool(
            ((gradient.double() - wide.grad).abs() <= budget + 1e-6 * wide.grad.abs()).all()
        )

    def test_5_3_a_loss_scale_keeps_small_entries(self):
        vocabulary, scale = 32_000, 2.0**16
        logits = (3 * torch.randn(128, vocabulary)).half().requires_grad_()
        labels = torch.randint(vocabulary, (128,))
        (scale * st.cross_entropy(logits, labels, smoothing=0.1)).backward()
        wide = logits.detach().double().requires_grad_()
        functional.cross_entropy(wide, labels, label_smoothing=0.1).backward()
        kept = (logits.grad != 0).float().mean()
        flushed = ((wide.grad.half()) != 0).float().mean()
        assert kept > 0.99
        assert flushed < 0.2
        torch.testing.assert_close(logits.grad.double() / scale, wide.grad, rtol=1e-3, atol=1e-11)

    def test_5_3_the_result_is_float32_or_wider(self):
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            logits, labels = batch(dtype=dtype)
            want = torch.float64 if dtype == torch.float64 else torch.float32
            for reduction in REDUCTIONS:
                loss = st.cross_entropy(
                    logits, labels, smoothing=0.1, weight=WEIGHT.half(), reduction=reduction
                )
                assert loss.dtype == want

    def test_5_3_autocast_changes_nothing(self):
        logits, _ = batch()
        rows = torch.softmax(torch.randn(K, K), -1)
        target = st.Target.from_probs(torch.softmax(torch.randn(N, K), -1)).smooth(0.2, rows)
        plain = run(logits, target, weight=WEIGHT)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            target = st.Target.from_probs(target.given.others[0].values).smooth(0.2, rows)
            mixed = run(logits, target, weight=WEIGHT)
        assert torch.equal(plain[0], mixed[0])
        assert torch.equal(plain[1], mixed[1])


class TestIgnored:  # 5.4
    @pytest.mark.parametrize("filling", [float("nan"), INF, -INF, 1e38])
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_5_4_ignored_rows_may_hold_anything(self, filling, reduction):
        logits, labels = batch()
        labels[::2] = -100
        poisoned = logits.clone()
        poisoned[::2] = filling
        one_hot = functional.one_hot(labels.clamp(min=0), K).float()
        one_hot[::2] = 0
        for target in (labels, one_hot, st.Target.from_labels(labels, K)):
            loss, gradient = run(
                poisoned, target, smoothing=0.1, weight=WEIGHT, reduction=reduction
            )
            clean, expected = run(
                logits[1::2], labels[1::2], smoothing=0.1, weight=WEIGHT, reduction=reduction
            )
            if reduction == "none":
                assert bool((loss[::2] == 0).all())
                loss = loss[1::2]
            torch.testing.assert_close(loss, clean)
            assert bool((gradient[::2] == 0).all())
            torch.testing.assert_close(gradient[1::2], expected)

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_5_4_nothing_but_ignored_labels_is_0(self, reduction):
        logits, _ = batch()
        loss, gradient = run(logits, torch.full((N,), -100), smoothing=0.1, reduction=reduction)
        assert bool((loss == 0).all())
        assert bool((gradient == 0).all())

    def test_5_4_an_empty_batch_is_0(self):
        logits, labels = torch.zeros(0, K), torch.zeros(0, dtype=torch.long)
        for smoothing in (None, 0.1, st.OnlineLabelSmoothing(K)):
            loss, gradient = run(logits, labels, smoothing=smoothing)
            assert loss == 0
            assert gradient.shape == (0, K)

    def test_5_4_one_class(self):
        loss, gradient = run(torch.randn(3, 1), torch.zeros(3, dtype=torch.long), smoothing=0.1)
        torch.testing.assert_close(loss, torch.tensor(0.0))
        torch.testing.assert_close(gradient, torch.zeros(3, 1))


class TestSmoothingHappensOnce:  # 5.5
    def test_5_5_twice_is_an_error(self):
        logits, labels = batch()
        smooth = st.Target.from_labels(labels, K).smooth(0.1)
        for smoothing in (0.1, st.LabelSmoothing(0.1), st.OnlineLabelSmoothing(K)):
            with pytest.raises(ValueError, match="smoothed already and smoothing happens once"):
                st.cross_entropy(logits, smooth, smoothing=smoothing)
        loss = st.cross_entropy(logits, smooth)
        torch.testing.assert_close(
            loss, functional.cross_entropy(logits, labels, label_smoothing=0.1)
        )

    def test_5_5_teacher_rows_may_be_marked(self):
        logits, _ = batch()
        rows = st.Target.from_probs(torch.softmax(logits, -1), smoothed=True)
        with pytest.raises(ValueError, match="smoothed already"):
            st.CrossEntropyLoss(0.1)(logits, rows)

    def test_5_5_mixed_labels_are_smoothed_once(self):
        logits, labels = batch()
        target = st.Target.from_labels(labels, K)
        mixed = target.mix(target[torch.arange(N).flip(0)], 0.3)
        both = mixed.dense() * 0.9 + 0.1 / K
        expected = -(both * torch.log_softmax(logits, -1)).sum(-1).mean()
        torch.testing.assert_close(st.CrossEntropyLoss(0.1)(logits, mixed), expected)


class TestEval:  # 5.6
    @pytest.mark.parametrize(
        "smoothing",
        [
            None,
            0.3,
            st.LabelSmoothing(0.3, convention="K-1"),
            st.OnlineLabelSmoothing(K),
            st.InstanceLabelSmoothing(0.3, "teacher"),
        ],
        ids=str,
    )
    def test_5_6_eval_reports_the_nll(self, smoothing):
        logits, labels = batch()
        criterion = st.CrossEntropyLoss(smoothing, weight=WEIGHT).eval()
        nll = functional.cross_entropy(logits, labels, weight=WEIGHT)
        torch.testing.assert_close(criterion(logits, labels), nll)
        smooth = st.Target.from_labels(labels, K).smooth(0.2)
        torch.testing.assert_close(criterion(logits, smooth), nll)

    def test_5_6_training_smooths(self):
        logits, labels = batch()
        criterion = st.CrossEntropyLoss(0.3)
        assert (criterion(logits, labels) - criterion.eval()(logits, labels)).abs() > 1e-3
