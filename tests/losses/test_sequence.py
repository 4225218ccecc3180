"""Sequences: the formulas of fairseq and Hugging Face, padding, what a mean is over."""

import numpy as np
import pytest
import torch

import softtargets as st
from tests.reference import log_softmax, smoothed

B, L, V = 3, 5, 7
LENGTHS = [5, 2, 3]
NORMALIZERS = ["token", "sequence", "sequence_mean"]


def batch(padding=-100, dtype=torch.float64):
    logits = 2 * torch.randn(B, L, V, dtype=dtype)
    labels = torch.randint(2, V, (B, L))
    for row, length in enumerate(LENGTHS):
        labels[row, length:] = padding
    return logits, labels


def reference(logits, labels, rate, convention="K", prior=None, padding=-100):
    """Losses (B, L) and gradients (B, L, V), token by token, 0 at padding."""
    losses, gradients = np.zeros((B, L)), np.zeros((B, L, V))
    for b, t in np.ndindex(B, L):
        y = int(labels[b, t])
        if y == padding:
            continue
        q = smoothed(y, V, rate, prior, convention)
        log_p = log_softmax(logits[b, t])
        losses[b, t] = -(q * log_p).sum()
        gradients[b, t] = np.exp(log_p) - q
    return losses, gradients


def shares(normalizer):
    """What each token of a sequence counts in the mean."""
    if normalizer == "token":
        return np.full(B, 1 / sum(LENGTHS))
    if normalizer == "sequence":
        return np.full(B, 1 / B)
    return np.array([1 / (B * length) for length in LENGTHS])


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("convention", ["K", "K-1"])
def test_the_formula(convention, normalizer):
    logits, labels = batch()
    leaf = logits.clone().requires_grad_()
    policy = st.LabelSmoothing(0.2, convention=convention)
    loss = st.sequence_cross_entropy(leaf, labels, smoothing=policy, normalizer=normalizer)
    loss.backward()
    losses, gradients = reference(logits.numpy(), labels, 0.2, convention)
    each = shares(normalizer)[:, None]
    assert loss.item() == pytest.approx((each * losses).sum(), abs=1e-10)
    expected = torch.as_tensor(each[..., None] * gradients)
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-10, atol=1e-10)
    assert bool((leaf.grad[1, 2:] == 0).all())


def test_fairseq():
    """Its sum: (1 - e - e/(V-1)) nll + e/(V-1) smooth, the pad token's number as padding."""
    pad, rate = 1, 0.1
    logits, labels = batch(padding=pad)
    each = rate / (V - 1)
    total = 0.0
    for b, t in np.ndindex(B, L):
        if labels[b, t] == pad:
            continue
        log_p = log_softmax(logits[b, t].numpy())
        total += (1 - rate - each) * -log_p[int(labels[b, t])] + each * -log_p.sum()
    policy = st.LabelSmoothing(rate, convention="K-1")
    keywords = {"smoothing": policy, "ignore_index": pad}
    by_sentence = st.sequence_cross_entropy(logits, labels, normalizer="sequence", **keywords)
    assert by_sentence.item() == pytest.approx(total / B, abs=1e-10)
    by_token = st.sequence_cross_entropy(logits, labels, **keywords)
    assert by_token.item() == pytest.approx(total / sum(LENGTHS), abs=1e-10)


def test_hugging_face():
    """Its mean: (1 - e) nll + e * mean over tokens and vocabulary of -log p."""
    rate = 0.1
    logits, labels = batch()
    nll, smooth, tokens = 0.0, 0.0, 0
    for b, t in np.ndindex(B, L):
        if labels[b, t] == -100:
            continue
        log_p = log_softmax(logits[b, t].numpy())
        nll, smooth, tokens = nll - log_p[int(labels[b, t])], smooth - log_p.sum(), tokens + 1
    expected = (1 - rate) * nll / tokens + rate * smooth / (tokens * V)
    loss = st.sequence_cross_entropy(logits, labels, smoothing=rate)
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    accumulated = st.sequence_cross_entropy(logits, labels, smoothing=rate, normalizer=40)
    assert accumulated.item() == pytest.approx(expected * tokens / 40, abs=1e-10)


def test_unigram_smoothing():
    logits, labels = batch()
    prior = st.unigram_prior(labels, V)
    policy = st.LabelSmoothing(0.3, prior)
    loss = st.sequence_cross_entropy(logits, labels, smoothing=policy)
    losses, _ = reference(logits.numpy(), labels, 0.3, prior=prior.double().numpy())
    assert loss.item() == pytest.approx(losses.sum() / sum(LENGTHS), abs=1e-6)


