"""`validate`: one switch, of one meaning, in every head and its module.

What cannot be read without a wait is simulated: `checks.readable` says no, as it does of CUDA.
"""

import pytest
import torch
from torch.nn import functional

import softtargets as st
from softtargets import checks

N, K = 6, 4
NAN, INF = float("nan"), float("inf")
CHOICES = [None, True, False]


def options(validate):
    return st.LossOptions(validate=validate)


def by_function(name, logits, target, validate, **more):
    if name == "cross_entropy":
        return st.cross_entropy(logits, target, options=options(validate), **more)
    if name == "linear":
        bias, weight = torch.zeros(K), torch.eye(K)
        if bool((logits == -INF).any()):
            bias, logits = logits[0], torch.zeros_like(logits)
        return st.linear_cross_entropy(
            logits, weight, target, bias=bias, options=options(validate), **more
        )
    if name.startswith("dice"):
        return st.dice_loss(
            logits, target, activation=name[5:], per="batch", validate=validate, **more
        )
    if name == "distillation":
        return st.distillation_loss(logits, target, torch.zeros(N, K), validate=validate, **more)
    head = {
        "focal": st.focal_loss,
        "generalised": st.generalized_cross_entropy,
        "symmetric": st.symmetric_cross_entropy,
        "binary": st.binary_cross_entropy_with_logits,
        "sequence": st.sequence_cross_entropy,
    }[name]
    return head(logits, target, validate=validate, **more)


def by_module(name, logits, target, validate, **more):
    if name == "cross_entropy":
        return st.CrossEntropyLoss(options=options(validate), **more)(logits, target)
    if name == "linear":
        return by_function(name, logits, target, validate, **more)
    if name.startswith("dice"):
        criterion = st.DiceLoss(activation=name[5:], per="batch", validate=validate, **more)
        return criterion(logits, target)
    if name == "distillation":
        criterion = st.DistillationLoss(validate=validate, **more)
        return criterion(logits, target, teacher_logits=torch.zeros(N, K))
    head = {
        "focal": st.FocalLoss,
        "generalised": st.GeneralizedCrossEntropyLoss,
        "symmetric": st.SymmetricCrossEntropyLoss,
        "binary": st.BCEWithLogitsLoss,
        "sequence": st.SequenceCrossEntropyLoss,
    }[name]
    return head(validate=validate, **more)(logits, target)


HEADS = [
    "cross_entropy",
    "linear",
    "focal",
    "generalised",
    "symmetric",
    "dice softmax",
    "dice sigmoid",
    "distillation",
    "sequence",
    "binary",
]
WITH_POLICIES = [name for name in HEADS if name != "binary"]
OF_ROWS = [name for name in HEADS if name not in ("binary", "dice sigmoid")]


def batch():
    return torch.randn(N, K), torch.arange(N) % K


@pytest.fixture
def unreadable(monkeypatch):
    monkeypatch.setattr(checks, "readable", lambda tensor: False)


@pytest.fixture(params=[by_function, by_module], ids=["function", "module"])
def run(request):
    return request.param


class TestLabels:
    @pytest.mark.parametrize("name", HEADS)
    @pytest.mark.usefixtures("unreadable")
    def test_out_of_range(self, run, name):
        logits, labels = batch()
        labels[2] = K
        with pytest.raises(ValueError, match=r"must be in 0 \.\. 3 \(4 classes\), got 4 at \(2,\)"):
            run(name, logits, labels, True)
        labels[2] = -100
        for validate in CHOICES:
            assert bool(run(name, logits, labels, validate).isfinite())

    @pytest.mark.parametrize("name", HEADS)
    def test_masked(self, run, name):
        logits, labels = batch()
        logits[:, 1] = -INF
        with pytest.raises(ValueError, match=r"`target` must not .* masked .* at \(1,"):
            run(name, logits, labels, True)
        left = labels.masked_fill(labels == 1, -100)
        expected = run(name, logits, left, None)
        torch.testing.assert_close(run(name, logits, left, True), expected)
        assert bool(expected.isfinite())


