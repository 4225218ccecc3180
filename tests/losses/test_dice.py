"""Dice: minimal at the soft target, the Dice coefficient for hard predictions, every sum masked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch.nn import functional

import softtargets as st
from softtargets.losses import dice_sums
from tests.reference import smoothed, softmax

N, K, H, W = 2, 4, 3, 5
FORMS = ["squared", "intersection"]


def batch(dtype=torch.float64):
    logits = 2 * torch.randn(N, K, H, W, dtype=dtype)
    labels = torch.randint(K, (N, H, W))
    return logits, labels


def reference(logits, labels, form, rate=0.0, epsilon=1e-5, per="image", weight=None):
    """The mean loss, pixel by pixel; labels of -100 are skipped."""
    w = np.ones(K) if weight is None else weight.numpy()
    images = [[i] for i in range(N)] if per == "image" else [list(range(N))]
    losses = []
    for chosen in images:
        overlap, p_size, q_size, pixels = np.zeros(K), np.zeros(K), np.zeros(K), 0
        for n in chosen:
            for i, j in np.ndindex(H, W):
                if labels[n, i, j] == -100:
                    continue
                p = softmax(logits[n, :, i, j])
                q = smoothed(int(labels[n, i, j]), K, rate)
                pixels += 1
                if form == "squared":
                    overlap, p_size, q_size = overlap + p * q, p_size + p**2, q_size + q**2
                else:
                    overlap = overlap + (p + q - abs(p - q)) / 2
                    p_size, q_size = p_size + p, q_size + q
        if pixels:
            coefficient = (2 * overlap + epsilon) / (p_size + q_size + epsilon)
            losses.append((w * (1 - coefficient)).sum() / w.sum())
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize("form", FORMS)
class TestForms:
    @pytest.mark.parametrize("per", ["image", "batch"])
    @pytest.mark.parametrize("rate", [0.0, 0.2])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_the_formula(self, form, per, rate, weighted):
        logits, labels = batch()
        labels[0, 1:] = -100
        weight = torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64) if weighted else None
        loss = st.dice_loss(logits, labels, form=form, smoothing=rate, per=per, weight=weight)
        expected = reference(logits.numpy(), labels, form, rate, per=per, weight=weight)
        assert loss.item() == pytest.approx(expected, abs=1e-10)

    def test_gradcheck(self, form):
        logits, labels = batch()
        labels[0, 0] = -100

        def loss(z):
            return st.dice_loss(z, labels, form=form, smoothing=0.1, reduction="none")

        assert torch.autograd.gradcheck(loss, logits.requires_grad_())
        assert torch.autograd.gradgradcheck(loss, logits)

    @given(seed=some.integers(0, 10_000), size=some.floats(1e-4, 3.0))
    def test_no_other_prediction_is_better_than_the_target(self, form, seed, size):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(1, K, 3, dtype=torch.float64, generator=generator)
        q = torch.softmax(scores, 1)
        away = scores + size * torch.randn(scores.shape, dtype=torch.float64, generator=generator)
        at_target = st.dice_loss(scores, q, form=form)
        assert at_target.item() == pytest.approx(0, abs=1e-12)
        assert st.dice_loss(away, q, form=form) > at_target

    def test_hard_predictions_have_the_dice_coefficient(self, form):
        _, labels = batch()
        predicted = torch.randint(K, (N, H, W))
        logits = 1e4 * functional.one_hot(predicted, K).movedim(-1, 1).double()
        p, y = (functional.one_hot(x, K).flatten(1, 2) for x in (predicted, labels))
        coefficient = 2 * (p & y).sum(1).double() / (p.sum(1) + y.sum(1))
        loss = st.dice_loss(logits, labels, form=form, epsilon=0.0)
        assert loss.item() == pytest.approx((1 - coefficient).mean().item(), abs=1e-12)

    @pytest.mark.parametrize("epsilon", [0.0, 1e-5, 1.0])
    def test_a_class_absent_from_both_costs_nothing(self, form, epsilon):
        labels = torch.zeros(1, 2, 2, dtype=torch.long)
        logits = torch.full((1, 3, 2, 2), -torch.inf, dtype=torch.float64)
        logits[:, 0] = 1.0
        leaf = logits.requires_grad_()
        loss = st.dice_loss(leaf, labels, form=form, epsilon=epsilon)
        loss.backward()
        assert loss == 0
        assert bool((leaf.grad == 0).all())

    def test_descent_reaches_the_soft_target(self, form):
        q = torch.tensor([0.5, 0.3, 0.2]).reshape(1, 3, 1).expand(1, 3, 4).double()
        logits = torch.zeros(1, 3, 4, dtype=torch.float64, requires_grad=True)
        for step in range(400):
            (gradient,) = torch.autograd.grad(st.dice_loss(logits, q, form=form), logits)
            logits = (logits - 4 / (1 + step / 20) * gradient).detach().requires_grad_()
        distance = (torch.softmax(logits, 1) - q).abs().max().item()
        assert distance < (1e-6 if form == "squared" else 3e-2)

    def test_blocks_change_nothing(self, form, monkeypatch):
        logits, labels = batch()
        labels[0, 0] = -100
        results = []
        for size in (2**22, H * W * K, W * K):
            monkeypatch.setattr(dice_sums, "BLOCK_ELEMENTS", size)
            leaf = logits.clone().requires_grad_()
            loss = st.dice_loss(leaf, labels, form=form, smoothing=0.1)
            loss.backward()
            results.append((loss.detach(), leaf.grad))
        for other in results[1:]:
            torch.testing.assert_close(results[0], other)

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_ignored_pixels_take_no_part(self, form, activation):
        logits, labels = batch(torch.float32)
        labels[:, 1] = -100
        poisoned = logits.clone()
        poisoned[:, :, 1] = torch.nan
        leaf = poisoned.requires_grad_()
        keywords = {"form": form, "activation": activation, "smoothing": 0.1}
        loss = st.dice_loss(leaf, labels, **keywords)
        loss.backward()
        rows = [0, 2]
        clean = st.dice_loss(logits[:, :, rows], labels[:, rows], **keywords)
        torch.testing.assert_close(loss, clean)
        assert bool((leaf.grad[:, :, 1] == 0).all())

    def test_targets_in_every_notation_agree(self, form):
        logits, labels = batch()
        rows = functional.one_hot(labels, K).movedim(-1, 1).double()
        expected = st.dice_loss(logits, labels, form=form, smoothing=0.1)
        for target in (rows, st.Target.from_labels(labels, K, dtype=torch.float64)):
            loss = st.dice_loss(logits, target, form=form, smoothing=0.1)
            torch.testing.assert_close(loss, expected)
        last = st.dice_loss(
            logits.movedim(1, -1), rows.movedim(1, -1), form=form, smoothing=0.1, class_dim=-1
        )
        torch.testing.assert_close(last, expected)

    def test_compile(self, form):
        logits, labels = batch(torch.float32)
        torch.compiler.reset()
        criterion = st.DiceLoss(0.1, form=form)
        results = []
        for call in (torch.compile(criterion, fullgraph=True, backend="aot_eager"), criterion):
            leaf = logits.clone().requires_grad_()
            loss = call(leaf, labels)
            (gradient,) = torch.autograd.grad(loss, leaf)
            results.append((loss.detach(), gradient))
        torch.testing.assert_close(results[0], results[1])


def test_the_widespread_form_is_not_minimal_at_the_target():
    q = torch.full((1, 1, 1), 0.5, dtype=torch.float64)
    p = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    widespread = 1 - 2 * p * 0.5 / (p + 0.5)
    assert widespread.argmin() == 18
    for form in FORMS:
        losses = [
            st.dice_loss(torch.logit(v)[None, None, None], q, form=form, activation="sigmoid")
            for v in p
        ]
        assert int(torch.stack(losses).argmin()) == 9


class TestReduction:
    def test_the_mean_is_over_images_with_a_counted_pixel(self):
        logits, labels = batch()
        labels[0] = -100
        each = st.dice_loss(logits, labels, reduction="none")
        assert each.shape == (N,)
        assert each[0] == 0
        torch.testing.assert_close(st.dice_loss(logits, labels), each[1])
        torch.testing.assert_close(st.dice_loss(logits, labels, reduction="sum"), each[1])

    @pytest.mark.parametrize("per", ["image", "batch"])
    def test_nothing_but_ignored_pixels_is_0(self, per):
        logits, labels = batch()
        leaf = logits.requires_grad_()
        loss = st.dice_loss(leaf, torch.full_like(labels, -100), per=per, smoothing=0.1)
        loss.backward()
        assert loss == 0
        assert bool((leaf.grad == 0).all())

    def test_half_precision_is_computed_in_float32(self):
        logits, labels = batch(torch.float32)
        for dtype in (torch.float16, torch.bfloat16):
            loss = st.dice_loss(logits.to(dtype), labels)
            assert loss.dtype == torch.float32
            assert torch.equal(loss, st.dice_loss(logits.to(dtype).float(), labels))


class TestSigmoid:
    def test_a_score_of_its_own_per_class(self):
        logits, _ = batch()
        rows = (torch.rand(N, K, H, W) > 0.6).double()
        rows[0, :, 0] = 0
        p = torch.sigmoid(logits)
        q = 0.8 * rows + 0.1
        pixels = (2, 3)
        coefficient = (2 * (p * q).sum(pixels) + 1e-5) / (
            p.square().sum(pixels) + q.square().sum(pixels) + 1e-5
        )
        loss = st.dice_loss(logits, rows, activation="sigmoid", smoothing=0.2)
        torch.testing.assert_close(loss, (1 - coefficient).mean(), rtol=1e-10, atol=1e-10)

    def test_single_entries_are_ignored(self):
        logits, _ = batch()
        rows = (torch.rand(N, K, H, W) > 0.6).double()
        rows[0, 2] = -100
        leaf = logits.clone().requires_grad_()
        st.dice_loss(leaf, rows, activation="sigmoid").backward()
        assert bool((leaf.grad[0, 2] == 0).all())
        assert bool((leaf.grad[0, 1] != 0).all())

    def test_a_policy_has_no_meaning_for_yes_or_no(self):
        logits, _ = batch()
        criterion = st.DiceLoss(st.LabelSmoothing(0.1), activation="sigmoid")
        with pytest.raises(TypeError, match=r"`smoothing` must be a rate .* LabelSmoothing"):
            criterion(logits, torch.rand_like(logits))


class TestModule:
    @pytest.mark.parametrize("smoothing", [None, 0.1, st.LabelSmoothing(0.2, convention="K-1")])
    def test_it_equals_the_function_and_eval_is_hard(self, smoothing):
        logits, labels = batch(torch.float32)
        keywords = {"form": "intersection", "per": "batch", "weight": torch.rand(K)}
        criterion = st.DiceLoss(smoothing, **keywords)
        expected = st.dice_loss(logits, labels, smoothing=smoothing, **keywords)
        assert torch.equal(criterion(logits, labels), expected)
        hard = st.dice_loss(logits, labels, **keywords)
        assert torch.equal(criterion.eval()(logits, labels), hard)
        smooth = st.Target.from_labels(labels, K).smooth(0.3)
        torch.testing.assert_close(criterion(logits, smooth), hard)
        assert "form='intersection'" in repr(criterion)

    def test_a_teacher_is_handed_to_the_policy(self):
        logits, labels = batch(torch.float32)
        teacher = torch.randn_like(logits)
        criterion = st.DiceLoss(st.InstanceLabelSmoothing(0.2, "teacher"))
        loss = criterion(logits, labels, teacher_logits=teacher)
        policy = st.InstanceLabelSmoothing(0.2, "teacher")
        target = policy(st.Target.from_labels(labels, K), teacher_logits=teacher.movedim(1, -1))
        torch.testing.assert_close(loss, st.dice_loss(logits, target))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"form": "plain"}, "`form` must be one of"),
        ({"activation": "none"}, "`activation` must be one of"),
        ({"per": "pixel"}, "`per` must be one of"),
        ({"epsilon": -1.0}, r"`epsilon` must be in \[0, inf\]"),
        ({"smoothing": 1.5}, r"`rate` must be in \[0, 1\], got 1\.5"),
        ({"weight": torch.zeros(K)}, "`weight` must have a sum > 0"),
        ({"weight": torch.ones(3)}, r"`weight` must have shape \(4,\)"),
        ({"per": "batch", "reduction": "none"}, "one value per image"),
        ({"reduction": "median"}, "`reduction` must be"),
    ],
    ids=str,
)
def test_errors(keywords, message):
    logits, labels = batch()
    with pytest.raises(ValueError, match=message):
        st.dice_loss(logits, labels, **keywords)
    if "sum" not in message and "shape" not in message:
        with pytest.raises(ValueError, match=message):
            st.DiceLoss(**keywords)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_steps_with_a_normalizer_add_up_to_one_batch_of_images(form, as_tensor):
    logits, labels = (torch.cat(pair) for pair in zip(batch(), batch(), strict=True))
    labels[1] = -100
    leaf = logits.requires_grad_()
    normalizer = torch.tensor(3.0) if as_tensor else 3
    criterion = st.DiceLoss(0.2, form=form)
    parts = [criterion(leaf[i : i + 2], labels[i : i + 2], normalizer=normalizer) for i in (0, 2)]
    pairs = [(leaf.detach().numpy()[i : i + 2], labels[i : i + 2]) for i in (0, 2)]
    # The first step has one image that counts, the second two.
    first, second = (reference(*pair, form, 0.2) for pair in pairs)
    assert parts[0].item() == pytest.approx(first / 3, abs=1e-10)
    assert sum(parts).item() == pytest.approx((first + 2 * second) / 3, abs=1e-10)
    whole = st.dice_loss(leaf, labels, form=form, smoothing=0.2)
    (ours,) = torch.autograd.grad(sum(parts), leaf)
    (theirs,) = torch.autograd.grad(whole, leaf)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("keywords", "normalizer", "message"),
    [
        ({}, 0, "`normalizer` must be finite and > 0, got 0"),
        ({"reduction": "sum"}, 2, "`normalizer` replaces the divisor"),
        ({"per": "batch"}, 2, "`normalizer` replaces the number of images"),
    ],
    ids=str,
)
def test_a_normalizer_without_a_meaning(keywords, normalizer, message):
    logits, labels = batch()
    with pytest.raises(ValueError, match=message):
        st.dice_loss(logits, labels, normalizer=normalizer, **keywords)
    with pytest.raises(ValueError, match=message):
        st.DiceLoss(**keywords)(logits, labels, normalizer=normalizer)


def test_more_errors():
    logits, labels = batch()
    smooth = st.Target.from_labels(labels, K).smooth(0.1)
    with pytest.raises(ValueError, match="smoothed already"):
        st.dice_loss(logits, smooth, smoothing=0.1)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(N, K, d1, \.\.\.\)"):
        st.dice_loss(torch.randn(3, K), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels of shape \(2, 3, 5\)"):
        st.dice_loss(logits, labels[:, :2])


def test_sigmoid_smoothing_is_the_same_in_every_notation():
    logits, labels = batch()
    rows = functional.one_hot(labels, K).movedim(-1, 1).double()
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    expected = st.dice_loss(logits, rows, activation="sigmoid", smoothing=0.2)
    criterion = st.DiceLoss(0.2, activation="sigmoid")
    for form in (rows, labels, target):
        loss = st.dice_loss(logits, form, activation="sigmoid", smoothing=0.2)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(criterion(logits, form), expected)
    hard = st.dice_loss(logits, rows, activation="sigmoid")
    criterion.eval()
    for form in (rows, labels, target, target.smooth(0.3)):
        torch.testing.assert_close(criterion(logits, form), hard)


def test_one_sample_without_a_batch_and_bad_weights():
    with pytest.raises(ValueError, match=r"got \(4,\); for samples without pixels give \(N, K\)"):
        st.dice_loss(torch.randn(K), torch.tensor(1), per="batch")
    logits, labels = batch()
    for bad in (-1.0, torch.nan, torch.inf):
        weight = torch.tensor([1.0, bad, 1.0, 1.0])
        with pytest.raises(ValueError, match=r"`weight` must be finite and >= 0, got .* class 1"):
            st.dice_loss(logits, labels, weight=weight)
        with pytest.raises(ValueError, match="`weight` must be finite and >= 0"):
            st.DiceLoss(weight=weight)


def test_a_schedule_of_yes_or_no():
    logits, labels = batch()
    rows = functional.one_hot(labels, K).movedim(-1, 1).double()
    criterion = st.DiceLoss(st.Schedule.linear(0.0, 0.4, 2), activation="sigmoid")
    for rate in (0.0, 0.2, 0.4):
        expected = st.dice_loss(logits, rows, activation="sigmoid", smoothing=rate)
        torch.testing.assert_close(criterion(logits, rows), expected)
        torch.testing.assert_close(criterion(logits, labels), expected)
        keywords = {"activation": "sigmoid", "smoothing": criterion.smoothing}
        torch.testing.assert_close(st.dice_loss(logits, rows, **keywords), expected)
        criterion.step()
    assert "smoothing.count" in criterion.state_dict()
    assert "smoothing=<linear schedule>" in repr(criterion)
    hard = st.dice_loss(logits, rows, activation="sigmoid")
    torch.testing.assert_close(criterion.eval()(logits, rows), hard)
    with pytest.raises(ValueError, match=r"`smoothing` must be in \[0, 1\], got 1\.5"):
        st.DiceLoss(st.Schedule.linear(0.0, 1.5, 2), activation="sigmoid")


@pytest.mark.parametrize("block", [2**22, H * W * K])
def test_a_policy_on_masked_entries_of_yes_or_no(block, monkeypatch):
    """A masked entry is answered as given, in the function as in the module."""
    monkeypatch.setattr(dice_sums, "BLOCK_ELEMENTS", block)
    logits, labels = batch()
    labels = labels.clamp(max=1)
    logits[:, 2] = -torch.inf
    q = torch.where(logits == -torch.inf, 0, 0.7 * functional.one_hot(labels, K).movedim(-1, 1))
    q = q + torch.where(logits == -torch.inf, 0, 0.3 / K)
    p = torch.sigmoid(logits)
    pixels = (2, 3)
    sizes = p.square().sum(pixels) + q.square().sum(pixels) + 1e-5
    expected = (1 - (2 * (p * q).sum(pixels) + 1e-5) / sizes).mean()
    policy = st.LabelSmoothing(0.3)
    loss = st.dice_loss(logits, labels, smoothing=policy, activation="sigmoid")
    torch.testing.assert_close(loss, expected)
    criterion = st.DiceLoss(policy, activation="sigmoid")
    torch.testing.assert_close(criterion(logits, labels), expected)
    with pytest.raises(ValueError, match=r"values in \[0, 1\], got .*MaxSup, a negative"):
        st.dice_loss(logits, labels, smoothing=st.MaxSup(0.5), activation="sigmoid")


def test_repr_says_what_is_left_out():
    assert "ignore_index=255, class_dim=1" in repr(st.DiceLoss(ignore_index=255))