@pytest.mark.parametrize("normalizer", [*NORMALIZERS, 12.0])
class TestPadding:
    def test_a_mask_says_what_ignore_index_says(self, normalizer):
        logits, labels = batch()
        mask = labels == -100
        expected = st.sequence_cross_entropy(logits, labels, smoothing=0.1, normalizer=normalizer)
        filled = labels.masked_fill(mask, 3)
        target = st.Target.from_labels(filled, V, dtype=torch.float64)
        for form in (filled, target, target.dense()):
            loss = st.sequence_cross_entropy(
                logits, form, smoothing=0.1, padding_mask=mask, normalizer=normalizer
            )
            torch.testing.assert_close(loss, expected)

    def test_longer_padding_changes_nothing(self, normalizer):
        logits, labels = batch()
        garbage = torch.full((B, 4, V), torch.nan, dtype=torch.float64)
        more = torch.full((B, 4), -100)
        leaf = torch.cat([logits, garbage], 1).requires_grad_()
        loss = st.sequence_cross_entropy(
            leaf, torch.cat([labels, more], 1), smoothing=0.1, normalizer=normalizer
        )
        loss.backward()
        expected = st.sequence_cross_entropy(logits, labels, smoothing=0.1, normalizer=normalizer)
        torch.testing.assert_close(loss, expected)
        assert bool((leaf.grad[:, L:] == 0).all())

    def test_empty_sequences_do_not_count(self, normalizer):
        logits, labels = batch()
        expected = st.sequence_cross_entropy(logits, labels, normalizer=normalizer)
        more = torch.cat([labels, torch.full((1, L), -100)])
        loss = st.sequence_cross_entropy(
            torch.cat([logits, logits[:1]]), more, normalizer=normalizer
        )
        torch.testing.assert_close(loss, expected)
        nothing = torch.full_like(labels, -100)
        assert st.sequence_cross_entropy(logits, nothing, normalizer=normalizer) == 0