class TestRows:
    @pytest.mark.parametrize("name", OF_ROWS)
    def test_no_distribution(self, run, name):
        logits, labels = batch()
        rows = functional.one_hot(labels, K).float()
        rows[3] *= 2
        for form in (rows, st.Target.from_probs(rows)):
            with pytest.raises(ValueError, match=r"must hold distributions .* got sum 2 at \(3,\)"):
                run(name, logits, form, True)
            assert bool(run(name, logits, form, None).isfinite())
        ignored = st.Target.from_probs(rows) * (torch.arange(N) != 3).float()
        expected = run(name, logits, ignored, None)
        torch.testing.assert_close(run(name, logits, ignored, True), expected)

    @pytest.mark.parametrize("name", ["binary", "dice sigmoid"])
    @pytest.mark.usefixtures("unreadable")
    def test_answers_are_none(self, run, name):
        logits, _ = batch()
        answers = (torch.rand(N, K) > 0.5).float()
        for form in (answers, st.Target.from_probs(answers)):
            expected = run(name, logits, form, None)
            torch.testing.assert_close(run(name, logits, form, True), expected)
        answers[3, 2] = NAN
        for form in (answers, st.Target.from_probs(answers)):
            with pytest.raises(ValueError, match=r"values in \[0, 1\], got nan at \(3, 2\)"):
                run(name, logits, form, True)
            for validate in (None, False):
                assert bool(run(name, logits, form, validate).isnan())
        left = st.Target.from_probs(answers) * (torch.arange(N) != 3).float()
        kept = torch.arange(N) != 3
        torch.testing.assert_close(
            run(name, logits, left, True), run(name, logits[kept], answers[kept], True)
        )


class Poisoned(st.AbstractSmoothing):
    """Smooths well but for one row."""

    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        rates = torch.full(target.batch_shape, 0.1)
        rates[3] = NAN
        return target.blend(rates)


class TestPolicies:
    @pytest.mark.parametrize("name", WITH_POLICIES)
    @pytest.mark.usefixtures("unreadable")
    def test_a_target_that_is_not_finite(self, run, name):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r"`target` must be finite .* is not at \(3,\)"):
            run(name, logits, labels, True, smoothing=Poisoned())
        for validate in (None, False):
            assert bool(run(name, logits, labels, validate, smoothing=Poisoned()).isnan())
        labels[3] = -100
        assert bool(run(name, logits, labels, None, smoothing=0.1).isfinite())

    def test_a_row_without_a_living_class_is_not_looked_at(self):
        logits, labels = batch()
        logits[3] = -INF
        loss = by_function("cross_entropy", logits, labels, True, smoothing=Poisoned())
        assert bool(loss.isfinite())


RATE = st.QuadraticRate(0.9, 1.5)
POLICIES = {
    "ILS1": lambda: st.InstanceLabelSmoothing(RATE, "uniform"),
    "ILS2": lambda: st.InstanceLabelSmoothing(0.1, "teacher"),
    "ILS": lambda: st.InstanceLabelSmoothing(RATE, "teacher"),
}
LEARNERS = {
    "cross_entropy": lambda policy, v: st.CrossEntropyLoss(policy, options=options(v)),
    "focal": lambda policy, v: st.FocalLoss(smoothing=policy, validate=v),
    "generalised": lambda p, v: st.GeneralizedCrossEntropyLoss(smoothing=p, validate=v),
    "symmetric": lambda p, v: st.SymmetricCrossEntropyLoss(smoothing=p, validate=v),
    "dice": lambda policy, v: st.DiceLoss(policy, per="batch", validate=v),
    "sequence": lambda policy, v: st.SequenceCrossEntropyLoss(policy, validate=v),
    "hard": lambda policy, v: st.DistillationLoss(hard_weight=1.0, smoothing=policy, validate=v),
    "soft": lambda policy, v: st.DistillationLoss(validate=v),
}


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", POLICIES)
class TestTeachers:
    def test_a_bad_one_is_never_learned_from(self, name, kind, monkeypatch):
        logits, labels = batch()
        at = int(labels[2])
        for bad in ({at: NAN}, {at: INF}, {(at + 1) % K: NAN}, dict.fromkeys(range(K), -INF)):
            teacher = torch.randn(N, K)
            for column, value in bad.items():
                teacher[2, column] = value
            with monkeypatch.context() as patch:
                for validate in (None, True):
                    with pytest.raises(ValueError, match=r"teacher.* no NaN or inf .* at \(2,\)"):
                        LEARNERS[name](POLICIES[kind](), validate)(
                            logits, labels, teacher_logits=teacher
                        )
                patch.setattr(checks, "readable", lambda tensor: False)
                with pytest.raises(ValueError, match=r"`target` must be finite|`teacher_logits`"):
                    LEARNERS[name](POLICIES[kind](), True)(logits, labels, teacher_logits=teacher)
                loss = LEARNERS[name](POLICIES[kind](), None)(
                    logits, labels, teacher_logits=teacher
                )
                assert bool(loss.isnan())

    def test_a_masked_one_is_allowed(self, name, kind, monkeypatch):
        logits, labels = batch()
        teacher = torch.randn(N, K)
        teacher[2, (labels[2] + 1) % K] = -INF
        teacher[4, labels[4]] = -INF
        expected = LEARNERS[name](POLICIES[kind](), None)(logits, labels, teacher_logits=teacher)
        assert bool(expected.isfinite())
        for readable in (True, False):
            monkeypatch.setattr(checks, "readable", lambda tensor, answer=readable: answer)
            for validate in CHOICES:
                criterion = LEARNERS[name](POLICIES[kind](), validate)
                loss = criterion(logits, labels, teacher_logits=teacher)
                torch.testing.assert_close(loss, expected)


