"""Online label smoothing whose hard weight follows a schedule."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import softtargets as st
from softtargets.testing import check_policy
from tests import reference
from tests.smoothing.cases import assert_loss, batch, one_hot

K = 5
STORAGES = ["dense", "bfloat16", "top_k"]


def build(soft_weight=None, storage="dense"):
    return st.OnlineLabelSmoothing(
        K, st.Schedule.linear(1.0, 0.4, 3), soft_weight=soft_weight, storage=storage
    )


def values():
    return [1.0, 0.8, 0.6, 0.4, 0.4]


@pytest.mark.parametrize("soft_weight", [None, 0.3, 1.5])
def test_value_and_gradient_are_the_papers_at_each_weight(soft_weight):
    policy = build(soft_weight)
    epochs = reference.OnlineSmoothing(K)
    for epoch, hard in enumerate(values()):
        logits, labels = batch(K, (40,), seed=epoch)
        epochs.hard_weight = hard
        epochs.soft_weight = 1 - hard if soft_weight is None else soft_weight
        expected = epochs.targets(logits.numpy(), labels.numpy())
        assert_loss(policy, logits, labels, expected, one_hot(labels, K))
        policy.end_epoch()
        epochs.end_epoch()
        np.testing.assert_allclose(policy.matrix.numpy(), epochs.matrix, atol=1e-10)
        policy.step()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("soft_weight", [None, 0.7])
def test_every_storage_equals_the_fixed_weight(storage, soft_weight):
    logits, labels = batch(K)
    target = st.Target.from_labels(labels, K)
    policy = build(soft_weight, storage)
    for hard in values():
        fixed = st.OnlineLabelSmoothing(
            K, 0.9 if soft_weight is None else hard, soft_weight=soft_weight, storage=storage
        )
        if soft_weight is None:
            fixed.hard_weight, fixed.soft_weight = hard, 1 - hard
        torch.testing.assert_close(
            policy(target, logits.float()).dense(),
            fixed(target, logits.float()).dense(),
            rtol=0,
            atol=1e-6,
        )
        policy.step()


def test_mass_stays_1_where_the_soft_weight_is_what_is_left():
    logits, labels = batch(K, ignored=False)
    policy = build()
    for _ in range(4):
        mass = policy(st.Target.from_labels(labels, K), logits).mass()
        torch.testing.assert_close(mass, torch.ones_like(mass))
        policy.step()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_restored_run_goes_on_exactly(storage):
    def train(criterion, epochs):
        losses = []
        for epoch in epochs:
            logits, labels = batch(K, (40,), seed=epoch)
            losses.append(criterion(logits, labels).item())
            criterion.smoothing.end_epoch()
            criterion.step()
        return losses

    whole = st.CrossEntropyLoss(build(storage=storage))
    expected = train(whole, range(5))
    part = st.CrossEntropyLoss(build(storage=storage))
    assert train(part, range(2)) == expected[:2]
    saved = pickle.loads(pickle.dumps(part.state_dict()))
    assert saved["smoothing.hard_weight.count"] == 2
    restored = st.CrossEntropyLoss(build(storage=storage))
    restored.load_state_dict(saved)
    copied = copy.deepcopy(part)
    for criterion in (restored, copied, pickle.loads(pickle.dumps(part))):
        assert train(criterion, range(2, 5)) == expected[2:]


@pytest.mark.parametrize("soft_weight", [None, 0.7])
def test_battery(soft_weight):
    check_policy(
        lambda: st.OnlineLabelSmoothing(
            K, st.Schedule.cosine(0.9, 0.3, 4), soft_weight=soft_weight
        ),
        K,
        distribution=soft_weight is None,
        compiles=True,
    )


@pytest.mark.parametrize("soft_weight", [None, 0.7])
def test_a_step_compiles_nothing_anew(soft_weight):
    torch.compiler.reset()
    logits, labels = batch(K)
    # In float64 the first call would give the table that dtype, and the second compile anew.
    logits = logits.float()
    eager = st.CrossEntropyLoss(build(soft_weight))
    eager.smoothing.eval()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(eager, fullgraph=True, backend=counter)
    losses = set()
    for _ in values():
        loss = compiled(logits, labels)
        torch.testing.assert_close(loss, eager(logits, labels), rtol=0, atol=1e-6)
        losses.add(loss.item())
        eager.step()
    assert counter.frame_count == 1
    assert len(losses) == 4


def test_the_weight_is_shown_as_a_schedule():
    assert "hard_weight=<linear schedule>" in repr(build())
    assert "soft_weight" not in repr(build())
    assert "soft_weight=0.3" in repr(build(0.3))


@pytest.mark.parametrize(("start", "end"), [(1.2, 0.5), (0.5, 1.2), (0.5, -0.1), (-0.1, 0.5)])
def test_every_value_of_the_schedule_must_be_a_share(start, end):
    with pytest.raises(ValueError, match=r"`hard_weight` must be in \[0, 1"):
        st.OnlineLabelSmoothing(K, st.Schedule.linear(start, end, 3))
    with pytest.raises(ValueError, match=r"`hard_weight` must be in \[0, 1"):
        st.OnlineLabelSmoothing(K, st.Schedule.step((0.5, start, end), (3, 5)))


def test_with_a_soft_weight_of_its_own_it_may_pass_1():
    schedule = st.Schedule.linear(1.0, 2.0, 1)
    policy = st.OnlineLabelSmoothing(K, schedule, soft_weight=1.0)
    policy.step()
    logits, labels = batch(K, ignored=False)
    mass = policy(st.Target.from_labels(labels, K), logits).mass()
    torch.testing.assert_close(mass, torch.full_like(mass, 3))
    with pytest.raises(ValueError, match=r"`hard_weight` must be in \[0, inf"):
        st.OnlineLabelSmoothing(K, st.Schedule.linear(1.0, -1.0, 1), soft_weight=1.0)