@pytest.mark.parametrize("normalizer", NORMALIZERS)
class TestNumerics:
    def test_gradcheck(self, normalizer):
        logits, labels = batch()

        def loss(z):
            return st.sequence_cross_entropy(z, labels, smoothing=0.1, normalizer=normalizer)

        assert torch.autograd.gradcheck(loss, logits.requires_grad_())

    def test_half_precision_and_compile(self, normalizer):
        logits, labels = batch(dtype=torch.float32)
        torch.compiler.reset()

        def loss(z):
            return st.sequence_cross_entropy(
                z, labels, smoothing=0.1, normalizer=normalizer, padding_mask=labels == 3
            )

        assert loss(logits.half()).dtype == torch.float32
        torch.testing.assert_close(loss(logits.half()), loss(logits.half().float()))
        run = torch.compile(loss, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(run(logits), loss(logits))

    def test_weights_take_the_place_of_counts(self, normalizer):
        logits, labels = batch()
        weight = torch.rand(V, dtype=torch.float64) + 0.5
        double = st.sequence_cross_entropy(
            logits, labels, weight=torch.full((V,), 2.0), normalizer=normalizer
        )
        plain = st.sequence_cross_entropy(logits, labels, normalizer=normalizer)
        torch.testing.assert_close(double, plain * (2 if normalizer == "sequence" else 1))
        weighted = st.sequence_cross_entropy(logits, labels, weight=weight, normalizer=normalizer)
        losses, _ = reference(logits.numpy(), labels, 0.0)
        w = np.where(labels == -100, 0, weight[labels.clamp(min=0)])
        expected = {
            "token": (w * losses).sum() / w.sum(),
            "sequence": (w * losses).sum() / B,
            "sequence_mean": ((w * losses).sum(1) / w.sum(1)).mean(),
        }[normalizer]
        assert weighted.item() == pytest.approx(expected, abs=1e-10)


class TestUnigramPrior:
    def test_counts_plus_one(self):
        labels = torch.tensor([[0, 0, 1], [4, -100, -100]])
        prior = st.unigram_prior(labels, 5)
        torch.testing.assert_close(prior, torch.tensor([3, 2, 1, 1, 2]) / 9)
        torch.testing.assert_close(
            st.unigram_prior(labels[0], 2, added=0), torch.tensor([2, 1]) / 3
        )
        masked = st.unigram_prior(labels.clamp(min=0), 5, ignore_index=0)
        torch.testing.assert_close(masked, torch.tensor([1, 2, 1, 1, 2]) / 7)

    def test_errors(self):
        with pytest.raises(ValueError, match=r"`labels` must be in 0 \.\. 2 \(3 classes\), got 3"):
            st.unigram_prior(torch.tensor([3]), 3)
        with pytest.raises(ValueError, match=r"give `added=1\.0`"):
            st.unigram_prior(torch.tensor([-100]), 3, added=0.0)
        with pytest.raises(TypeError, match="`labels` must hold integers"):
            st.unigram_prior(torch.rand(3), 3)


def test_errors():
    logits, labels = batch()
    with pytest.raises(ValueError, match='`normalizer` must be "token", "sequence"'):
        st.sequence_cross_entropy(logits, labels, normalizer="batch")
    with pytest.raises(TypeError, match=r"`normalizer` must be .* got list"):
        st.sequence_cross_entropy(logits, labels, normalizer=[1])
    with pytest.raises(ValueError, match="`normalizer` must be finite and > 0"):
        st.sequence_cross_entropy(logits, labels, normalizer=0)
    with pytest.raises(TypeError, match="`padding_mask` must be a bool tensor"):
        st.sequence_cross_entropy(logits, labels, padding_mask=labels)
    with pytest.raises(ValueError, match=r"`padding_mask` must have shape \(3, 5\), got \(3, 4\)"):
        st.sequence_cross_entropy(logits, labels, padding_mask=labels[:, :4] == 1)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(B, L, V\)"):
        st.sequence_cross_entropy(logits[0, 0], labels[0, 0])
    padded = labels == -100
    for short in (labels[:, :2], torch.ones(B, 2, V), st.Target.from_labels(labels[:, :2], V)):
        for mask in (None, padded):
            with pytest.raises(ValueError, match=r"labels of shape \(3, 5\)|got \(3, 2"):
                st.sequence_cross_entropy(logits, short, padding_mask=mask)


class TestModule:
    @pytest.mark.parametrize("normalizer", [*NORMALIZERS, 40])
    def test_it_equals_the_function_and_eval_is_the_nll(self, normalizer):
        logits, labels = batch()
        weight = torch.rand(V, dtype=torch.float64)
        keywords = {"normalizer": normalizer, "weight": weight}
        criterion = st.SequenceCrossEntropyLoss(0.1, **keywords)
        expected = st.sequence_cross_entropy(logits, labels, smoothing=0.1, **keywords)
        torch.testing.assert_close(criterion(logits, labels), expected)
        nll = st.sequence_cross_entropy(logits, labels, **keywords)
        smooth = st.Target.from_labels(labels, V, dtype=torch.float64).smooth(0.3)
        for target in (labels, smooth):
            torch.testing.assert_close(criterion.eval()(logits, target), nll)
        by_tokens = st.sequence_cross_entropy(logits, labels, weight=weight, normalizer=17)
        torch.testing.assert_close(criterion(logits, labels, normalizer=17), by_tokens)
        assert f"normalizer={normalizer!r}" in repr(criterion)

    def test_policies_keep_state_see_teachers_and_advance(self):
        logits, labels = batch(dtype=torch.float32)
        online = st.SequenceCrossEntropyLoss(st.OnlineLabelSmoothing(V))
        online(logits, labels)
        online.smoothing.end_epoch()
        assert any(key.startswith("smoothing.") for key in online.state_dict())
        teacher = torch.randn_like(logits)
        policy = st.InstanceLabelSmoothing(0.2, "teacher")
        target = policy(st.Target.from_labels(labels, V), teacher_logits=teacher)
        criterion = st.SequenceCrossEntropyLoss(st.InstanceLabelSmoothing(0.2, "teacher"))
        loss = criterion(logits, labels, teacher_logits=teacher)
        torch.testing.assert_close(loss, st.sequence_cross_entropy(logits, target))
        with pytest.raises(TypeError, match="class_mask"):
            criterion(logits, labels, class_mask=teacher)
        planned = st.SequenceCrossEntropyLoss(st.LabelSmoothing(st.Schedule.linear(0, 0.2, 2)))
        planned.step()
        expected = st.sequence_cross_entropy(logits, labels, smoothing=0.1)
        torch.testing.assert_close(planned(logits, labels), expected)

    def test_bad_arguments_are_named_at_once(self):
        with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\]"):
            st.SequenceCrossEntropyLoss(1.5)
        with pytest.raises(ValueError, match='`normalizer` must be "token"'):
            st.SequenceCrossEntropyLoss(normalizer="batch")
        with pytest.raises(ValueError, match="`weight` must have shape"):
            st.SequenceCrossEntropyLoss(weight=torch.ones(2, V))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_probabilities_at_padding_may_be_anything(normalizer):
    logits, labels = batch()
    padded = labels == -100
    rows = torch.nn.functional.one_hot(labels.clamp(min=0), V).double()
    rows[padded] = torch.nan
    expected = st.sequence_cross_entropy(logits, labels, smoothing=0.1, normalizer=normalizer)
    hard = st.sequence_cross_entropy(logits, labels, normalizer=normalizer)
    given = st.Target.from_probs(rows)
    logits[padded] = torch.nan
    leaf = logits.requires_grad_()
    for target in (rows, given):
        loss = st.sequence_cross_entropy(
            leaf, target, smoothing=0.1, padding_mask=padded, normalizer=normalizer
        )
        torch.testing.assert_close(loss, expected)
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert bool((gradient[padded] == 0).all())
        loss = st.sequence_cross_entropy(leaf, target, padding_mask=padded, normalizer=normalizer)
        torch.testing.assert_close(loss, hard)


