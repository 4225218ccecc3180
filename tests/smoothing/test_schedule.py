"""Schedules: what they say, where their state is, and that nothing is compiled twice."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch._dynamo.testing import CompileCounterWithBackend

import softtargets as st
from softtargets.testing import check_policy

K = 4


def said(schedule, steps):
    values = []
    for _ in range(steps):
        values.append(schedule.value)
        schedule.step()
    return values


@given(some.floats(-2, 1), some.floats(-2, 1), some.integers(1, 20))
def test_linear_and_cosine_are_their_formulas(start, end, steps):
    linear, cosine = st.Schedule.linear(start, end, steps), st.Schedule.cosine(start, end, steps)
    for count in range(steps + 3):
        t = min(count / steps, 1)
        assert linear.value == pytest.approx(start + (end - start) * t, abs=1e-14)
        bent = end + (start - end) * (1 + math.cos(math.pi * t)) / 2
        assert cosine.value == pytest.approx(bent, abs=1e-14)
        linear.step()
        cosine.step()
    assert linear.value == cosine.value == end


def test_steps_are_exact():
    assert said(st.Schedule.step((0.1, 0.0), (3,)), 5) == [0.1, 0.1, 0.1, 0.0, 0.0]
    schedule = st.Schedule.step(values=(0.3, 0.1, -0.2), milestones=(1, 4))
    assert said(schedule, 6) == [0.3, 0.1, 0.1, 0.1, -0.2, -0.2]
    assert schedule.count.item() == 6


def test_the_value_is_no_less_exact_after_a_cast():
    policy = st.LabelSmoothing(st.Schedule.linear(0.0, 0.1, 3)).half()
    policy.step()
    assert policy.rate.value == pytest.approx(0.1 / 3, abs=1e-15)
    dense = policy(st.Target.from_labels(torch.tensor([0]), K, dtype=torch.float64)).dense()
    assert dense[0, 1].item() == pytest.approx(0.1 / 3 / K, abs=1e-15)


SCHEDULED = {
    "uniform": lambda rate: st.LabelSmoothing(rate),
    "K-1": lambda rate: st.LabelSmoothing(rate, convention="K-1"),
    "prior": lambda rate: st.LabelSmoothing(rate, torch.eye(K, dtype=torch.float64).roll(1, 1)),
    "instance": lambda rate: st.InstanceLabelSmoothing(rate),
    "instance, teacher": lambda rate: st.InstanceLabelSmoothing(rate, "teacher"),
    "class matrix": lambda rate: st.ClassMatrixSmoothing(torch.eye(K).double().roll(1, 1), rate),
    "label aware": lambda rate: st.LabelAwareSmoothing([9, 5, 1, 1], rate, 0.05),
    "label aware, tail": lambda rate: st.LabelAwareSmoothing([9, 5, 1, 1], 0.05, rate),
    "max": lambda rate: st.MaxSup(rate),
    "bootstrapping": lambda rate: st.Bootstrapping(rate),
    "hard bootstrapping": lambda rate: st.Bootstrapping(rate, hard=True),
}


def batch():
    torch.manual_seed(0)
    logits, teacher = torch.randn(2, 9, K, dtype=torch.float64).unbind()
    return logits, torch.arange(9) % K, teacher


@pytest.mark.parametrize("kind", SCHEDULED)
def test_every_policy_follows_its_schedule(kind):
    logits, labels, teacher = batch()
    policy = SCHEDULED[kind](st.Schedule.linear(0.1, 0.3, 2))
    criterion = st.CrossEntropyLoss(policy)
    for rate in (0.1, 0.2, 0.3, 0.3):
        fixed = st.CrossEntropyLoss(SCHEDULED[kind](rate))
        loss = criterion(logits, labels, teacher_logits=teacher)
        expected = fixed(logits, labels, teacher_logits=teacher)
        torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
        criterion.smoothing.step()
    assert "schedule" in repr(policy)


@pytest.mark.parametrize("kind", SCHEDULED)
def test_battery(kind):
    check_policy(
        lambda: SCHEDULED[kind](st.Schedule.cosine(0.1, 0.3, 4)),
        K,
        distribution=kind != "max",
        context=lambda logits: {"teacher_logits": logits.flip(0)},
    )


@pytest.mark.parametrize("kind", SCHEDULED)
def test_a_step_compiles_nothing_anew(kind):
    torch.compiler.reset()
    logits, labels, teacher = batch()
    policy = SCHEDULED[kind](st.Schedule.linear(0.1, 0.3, 4))
    eager = st.CrossEntropyLoss(policy)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(eager, fullgraph=True, backend=counter)
    for _ in range(6):
        loss = compiled(logits, labels, teacher_logits=teacher)
        expected = eager(logits, labels, teacher_logits=teacher)
        torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
        policy.step()
    assert counter.frame_count == 1


def test_the_counter_is_saved_with_the_criterion():
    def build():
        return st.CrossEntropyLoss(
            st.LabelAwareSmoothing(
                [9, 5, 1, 1], st.Schedule.linear(0, 0.4, 7), st.Schedule.cosine(0, 0.1, 5)
            )
        )

    whole = build()
    for _ in range(3):
        whole.smoothing.step()
    saved = whole.state_dict()
    assert {"smoothing.head.count", "smoothing.tail.count"} <= set(saved)
    restored = build()
    restored.load_state_dict(saved)
    others = [restored, copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))]
    logits, labels, _ = batch()
    for _ in range(3):
        for other in others:
            assert torch.equal(other(logits, labels), whole(logits, labels))
        for criterion in (whole, *others):
            criterion.smoothing.step()
    assert whole.smoothing.head.count == 6


def test_one_step_advances_each_schedule_once():
    shared = st.Schedule.linear(0, 1, 10)
    policy = st.LabelAwareSmoothing([2, 1], shared, shared)
    policy.step()
    assert shared.count == 1
    st.LabelSmoothing(0.1).step()


def test_a_step_between_forward_and_backward_changes_nothing():
    logits, labels, _ = batch()
    policy = st.LabelSmoothing(st.Schedule.linear(0.1, 0.9, 2))
    leaf = logits.requires_grad_()
    expected = torch.autograd.grad(st.cross_entropy(leaf, labels, smoothing=0.1), leaf)[0]
    loss = st.cross_entropy(leaf, labels, smoothing=policy)
    policy.step()
    torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected, rtol=0, atol=1e-15)


def test_5_9_a_negative_rate_needs_a_warm_up_or_permission():
    st.LabelSmoothing(st.Schedule.linear(0.0, -1.0, 10))
    st.LabelSmoothing(st.Schedule.step((0.1, -0.5), (5,)))
    st.LabelSmoothing(st.Schedule.linear(-0.5, -1.0, 10), allow_negative=True)
    with pytest.raises(ValueError, match=r"got -0\.5; .*allow_negative=True"):
        st.LabelSmoothing(st.Schedule.linear(-0.5, 0.1, 10))
    with pytest.raises(ValueError, match=r"got -0\.1"):
        st.InstanceLabelSmoothing(st.Schedule.linear(0.5, -0.1, 10))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: st.Schedule.step((1, 0), 30), TypeError, "`milestones` must be a sequence .* 30"),
        (lambda: st.Schedule.step(0.1, (30,)), TypeError, r"`values` must be a sequence .* 0\.1"),
        (
            lambda: st.CrossEntropyLoss(st.Schedule.linear(0, 1, 3)),
            TypeError,
            r"`LabelSmoothing\(schedule\)`",
        ),
        (lambda: st.Schedule.linear(0, 1, 0), ValueError, "`steps` must be at least 1, got 0"),
        (lambda: st.Schedule.linear(0, 1, 2.0), TypeError, "`steps` must be an integer"),
        (lambda: st.Schedule.cosine(0, 1, 0), ValueError, "`steps` must be at least 1, got 0"),
        (lambda: st.Schedule.linear(0, float("nan"), 2), ValueError, "`end` must be finite, got"),
        (lambda: st.Schedule.cosine("a", 1, 2), TypeError, "`start` must be a number, got str"),
        (lambda: st.Schedule("linear", (0, 1, 2), (3, 6)), ValueError, "must be start and end"),
        (lambda: st.Schedule.step((0.1,), (3,)), ValueError, "one more than `milestones`"),
        (lambda: st.Schedule.step((1, 0, 1), (3, 3)), ValueError, "must increase"),
        (lambda: st.Schedule("bent", (0, 1), (1,)), ValueError, "`curve` must be"),
        (lambda: st.LabelSmoothing(st.Schedule.linear(0, 2, 3)), ValueError, "got 2.0"),
        (lambda: st.MaxSup(st.Schedule.linear(-1, 2, 3)), ValueError, "`weight` must be"),
    ],
)
def test_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()
