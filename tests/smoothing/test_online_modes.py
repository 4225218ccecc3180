"""Online label smoothing where it is easily broken: modes, transforms, bad rows, other states."""

import copy

import pytest
import torch
from torch.nn import functional

import softtargets as st
from tests.smoothing.online_cases import K, batch, learn, targets_of

STORAGES = ["dense", "bfloat16", "top_k"]


def trained(storage, **arguments):
    policy = st.OnlineLabelSmoothing(K, storage=storage, **arguments)
    learn(policy, *batch())
    policy.end_epoch()
    return policy


def plain_loss(policy, logits, labels):
    """The gradient by the plain formula, which saves the table for the backward pass."""
    leaf, weight = logits.clone().requires_grad_(), torch.ones(K, requires_grad=True)
    rows = functional.one_hot(labels, K).float().requires_grad_()
    target = labels if policy.storage == "top_k" else rows
    st.cross_entropy(leaf, target, smoothing=policy, weight=weight).backward()
    return leaf.grad


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode"])
def test_an_epoch_may_end_in_any_mode(storage, mode):
    policy, other = (st.OnlineLabelSmoothing(K, storage=storage) for _ in range(2))
    logits, labels = batch()
    for each in (policy, other):
        learn(each, logits, labels)
    other.end_epoch()
    if mode == "eval":
        policy.eval().end_epoch()
        policy.train()
    else:
        with getattr(torch, mode)():
            policy.end_epoch()
    assert torch.equal(policy.matrix, other.matrix)
    gradients = [plain_loss(each, *batch(seed=1)) for each in (policy, other)]
    assert torch.equal(*gradients)
    for each in (policy, other):
        each.end_epoch()
    assert torch.equal(policy.matrix, other.matrix)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_epoch_that_ends_twice_changes_nothing_but_warns(storage):
    policy = trained(storage, momentum=0.3)
    before = policy.matrix
    with pytest.warns(UserWarning, match="found nothing learned since the last one"):
        policy.end_epoch()
    assert torch.equal(policy.matrix, before)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("how", ["inference_mode", "grad", "vmap"])
def test_reading_in_float64_leaves_a_table_that_can_be_trained(storage, how):
    policy = trained(storage)
    expected = targets_of(copy.deepcopy(policy)).dense()
    policy.eval()
    logits, labels = batch(dtype=torch.float64)
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    if how == "inference_mode":
        with torch.inference_mode():
            policy(target, logits)
    elif how == "grad":
        torch.func.grad(lambda z: st.cross_entropy(z, target, smoothing=policy))(logits)
    else:
        torch.func.vmap(lambda z: policy(target, z).dense())(logits[None])
    policy.train()
    plain_loss(policy, *batch())
    copied = copy.deepcopy(policy)
    assert torch.equal(targets_of(copied).dense(), expected)
    policy.train().end_epoch()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("rules", [{"momentum": 0.4}, {"max_confidence": 0.9}], ids=str)
def test_a_row_of_nan_is_learned_anew(storage, rules):
    policy = st.OnlineLabelSmoothing(K, storage=storage, **rules)
    clean = st.OnlineLabelSmoothing(K, storage=storage)
    for name, buffer in policy.named_buffers():
        if buffer.is_floating_point():
            buffer[2] = torch.nan
        elif name == "classes":
            buffer[2] = torch.arange(buffer.shape[-1])
    for each in (policy, clean):
        learn(each, *batch())
        each.end_epoch()
    torch.testing.assert_close(policy.matrix[2], clean.matrix[2])


@pytest.mark.parametrize("storage", STORAGES)
def test_logits_of_nan_leave_the_table_alone(storage):
    logits, labels = batch()
    clean = st.OnlineLabelSmoothing(K, storage=storage)
    learn(clean, logits[labels != 2], labels[labels != 2])
    poisoned = logits.clone()
    poisoned[labels == 2] = torch.nan
    policy = st.OnlineLabelSmoothing(K, storage=storage)
    learn(policy, poisoned, labels)
    for each in (policy, clean):
        each.end_epoch()
    assert torch.equal(policy.matrix, clean.matrix)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_state_of_other_classes_is_refused_and_changes_nothing(storage):
    policy = trained(storage)
    learn(policy, *batch(seed=1))
    before = copy.deepcopy(policy)
    other = st.OnlineLabelSmoothing(K + 1, storage=storage)
    with pytest.raises(ValueError, match=f"must be of {K} classes, got {K + 1}; build the policy"):
        policy.load_state_dict(other.state_dict())
    for each in (policy, before):
        each.end_epoch()
    assert torch.equal(policy.matrix, before.matrix)


@pytest.mark.parametrize("storage", STORAGES)
def test_resumed_in_mid_epoch_it_goes_on_to_the_last_bit(storage):
    whole = trained(storage, momentum=0.3, min_count=3)
    learn(whole, *batch(seed=1))
    resumed = st.OnlineLabelSmoothing(K, storage=storage, momentum=0.3, min_count=3)
    state = whole.state_dict()
    # A state that is loaded twice, or over other sums, counts once.
    learn(resumed, *batch(seed=9))
    resumed.load_state_dict(state)
    resumed.load_state_dict(state)
    for each in (whole, resumed):
        learn(each, *batch(seed=2))
        each.end_epoch()
        assert each.epochs == 2
    assert torch.equal(whole.matrix, resumed.matrix)