@pytest.mark.parametrize("normalizer", [*NORMALIZERS, 12.0])
class TestWhatDoesNotCount:
    def test_a_position_without_a_living_class(self, normalizer):
        logits, labels = batch()
        logits[0, 1] = -torch.inf
        left = labels.clone()
        left[0, 1] = -100
        results = []
        for form in (labels, left):
            leaf = logits.clone().requires_grad_()
            loss = st.sequence_cross_entropy(leaf, form, smoothing=0.1, normalizer=normalizer)
            (gradient,) = torch.autograd.grad(loss, leaf)
            results.append((loss.detach(), gradient))
        torch.testing.assert_close(results[0], results[1])

    def test_labels_and_teachers_at_padding(self, normalizer):
        logits, labels = batch()
        padded = labels == -100
        expected = st.sequence_cross_entropy(logits, labels, normalizer=normalizer)
        for filling in (-1, V, 10**6):
            filled = labels.masked_fill(padded, filling)
            loss = st.sequence_cross_entropy(
                logits, filled, padding_mask=padded, normalizer=normalizer
            )
            torch.testing.assert_close(loss, expected)
        teacher = torch.softmax(torch.randn(B, L, V, dtype=torch.float64), -1)
        weights, classes = teacher.topk(2)
        clean = st.Target.from_top_k(classes, weights, V) * (~padded).double()
        weights[padded] = torch.nan
        dirty = st.Target.from_top_k(classes, weights, V)
        leaf = logits.requires_grad_()
        for more in ({}, {"validate": True}):
            loss = st.sequence_cross_entropy(
                leaf, dirty, padding_mask=padded, normalizer=normalizer, **more
            )
            want = st.sequence_cross_entropy(leaf, clean, normalizer=normalizer)
            torch.testing.assert_close(loss, want)
            (gradient,) = torch.autograd.grad(loss, leaf)
            assert bool((gradient[padded] == 0).all())
            assert bool(gradient.isfinite().all())


def test_mixed_rows_at_padding():
    logits, labels = batch()
    padded = labels == -100
    matrix = torch.softmax(torch.randn(V, V, dtype=torch.float64), -1)
    rows = torch.softmax(torch.randn(B, L, V, dtype=torch.float64), -1)
    clean = st.Target.from_probs(rows).map_classes(matrix) * (~padded).double()
    rows = rows.masked_fill(padded.unsqueeze(-1), torch.nan)
    dirty = st.Target.from_probs(rows).map_classes(matrix)
    expected = st.sequence_cross_entropy(logits, clean)
    for more in ({}, {"validate": True}):
        loss = st.sequence_cross_entropy(logits, dirty, padding_mask=padded, **more)
        torch.testing.assert_close(loss, expected)


def test_a_sequence_whose_labels_weigh_nothing():
    logits, labels = batch()
    labels[1, :2] = 3
    weight = torch.ones(V, dtype=torch.float64)
    weight[3] = 0
    with pytest.raises(ValueError, match=r"weighted mass .* > 0, got 0.0 at \(1,\); use"):
        st.sequence_cross_entropy(logits, labels, weight=weight, normalizer="sequence_mean")
    loss = st.sequence_cross_entropy(logits, labels, weight=weight, normalizer="sequence")
    assert bool(loss.isfinite())
