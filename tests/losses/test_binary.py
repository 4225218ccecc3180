"""Binary cross-entropy against its formula entry by entry, torch, and extreme logits."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import softtargets as st

N, K = 6, 4
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
POSITIVE = torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
bce = st.binary_cross_entropy_with_logits


def batch(dtype=torch.float64):
    return 3 * torch.randn(N, K, dtype=dtype), (torch.rand(N, K) > 0.6).to(dtype)


def reference(logits, answers, spread=0.0, rate=0.0, weight=None, positive=None):
    total, count = torch.zeros(N, K, dtype=torch.float64), 0
    for i in range(N):
        for k in range(K):
            y = answers[i, k].item()
            if y == -100:
                continue
            p = 1 / (1 + math.exp(-logits[i, k].item()))
            q = (1 - rate) * y + rate * spread
            yes = q * (1 if positive is None else positive[k].item())
            value = -(yes * math.log(p) + (1 - q) * math.log(1 - p))
            total[i, k] = value * (1 if weight is None else weight[k].item())
            count += 1
    return total, count


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("positive", [None, POSITIVE], ids=["", "positive"])
@pytest.mark.parametrize("convention", ["rate/2", "rate/K"])
@pytest.mark.parametrize("rate", [None, 0.2])
def test_the_formula(rate, convention, positive, weight):
    logits, answers = batch()
    answers[1, 2] = answers[4, 0] = -100
    keywords = {
        "smoothing": rate,
        "convention": convention,
        "weight": weight,
        "pos_weight": positive,
    }
    spread = 1 / 2 if convention == "rate/2" else 1 / K
    values, count = reference(logits, answers, spread, rate or 0.0, weight, positive)
    for reduction, expected in (
        ("none", values),
        ("sum", values.sum()),
        ("mean", values.sum() / count),
    ):
        loss = bce(logits, answers, reduction=reduction, **keywords)
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        bce(logits, answers, normalizer=N, **keywords), values.sum() / N, rtol=1e-10, atol=1e-10
    )


def test_torchs_loss_where_nothing_is_smoothed():
    logits, answers = batch()
    for reduction in ("mean", "sum", "none"):
        torchs = nn.BCEWithLogitsLoss(WEIGHT, reduction=reduction, pos_weight=POSITIVE)
        ours = st.BCEWithLogitsLoss(weight=WEIGHT, reduction=reduction, pos_weight=POSITIVE)
        torch.testing.assert_close(ours(logits, answers), torchs(logits, answers))
    several = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))
    ours = st.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(ours(logits, answers), several(logits, answers))


def test_gradcheck():
    logits, answers = batch()
    answers[0, 0] = -100

    def loss(z):
        return bce(z, answers, smoothing=0.1, weight=WEIGHT, pos_weight=POSITIVE)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())
    assert torch.autograd.gradgradcheck(loss, logits)


class TestClassLabels:
    def test_integers_mean_one_yes(self):
        logits, _ = batch()
        labels = torch.tensor([0, 1, 2, 3, -100, 2])
        rows = functional.one_hot(labels.clamp(min=0), K).double()
        rows[4] = -100
        target = st.Target.from_labels(labels, K, dtype=torch.float64)
        for convention in ("rate/2", "rate/K"):
            keywords = {"smoothing": 0.1, "convention": convention}
            expected = bce(logits, rows, **keywords)
            for form in (labels, target):
                torch.testing.assert_close(bce(logits, form, **keywords), expected)

    def test_rate_over_k_is_categorical_smoothing(self):
        logits, _ = batch()
        labels = torch.randint(K, (N,))
        smooth = st.Target.from_labels(labels, K, dtype=torch.float64).smooth(0.1)
        torch.testing.assert_close(
            bce(logits, smooth), bce(logits, labels, smoothing=0.1, convention="rate/K")
        )

    def test_smoothing_happens_once(self):
        logits, _ = batch()
        smooth = st.Target.from_labels(torch.zeros(N, dtype=torch.long), K).smooth(0.1)
        with pytest.raises(ValueError, match="smoothed already and smoothing happens once"):
            bce(logits, smooth, smoothing=0.1)

    def test_mixed_labels(self):
        logits, _ = batch()
        target = st.Target.from_labels(torch.arange(N) % K, K, dtype=torch.float64)
        mixed = target.mix(target[torch.arange(N).flip(0)], 0.3)
        torch.testing.assert_close(bce(logits, mixed), bce(logits, mixed.dense()))


class TestExtremes:
    def test_large_and_infinite_logits(self):
        inf = math.inf
        logits = torch.tensor([[1e4, -1e4, inf, -inf, inf, -inf]], requires_grad=True)
        answers = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0, 1.0]])
        values = bce(logits, answers, reduction="none")
        assert values.tolist() == [[0, 0, 0, 0, inf, inf]]
        values.sum().backward()
        assert logits.grad.tolist() == [[0, 0, 0, 0, 1, -1]]
        wrong = bce(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]), reduction="none")
        assert wrong.tolist() == [[1e4, 1e4]]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, dtype):
        logits, answers = batch(torch.float32)
        loss = bce(logits.to(dtype), answers.to(dtype), smoothing=0.1)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, bce(logits.to(dtype).float(), answers, smoothing=0.1))

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    def test_ignored_entries_are_exactly_0(self, reduction):
        logits, answers = batch(torch.float32)
        answers[0], answers[1, 2] = -100, -100
        logits[0], logits[1, 2] = torch.nan, torch.inf
        leaf = logits.requires_grad_()
        loss = bce(leaf, answers, smoothing=0.1, reduction=reduction)
        loss.sum().backward()
        assert bool(loss.isfinite().all())
        ignored = answers == -100
        assert bool((leaf.grad[ignored] == 0).all())
        assert bool((leaf.grad[~ignored] != 0).all())
        assert bce(leaf, torch.full((N, K), -100.0)) == 0
        assert bce(leaf, torch.full((N,), -100)) == 0


def test_layouts():
    logits, labels = torch.randn(2, K, 3, 5), torch.randint(K, (2, 3, 5))
    rows = functional.one_hot(labels, K).movedim(-1, 1).float()
    expected = bce(logits, rows, smoothing=0.1, weight=WEIGHT.float(), reduction="none")
    assert expected.shape == logits.shape
    by_labels = bce(logits, labels, smoothing=0.1, weight=WEIGHT.float(), reduction="none")
    torch.testing.assert_close(by_labels, expected)
    last = bce(
        logits.movedim(1, -1),
        rows.movedim(1, -1),
        smoothing=0.1,
        weight=WEIGHT.float(),
        reduction="none",
        class_dim=-1,
    )
    torch.testing.assert_close(last.movedim(-1, 1), expected)
    assert bce(torch.randn(5), torch.ones(5), reduction="none").shape == (5,)


def test_the_module_and_eval():
    logits, answers = batch(torch.float32)
    criterion = st.BCEWithLogitsLoss(0.1, convention="rate/K", weight=WEIGHT.float())
    expected = bce(logits, answers, smoothing=0.1, convention="rate/K", weight=WEIGHT.float())
    assert torch.equal(criterion(logits, answers), expected)
    assert "convention='rate/K'" in repr(criterion)
    hard = bce(logits, answers, weight=WEIGHT.float())
    assert torch.equal(criterion.eval()(logits, answers), hard)
    target = st.Target.from_probs(answers)
    torch.testing.assert_close(criterion(logits, target.smooth(0.3)), criterion(logits, target))


def test_compile():
    logits, answers = batch(torch.float32)
    torch.compiler.reset()
    criterion = st.BCEWithLogitsLoss(0.1)
    run = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(logits, answers), criterion(logits, answers))


def test_errors():
    logits, answers = batch()
    with pytest.raises(ValueError, match=r"`smoothing` must be in \[0, 1\], got 1\.2"):
        st.BCEWithLogitsLoss(1.2)
    with pytest.raises(ValueError, match='`convention` must be "rate/2" or "rate/K"'):
        st.BCEWithLogitsLoss(0.1, convention="K")
    with pytest.raises(TypeError, match="weights go into `weight=`"):
        st.BCEWithLogitsLoss(torch.ones(K))
    with pytest.raises(TypeError, match="call the policy first and hand over its `Target`"):
        bce(logits, answers, smoothing=st.LabelSmoothing(0.1))
    answers[2, 1] = 1.5
    with pytest.raises(ValueError, match=r"values in \[0, 1\], got 1\.5 at \(2, 1\)"):
        bce(logits, answers)
    with pytest.raises(ValueError, match=r"`target` must have the logits' shape .* \(6, 3\)"):
        bce(logits, answers[:, :3])
    with pytest.raises(ValueError, match=r"got \(6, 4\); .* rows must be floating point"):
        bce(logits, torch.ones(N, K, dtype=torch.long))
    with pytest.raises(ValueError, match=r"`pos_weight` must have shape \(4,\)"):
        bce(logits, answers.clamp(max=1), pos_weight=torch.ones(2))


class TestMaskedEntries:
    @pytest.mark.parametrize("convention", ["rate/2", "rate/K"])
    def test_they_are_not_smoothed(self, convention):
        logits, labels = torch.zeros(2, K), torch.tensor([0, 1])
        logits[:, 3] = -torch.inf
        rows = functional.one_hot(labels, K).float()
        keywords = {"smoothing": 0.2, "convention": convention, "reduction": "none"}
        leaf = logits.requires_grad_()
        for target in (labels, rows, st.Target.from_labels(labels, K)):
            losses = bce(leaf, target, **keywords)
            assert bool((losses[:, 3] == 0).all())
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
            assert bool(gradient.isfinite().all())
        smooth = st.Target.from_labels(labels, K).smooth(0.2)
        assert bool((bce(leaf, smooth, reduction="none")[:, 3] == 0).all())

    def test_an_answer_that_is_masked_costs_the_infinite(self):
        logits = torch.tensor([[-torch.inf, 0.0]])
        losses = bce(logits, torch.tensor([0]), smoothing=0.2, reduction="none")
        assert losses[0, 0] == torch.inf
        assert bool(losses[0, 1].isfinite())


class TestTargetsOfAnswers:
    def test_entries_out_of_range_are_named(self):
        logits, labels = torch.randn(2, K), torch.tensor([0, 1])
        given = st.Target.from_labels(labels, K)
        for target in (given.smooth(-0.2, allow_negative=True), st.MaxSup(0.5)(given, logits)):
            with pytest.raises(ValueError, match=r"values in \[0, 1\], got .*MaxSup, a negative"):
                bce(logits, target)

    def test_rows_of_zeros_count(self):
        logits, answers = torch.randn(3, K), torch.tensor([[0.0] * K, [1.0] * K, [0, 1, 0, 1]])
        expected = bce(logits, answers, smoothing=0.1)
        target = st.Target.from_probs(answers)
        torch.testing.assert_close(bce(logits, target, smoothing=0.1), expected)
        half = target.mix(target, 0.5)
        torch.testing.assert_close(bce(logits, half, smoothing=0.1), expected)

    @pytest.mark.parametrize("index", [0, 1])
    def test_an_answer_is_no_mark(self, index):
        logits, answers = batch()
        with pytest.raises(ValueError, match=rf"`ignore_index` must be no answer .* got {index}"):
            bce(logits, answers, ignore_index=index)
        labels = torch.randint(K, (N,))
        assert bool(bce(logits, labels, ignore_index=index).isfinite())

    def test_what_the_error_about_policies_says_works(self):
        logits, labels = torch.randn(2, K), torch.tensor([0, 1])
        policy = st.LabelSmoothing(0.1)
        with pytest.raises(
            TypeError, match=r"`policy\(Target\.from_labels\(labels, num_classes\)\)`"
        ):
            bce(logits, labels, smoothing=policy)
        loss = bce(logits, policy(st.Target.from_labels(labels, K)))
        torch.testing.assert_close(loss, bce(logits, labels, smoothing=0.1, convention="rate/K"))


def test_the_module_checks_weights_and_takes_schedules():
    with pytest.raises(TypeError, match="`weight` must be a floating point tensor"):
        st.BCEWithLogitsLoss(weight=torch.ones(K, dtype=torch.long))
    with pytest.raises(ValueError, match="`pos_weight` must have shape"):
        st.BCEWithLogitsLoss(pos_weight=torch.ones(2, K))
    logits, answers = batch()
    criterion = st.BCEWithLogitsLoss(st.Schedule.linear(0.0, 0.2, 2))
    torch.testing.assert_close(criterion(logits, answers), bce(logits, answers))
    criterion.step()
    torch.testing.assert_close(criterion(logits, answers), bce(logits, answers, smoothing=0.1))
    assert "smoothing=<linear schedule>" in repr(criterion)
    assert "smoothing.count" in criterion.state_dict()
    with pytest.raises(ValueError, match=r"`smoothing` must be in \[0, 1\], got 1\.5"):
        st.BCEWithLogitsLoss(st.Schedule.linear(0.0, 1.5, 2))


class TestEdges:
    def test_a_weight_of_0_outweighs_a_masked_answer(self):
        logits = torch.tensor([[-torch.inf, 1.0]], requires_grad=True)
        loss = bce(logits, torch.tensor([0]), weight=torch.tensor([0.0, 1.0]))
        loss.backward()
        expected = functional.softplus(torch.tensor(1.0)) / 2
        torch.testing.assert_close(loss.detach(), expected)
        torch.testing.assert_close(
            logits.grad, torch.sigmoid(torch.tensor([[-torch.inf, 1.0]])) / 2
        )

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    def test_the_logits_say_the_dtype(self, reduction):
        logits, answers = batch()
        for dtype in (torch.float16, torch.float32):
            loss = bce(logits.to(dtype), st.Target.from_probs(answers), reduction=reduction)
            assert loss.dtype == torch.float32

    def test_a_class_is_not_taken_out_of_answers(self):
        logits, answers = batch()
        target = st.Target.from_probs(answers)
        with pytest.raises(ValueError, match=r"`ignore_index=2` is a class, .* leave it at -100"):
            bce(logits, target, ignore_index=2)
        kept = torch.arange(N) != 1
        torch.testing.assert_close(bce(logits, target * kept), bce(logits[kept], answers[kept]))
        labels = torch.randint(K, (N,))
        expected = bce(logits, labels, ignore_index=2)
        by_target = bce(logits, st.Target.from_labels(labels, K), ignore_index=2)
        torch.testing.assert_close(by_target, expected)