class TestTargetsAsTeachers:
    @pytest.mark.parametrize("top_k", [False, True])
    @pytest.mark.usefixtures("unreadable")
    def test_a_bad_one(self, top_k):
        logits, labels = batch()
        probs = torch.softmax(torch.randn(N, K), -1)
        probs[2, 1] = NAN
        weights, indices = probs.topk(2)
        teacher = st.Target.from_probs(probs)
        if top_k:
            teacher = st.Target.from_top_k(indices, weights, K)
        with pytest.raises(ValueError, match=r"must be distributions .* at \(2,\)"):
            st.distillation_loss(logits, labels, teacher, validate=True)
        for validate in (None, False):
            assert bool(st.distillation_loss(logits, labels, teacher, validate=validate).isnan())
        labels[2] = -100
        for validate in CHOICES:
            loss = st.distillation_loss(logits, labels, teacher, validate=validate)
            assert bool(loss.isfinite())


class TestDivisors:
    @pytest.mark.parametrize("name", [n for n in HEADS if not n.startswith("dice")])
    @pytest.mark.usefixtures("unreadable")
    def test_a_normaliser_that_is_not_positive(self, name):
        logits, labels = batch()
        wrong = torch.tensor(0.0)
        with pytest.raises(ValueError, match="`normalizer` must be finite and > 0, got 0"):
            by_function(name, logits, labels, True, normalizer=wrong)
        by_function(name, logits, labels, None, normalizer=wrong)

    @pytest.mark.parametrize("name", ["cross_entropy", "focal", "sequence"])
    def test_a_mass_that_is_not(self, name, monkeypatch):
        logits, labels = batch()
        for validate in (None, True):
            with pytest.raises(ValueError, match="which must be > 0, got 0"):
                by_function(name, logits, labels, validate, weight=torch.zeros(K))
        by_function(name, logits, labels, False, weight=torch.zeros(K))
        monkeypatch.setattr(checks, "readable", lambda tensor: False)
        by_function(name, logits, labels, None, weight=torch.zeros(K))
        with pytest.raises(ValueError, match="which must be > 0, got 0"):
            by_function(name, logits, labels, True, weight=torch.zeros(K))

    @pytest.mark.usefixtures("unreadable")
    def test_a_sequence_without_mass(self):
        logits, labels = batch()
        keywords = {"weight": torch.zeros(K), "normalizer": "sequence_mean"}
        with pytest.raises(ValueError, match="which must be > 0, got 0"):
            by_function("sequence", logits, labels, True, **keywords)
        assert bool(by_function("sequence", logits, labels, None, **keywords).isnan())

    @pytest.mark.parametrize("weight", [torch.zeros(K), torch.tensor([1.0, -1.0, 1.0, 1.0])])
    @pytest.mark.usefixtures("unreadable")
    def test_class_weights_of_dice(self, weight):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r"`weight` must (be finite and >= 0|have a sum > 0)"):
            by_function("dice softmax", logits, labels, True, weight=weight)
        by_function("dice softmax", logits, labels, None, weight=weight)


def test_it_is_none_or_a_bool():
    logits, labels = batch()
    for name in HEADS:
        for run in (by_function, by_module):
            with pytest.raises(TypeError, match="`validate` must be None or a bool, got 'yes'"):
                run(name, logits, labels, "yes")
