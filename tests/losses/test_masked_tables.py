"""Tables meet masked classes: labels, one-hot rows and mixes mean the same (promises 5.1, 5.2)."""

import pytest
import torch
from torch.nn import functional

import softtargets as st
from softtargets.testing import check_target, dense_cross_entropy

N, K = 6, 4


def batch():
    logits = torch.randn(N, K, dtype=torch.float64)
    logits[:4, 3] = -torch.inf
    logits[0, 1] = -torch.inf
    labels = torch.tensor([0, 1, 2, 2, 3, 0])
    return logits, labels, functional.one_hot(labels, K).double()


def learned(logits, labels):
    policy = st.OnlineLabelSmoothing(K)
    with torch.enable_grad():
        policy(
            st.Target.from_labels(labels, K, dtype=torch.float64),
            functional.one_hot(labels, K).double() + 0.3 * torch.randn(N, K).double(),
        )
    policy.end_epoch()
    return policy


@pytest.mark.parametrize("by_mask", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["rows", "online"])
def test_one_hot_rows_equal_their_labels(kind, reduction, by_mask):
    logits, labels, one_hot = batch()
    mask = None
    if by_mask:
        mask = logits != -torch.inf
        logits = logits.nan_to_num(neginf=-1e9)
    rows = torch.softmax(torch.randn(K, K, dtype=torch.float64), -1)
    policy = st.LabelSmoothing(0.3, prior=rows) if kind == "rows" else learned(logits, labels)
    results = []
    for target in (labels, one_hot):
        criterion = st.CrossEntropyLoss(policy, reduction=reduction)
        policy.train(False)
        leaf = logits.clone().requires_grad_()
        loss = criterion.train()(leaf, target, class_mask=mask)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        assert bool(torch.isfinite(loss).all())
        results.append((loss.detach(), gradient))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


def test_soft_rows_through_a_table_are_the_mixture_of_their_labels():
    logits, labels, one_hot = batch()
    table = torch.softmax(torch.randn(K, K, dtype=torch.float64), -1)
    table[0] = torch.tensor([0.0, 0.0, 0.0, 1.0])  # all of it on a class that is often dead
    other = labels.roll(1)
    mixed = st.Target.from_labels(labels, K, dtype=torch.float64).mix(
        st.Target.from_labels(other, K, dtype=torch.float64), 0.3
    )
    rows = st.Target.from_probs(0.3 * one_hot + 0.7 * functional.one_hot(other, K))
    losses = []
    for target in (mixed, rows):
        mapped = target.map_classes(table)
        check_target(mapped)
        losses.append(st.cross_entropy(logits, mapped, reduction="none"))
        expected = dense_cross_entropy(logits, mapped, reduction="none")
        torch.testing.assert_close(losses[-1], expected)
    torch.testing.assert_close(losses[0], losses[1])
    twice = rows.map_classes(table).map_classes(table)
    check_target(twice)
    at_once = rows.map_classes(table @ table)
    torch.testing.assert_close(
        twice.dense(logits != -torch.inf), at_once.dense(logits != -torch.inf)
    )


def test_a_float32_target_is_widened_before_it_is_smoothed():
    logits, labels, _ = batch()
    logits = logits.nan_to_num(neginf=-3.0)
    exact = st.cross_entropy(logits, labels, smoothing=0.1)
    given = st.cross_entropy(logits, st.Target.from_labels(labels, K), smoothing=0.1)
    torch.testing.assert_close(given, exact, rtol=0, atol=1e-14)


def test_values_that_break_a_rule_are_refused():
    labels = torch.tensor([0, 1])
    one, other = st.Target.from_labels(labels, K), st.Target.from_labels(labels.flip(0), K)
    for lam in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"`lam` must be in \[0, 1\]"):
            one.mix(other, torch.tensor([0.5, lam]))
    with pytest.raises(TypeError, match="`other` must be a `Target`"):
        one.mix(labels, 0.5)
    pair = torch.tensor([[1, 1]])
    with pytest.raises(ValueError, match="`indices` must be distinct within a row, got 1 more"):
        st.Target.from_top_k(pair, torch.tensor([[0.5, 0.3]]), K)
    over = torch.tensor([[0.9, 0.8]])
    with pytest.raises(ValueError, match=r"`weights` must sum to at most 1 in a row, got 1\.7"):
        st.Target.from_top_k(torch.tensor([[0, 1]]), over, K)
    st.Target.from_top_k(torch.tensor([[0, 1]]), over, K, rest="none")
    validated = st.LossOptions(validate=True)
    with pytest.raises(ValueError, match="`target` must hold distributions"):
        st.cross_entropy(
            torch.zeros(1, K), st.Target.from_probs(over.repeat(1, 2)), options=validated
        )


def test_online_smoothing_refuses_what_it_cannot_learn_from():
    policy = st.OnlineLabelSmoothing(K)
    target = st.Target.from_labels(torch.tensor([0, 1]), K)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(2, 4\)"):
        policy(target, torch.zeros(K, 2))
    with pytest.raises(RuntimeError, match=r"cannot learn inside a torch.func transform"):
        torch.func.grad(lambda z: st.cross_entropy(z, target, smoothing=policy))(torch.zeros(2, K))
    policy(target, torch.eye(2, K))
    policy.end_epoch()
    assert type(policy.matrix) is torch.Tensor
    with pytest.raises(ValueError, match='`storage` must be "dense"'):
        st.OnlineLabelSmoothing(K, storage="sparse")


def test_a_class_weight_of_exactly_0_has_a_gradient():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    options = st.LossOptions(weight_mode="per_sample")
    losses = st.cross_entropy(logits, torch.tensor([0, 1]), smoothing=0.1, weight=weight,
                              reduction="none", options=options)  # fmt: skip
    (gradient,) = torch.autograd.grad(losses.sum(), weight)
    plain = st.cross_entropy(logits, torch.tensor([0, 1]), smoothing=0.1, reduction="none")
    torch.testing.assert_close(gradient, torch.stack([plain[0], plain[1], plain[0] * 0]))


def test_eval_takes_a_smoothed_target_as_it_was_given():
    smoothed = st.Target.from_labels(torch.tensor([0, 1]), 5, ignore_index=0).smooth(0.1)
    logits = torch.randn(2, 5)
    criterion = st.CrossEntropyLoss(ignore_index=0).eval()
    expected = functional.cross_entropy(logits, torch.tensor([0, 1]), ignore_index=0)
    torch.testing.assert_close(criterion(logits, smoothed), expected)


def test_a_policy_keeps_a_prior_of_its_own():
    prior = torch.tensor([0.5, 0.5])
    st.LabelSmoothing(prior=prior).load_state_dict({"prior": torch.tensor([0.9, 0.1])})
    assert prior.tolist() == [0.5, 0.5]
