"""Numbers of any kind: Python's, NumPy's scalars and 0-d arrays; bools and tensors are none."""

from fractions import Fraction

import numpy as np
import pytest
import torch

import softtargets as st
from softtargets import checks

K = 4
FLOATS = [np.float64(0.5), np.float32(0.5), np.float16(0.5), np.array(0.5), Fraction(1, 2), 0.5]
INTEGERS = [np.int64(2), np.int32(2), np.uint8(2), np.array(2), 2]
NOT_NUMBERS = [True, np.True_, np.array(True), "0.5", None, np.array([0.5]), 0.5j, np.array("a")]


@pytest.mark.parametrize("value", [*FLOATS, *INTEGERS], ids=repr)
def test_numbers_become_pythons(value):
    assert checks.is_number(value)
    number = checks.check_number(value, "x")
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_integers_become_pythons(value):
    assert type(checks.check_integer(value, "x", 1)) is int
    with pytest.raises(ValueError, match="`x` must be at least 3, got 2"):
        checks.check_integer(value, "x", 3)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_what_is_no_number(value):
    assert not checks.is_number(value)
    for check in (checks.check_number, checks.check_integer):
        with pytest.raises(TypeError, match=r"`x` must be an? (number|integer), got "):
            check(value, "x")


def test_a_tensor_is_no_number_and_says_how_to_become_one():
    with pytest.raises(TypeError, match=r"`weight` must be a number, got Tensor; .*`\.item\(\)`"):
        st.MaxSup(torch.tensor(0.5))
    with pytest.raises(TypeError, match="`num_classes` must be an integer, got float"):
        st.Target.from_labels(torch.tensor([0]), 4.0)


def of_rate(value):
    """The arguments that take a rate, a weight or a share, by name."""
    eye, labels = torch.eye(K).roll(1, 1), torch.tensor([0, 3])
    target, logits = st.Target.from_labels(labels, K), torch.randn(2, K)
    ends = st.Schedule.linear(0, value, 1), st.Schedule.step((value, value), (1,))
    ends[0].step()
    other = st.Target.from_labels(labels.flip(0), K)
    policies = {
        "label smoothing": st.LabelSmoothing(value),
        "online": st.OnlineLabelSmoothing(K, value, soft_weight=value, momentum=value),
        "instance": st.InstanceLabelSmoothing(value, "teacher", value),
        "quadratic": st.InstanceLabelSmoothing(st.QuadraticRate(value, value, value)),
        "class matrix": st.ClassMatrixSmoothing(eye, value),
        "distances": st.ClassMatrixSmoothing.from_distances(1 - torch.eye(K), value),
        "label aware": st.LabelAwareSmoothing([1, 2, 3, 4], value, value),
        "max": st.MaxSup(value),
        "bootstrapping": st.Bootstrapping(value),
        "linear schedule": st.LabelSmoothing(ends[0]),
        "step schedule": st.LabelSmoothing(ends[1]),
    }
    made = {
        name: policy.eval()(target, logits.zero_(), teacher_logits=torch.eye(2, K)).dense()
        for name, policy in policies.items()
    }
    maps = st.Target.from_labels(torch.tensor([[[0, 1], [2, 3]]]), K)
    made["spatial"] = st.SpatialSmoothing(value)(maps).dense()
    made["temporal"] = st.TemporalSmoothing(value, (value, 1))(maps[0]).dense()
    made["target"] = target.smooth(value).mix(other.smooth(value), value).dense()
    made["factor"] = (value * target + target * value).dense()
    generator = torch.Generator().manual_seed(0)
    made["mixup"] = st.mixup(torch.eye(2), target, alpha=value, generator=generator).inputs
    spoilt = st.mollify(
        torch.eye(2), target, kinds=("noise",), beta=value, power=value, generator=generator
    )
    made["mollify"] = spoilt.target.dense()
    for name, loss in {
        "cross_entropy": st.cross_entropy(logits, labels, smoothing=value, normalizer=value),
        "CrossEntropyLoss": st.CrossEntropyLoss(value)(logits, labels),
        "FocalLoss": st.FocalLoss(value, smoothing=value)(logits, labels),
        "SequenceCrossEntropyLoss": st.SequenceCrossEntropyLoss(value)(logits, labels),
        "penalty": st.MarginPenalty(value, value)(logits, target),
    }.items():
        made[name] = loss
    return made


@pytest.mark.parametrize("value", FLOATS[:-1], ids=repr)
def test_every_argument_takes_them(value):
    torch.manual_seed(0)
    expected = of_rate(0.5)
    torch.manual_seed(0)
    for name, made in of_rate(value).items():
        assert torch.equal(made, expected[name]), name


@pytest.mark.parametrize("value", INTEGERS[:-1], ids=repr)
def test_counts_take_numpys_integers(value):
    assert st.Target.from_labels(torch.tensor([0, 1]), value).num_classes == 2
    policy = st.OnlineLabelSmoothing(value, min_count=value, storage="top_k", top_k=value)
    assert policy.get_extra_state()["top_k"] == 2
    assert repr(policy) == repr(st.OnlineLabelSmoothing(2, min_count=2, storage="top_k", top_k=2))
    schedule = st.Schedule.step((0.1, 0.0), (value,))
    assert schedule.milestones == (2,)
    assert st.Schedule.cosine(0, 1, value).milestones == (2,)
    labels = torch.tensor([0, 1])
    one = st.calibration.expected_calibration_error(torch.eye(2), labels, bins=value)
    assert float(one) == 0


@pytest.mark.parametrize("value", [True, np.True_], ids=repr)
def test_bools_stay_refused(value):
    target = st.Target.from_labels(torch.tensor([0]), K)
    for build in (
        lambda: st.LabelSmoothing(value),
        lambda: st.CrossEntropyLoss(value),
        lambda: st.cross_entropy(torch.zeros(1, K), torch.tensor([0]), smoothing=value),
        lambda: st.cross_entropy(torch.zeros(1, K), torch.tensor([0]), normalizer=value),
        lambda: st.Schedule.linear(0, value, 3),
        lambda: st.Schedule.linear(0, 1, value),
        lambda: st.Target.from_labels(torch.tensor([0]), value),
        lambda: st.OnlineLabelSmoothing(K, min_count=value),
        lambda: st.SpatialSmoothing(value),
        lambda: target.smooth(value),
        lambda: target.smooth(torch.tensor([True])),
        lambda: target * value,
    ):
        with pytest.raises(TypeError):
            build()


@pytest.mark.parametrize("value", [1, 0, None, "yes", 0.5])
def test_switches_are_bools(value):
    for build in (
        lambda: st.OnlineLabelSmoothing(K, correct_only=value),
        lambda: st.Bootstrapping(hard=value),
        lambda: st.Target.from_probs(torch.eye(K), value),
    ):
        with pytest.raises(TypeError, match="must be a bool, got"):
            build()


def test_numpys_numbers_compile():
    torch.compiler.reset()
    logits, labels = torch.randn(3, K), torch.tensor([0, 1, 2])
    criterion = st.CrossEntropyLoss(np.float32(0.25))
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, labels), criterion(logits, labels))


def test_a_rate_that_is_an_argument_compiles():
    torch.compiler.reset()
    logits, labels = torch.randn(3, K), torch.tensor([0, 1, 2])

    def loss(logits, rate):
        return st.cross_entropy(logits, labels, smoothing=rate)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for rate in (0.1, 0.2, 0.3):
        torch.testing.assert_close(compiled(logits, rate), loss(logits, rate))
