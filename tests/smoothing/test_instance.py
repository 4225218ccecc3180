import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

import softtargets as st
from softtargets.testing import check_policy

K = 5
RATE = st.QuadraticRate(0.9, 1.5)


def batch(n=12):
    return torch.randn(n, K), torch.randint(K, (n,)), torch.randn(n, K)


def target_of(labels, dtype=torch.float32):
    return st.Target.from_labels(labels, K, dtype=dtype)


POLICIES = {
    "ILS1": lambda **more: st.InstanceLabelSmoothing(RATE, "uniform", 2.0, **more),
    "ILS2": lambda **more: st.InstanceLabelSmoothing(0.1, "teacher", 2.0, **more),
    "ILS": lambda **more: st.InstanceLabelSmoothing(RATE, "teacher", 2.0, **more),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_battery(kind):
    check_policy(
        POLICIES[kind], K, context=lambda logits: {"teacher_logits": logits.flip(0)}, compiles=True
    )


class Teacher(nn.Module):
    """A linear map with dropout that records how it was called."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, K)
        self.dropout = nn.Dropout(0.5)
        self.calls = []

    def forward(self, x):
        self.calls.append((self.training, self.dropout.training, torch.is_grad_enabled()))
        return self.dropout(self.linear(x))


class TestTeacher:
    def test_it_is_not_registered(self):
        teacher = Teacher()
        criterion = st.CrossEntropyLoss(st.InstanceLabelSmoothing(0.1, "teacher", teacher=teacher))
        assert list(criterion.parameters()) == []
        assert criterion.state_dict() == {}
        assert teacher not in list(criterion.modules())
        assert criterion.smoothing.teacher is teacher
        teacher.eval()
        criterion.train()
        assert not teacher.training
        criterion.double()
        assert teacher.linear.weight.dtype == torch.float32

    def test_it_runs_in_eval_mode_without_gradients_and_is_left_as_it_was(self):
        teacher = Teacher()
        teacher.linear.eval()
        policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=teacher)
        logits, labels, _ = batch()
        inputs = torch.randn(12, 3, requires_grad=True)
        loss = st.CrossEntropyLoss(policy)(logits.requires_grad_(), labels, inputs=inputs)
        loss.backward()
        assert teacher.calls == [(False, False, False)]
        assert teacher.training
        assert teacher.dropout.training
        assert not teacher.linear.training
        assert teacher.linear.weight.grad is None
        assert inputs.grad is None

    def test_its_flags_are_restored_after_an_error(self):
        teacher = Teacher()
        policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=teacher)
        with pytest.raises(RuntimeError):
            policy(target_of(torch.tensor([0])), inputs=torch.randn(1, 7))
        assert teacher.training
        assert teacher.dropout.training

    @pytest.mark.parametrize("kind", POLICIES)
    def test_inputs_and_teacher_logits_give_the_same(self, kind):
        logits, labels, _ = batch()
        teacher, inputs = Teacher(), torch.randn(12, 3)
        by_inputs = st.CrossEntropyLoss(POLICIES[kind](teacher=teacher))
        by_logits = st.CrossEntropyLoss(POLICIES[kind]())
        said = teacher.eval()(inputs)
        assert torch.equal(
            by_inputs(logits, labels, inputs=inputs),
            by_logits(logits, labels, teacher_logits=said),
        )

    def test_images_and_plain_functions(self):
        images = torch.randn(2, K, 3, 4)
        labels = torch.randint(K, (2, 3, 4))
        policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=lambda x: x.flip(0))
        by_inputs = st.CrossEntropyLoss(policy)(images, labels, inputs=images)
        by_logits = st.CrossEntropyLoss(policy)(images, labels, teacher_logits=images.flip(0))
        assert torch.equal(by_inputs, by_logits)
        last = st.InstanceLabelSmoothing(
            0.1, "teacher", teacher=lambda x: x.flip(0).movedim(1, -1), class_dim=-1
        )
        assert torch.equal(st.CrossEntropyLoss(last)(images, labels, inputs=images), by_logits)

    def test_it_is_needed(self):
        policy = st.InstanceLabelSmoothing(0.1, "teacher")
        target = target_of(torch.tensor([0]))
        with pytest.raises(TypeError, match="give the criterion `teacher_logits=`, or `inputs=`"):
            policy(target)
        with pytest.raises(TypeError, match="`teacher=` at construction"):
            policy(target, inputs=torch.randn(1, 3))
        with pytest.raises(ValueError, match="both given; pass one"):
            policy(target, inputs=torch.randn(1, 3), teacher_logits=torch.randn(1, K))
        st.InstanceLabelSmoothing(0.1)(target)

    def test_its_shape_and_values_are_checked(self):
        policy = st.InstanceLabelSmoothing(0.1, "teacher")
        target = target_of(torch.tensor([0, -100]))
        with pytest.raises(ValueError, match=r"shape \(2, 5\) \(classes last\), got \(2, 4\)"):
            policy(target, teacher_logits=torch.randn(2, K - 1))
        for wrong in (float("nan"), float("inf")):
            bad = torch.randn(2, K)
            bad[0, 3] = wrong
            with pytest.raises(ValueError, match="must hold no NaN or inf"):
                policy(target, teacher_logits=bad)
        probs = torch.softmax(torch.randn(2, K), -1)
        with pytest.raises(ValueError, match=r"every row is a distribution .*`probs\.log\(\)`"):
            policy(target_of(torch.tensor([0, 1])), teacher_logits=probs)
        policy(target, teacher_logits=probs)  # one row may be so by chance
        with pytest.raises(ValueError, match=r"`teacher_logits` must be logits, but every row is"):
            st.distillation_loss(torch.randn(2, K), torch.tensor([0, 1]), probs)
        policy(target, teacher_logits=probs.log())
        with pytest.raises(ValueError, match=r"no row of -inf alone"):
            policy(target, teacher_logits=torch.full((2, K), -torch.inf))
        ignored = torch.randn(2, K)
        ignored[1] = float("nan")
        assert policy(target, teacher_logits=ignored).dense().isfinite().all()

    def test_a_copied_policy_keeps_its_teacher(self):
        policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=Teacher().eval())
        inputs, target = torch.randn(2, 3), target_of(torch.tensor([0, 1]))
        expected = policy(target, inputs=inputs).dense()
        assert torch.equal(copy.deepcopy(policy)(target, inputs=inputs).dense(), expected)


class TestFormulas:
    @pytest.mark.parametrize("kind", POLICIES)
    def test_a_certain_teacher_is_finite(self, kind):
        certain = torch.tensor([[1000.0, 0, 0, 0, 0], [0.0, -torch.inf, 0, -torch.inf, 1.0]])
        only = torch.full((1, K), -torch.inf)
        only[0, 0] = 0.0
        teacher = torch.cat([certain, only])
        dense = POLICIES[kind]()(target_of(torch.tensor([0, 4, 0])), teacher_logits=teacher).dense()
        assert dense.isfinite().all()
        torch.testing.assert_close(dense.sum(-1), torch.ones(3))
        torch.testing.assert_close(dense[2, 1:], dense[2, 1:].mean().expand(K - 1))

    @given(some.floats(0.0, 1.0), some.floats(0.1, 50.0))
    def test_two_classes_are_plain_smoothing(self, rate, temperature):
        target = st.Target.from_labels(torch.tensor([0, 1]), 2, dtype=torch.float64)
        teacher = torch.tensor([[3.0, -1.0], [50.0, -9.0]], dtype=torch.float64)
        ils2 = st.InstanceLabelSmoothing(rate, "teacher", temperature)
        plain = st.LabelSmoothing(rate, convention="K-1")(target).dense()
        torch.testing.assert_close(ils2(target, teacher_logits=teacher).dense(), plain)

    def test_an_infinite_temperature_spreads_evenly(self):
        _, labels, teacher = batch()
        ils2 = st.InstanceLabelSmoothing(0.2, "teacher", 1e12)
        plain = st.LabelSmoothing(0.2, convention="K-1")(target_of(labels)).dense()
        dense = ils2(target_of(labels), teacher_logits=teacher).dense()
        torch.testing.assert_close(dense, plain)
        even = st.InstanceLabelSmoothing(0.2)(target_of(labels)).dense()
        torch.testing.assert_close(even, plain)

    def test_the_rate_is_clamped(self):
        rates = st.QuadraticRate(0.975, 2.0)(torch.tensor([0.1, 0.975, 0.9]))
        torch.testing.assert_close(rates, torch.tensor([0.2, 0.0, 2 * 0.075**2]))
        free = st.QuadraticRate(0.975, 2.0, max_rate=1.0)(torch.tensor([0.1, 0.5]))
        torch.testing.assert_close(free, torch.tensor([1.0, 2 * 0.475**2]))

    def test_the_rates_temperature_is_its_own(self):
        labels = torch.tensor([0])
        teacher = torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.0]])
        p = torch.softmax(teacher / 4, -1)[0, 0]
        policy = st.InstanceLabelSmoothing(st.QuadraticRate(0.9, 1.0, 1.0, 4.0), "teacher")
        dense = policy(target_of(labels), teacher_logits=teacher).dense()
        rate = (p - 0.9) ** 2
        torch.testing.assert_close(dense[0, 0], 1 - rate)
        torch.testing.assert_close(dense[0, 1:], rate * torch.softmax(teacher[0, 1:], -1))

    @pytest.mark.parametrize("kind", POLICIES)
    def test_mixed_labels_take_the_mixture(self, kind):
        _, labels, teacher = batch()
        lam = torch.rand(12)
        other = labels.flip(0)
        policy = POLICIES[kind]()
        mixed = policy(target_of(labels).mix(target_of(other), lam), teacher_logits=teacher)
        a = policy(target_of(labels), teacher_logits=teacher)
        b = policy(target_of(other), teacher_logits=teacher)
        torch.testing.assert_close(mixed.dense(), a.mix(b, lam).dense())
        torch.testing.assert_close(mixed.mass(), torch.ones(12))

    def test_half_precision_teachers(self):
        _, labels, teacher = batch()
        policy = POLICIES["ILS"]()
        half = policy(target_of(labels), teacher_logits=teacher.half())
        full = policy(target_of(labels), teacher_logits=teacher.half().float())
        assert torch.equal(half.dense(), full.dense())
        assert half.dtype == torch.float32


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: st.InstanceLabelSmoothing(1.2), r"`rate` must be in \[0, 1\], got 1.2"),
        (lambda: st.InstanceLabelSmoothing(0.1, "even"), r'`spread` must be "uniform" or'),
        (lambda: st.InstanceLabelSmoothing(0.1, "teacher", 0.0), "`temperature` must be finite"),
        (lambda: st.QuadraticRate(1.5, 1.0), r"`p1` must be in \[0, 1\]"),
        (lambda: st.QuadraticRate(0.5, -1.0), r"`p2` must be in \[0, inf\]"),
        (lambda: st.QuadraticRate(0.5, 1.0, 1.5), r"`max_rate` must be in \[0, 1\]"),
        (lambda: st.QuadraticRate(0.5, 1.0, temperature=-1.0), "`temperature` must be finite"),
    ],
)
def test_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_shapes_that_do_not_fit():
    target, teacher = target_of(torch.tensor([0, 1])), torch.randn(2, K)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(2, 5\) \(classes last\)"):
        POLICIES["ILS2"]()(target, torch.randn(K, 2), teacher_logits=teacher)
    policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=lambda x: x, class_dim=2)
    with pytest.raises(
        ValueError, match=r"`class_dim` must be a dimension of the teacher's .* 2, g"
    ):
        policy(target, inputs=teacher)


def test_targets_it_cannot_read():
    with pytest.raises(TypeError, match="labels or mixed labels"):
        st.InstanceLabelSmoothing(0.1)(st.Target.from_probs(torch.eye(K)))
    with pytest.raises(ValueError, match="at least 2 classes"):
        st.InstanceLabelSmoothing(0.1)(st.Target.from_labels(torch.tensor([0]), 1))


def test_a_teacher_that_nobody_asks_is_refused():
    with pytest.raises(ValueError, match="`teacher` and `temperature` have no use"):
        st.InstanceLabelSmoothing(0.1, teacher=torch.nn.Linear(2, 4))
    with pytest.raises(TypeError, match="a teacher goes into `teacher=`"):
        st.InstanceLabelSmoothing(torch.nn.Linear(2, 4))


def test_the_teacher_puts_nothing_on_a_class_that_is_dead_for_the_student():
    teacher = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    logits = torch.tensor([[1.0, -torch.inf, 0.5, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0])
    policy = st.InstanceLabelSmoothing(0.1, spread="teacher")
    target = policy(
        st.Target.from_labels(labels, 4, dtype=torch.float64), logits, teacher_logits=teacher
    )
    shares = torch.softmax(teacher[0, 2:], -1) * 0.1
    expected = torch.tensor([[0.9, 0.0, *shares.tolist()]], dtype=torch.float64)
    torch.testing.assert_close(target.dense(), expected)
    loss = st.CrossEntropyLoss(policy)(logits, labels, teacher_logits=teacher)
    assert torch.isfinite(loss)
    masked = logits.nan_to_num(neginf=-1e9)
    mask = logits != -torch.inf
    again = st.CrossEntropyLoss(policy)(masked, labels, teacher_logits=teacher, class_mask=mask)
    torch.testing.assert_close(again, loss)


def test_a_label_with_no_living_class_beside_it_keeps_everything():
    logits = torch.tensor([[1.0, -torch.inf, -torch.inf]])
    policy = st.InstanceLabelSmoothing(0.1, spread="teacher")
    loss = st.CrossEntropyLoss(policy)(logits, torch.tensor([0]), teacher_logits=torch.zeros(1, 3))
    assert loss == 0


class Rows:
    """Logits by sample number, without a file."""

    def __init__(self, logits):
        self.logits = logits
        self.num_classes = logits.shape[-1]

    def __getitem__(self, index):
        return self.logits[index]


class TestLookup:
    @pytest.mark.parametrize("kind", POLICIES)
    def test_the_samples_are_looked_up(self, kind):
        logits, labels, _ = batch()
        index, known = torch.randint(40, (12,)), torch.randn(40, K)
        teacher = known[index]
        expected = st.CrossEntropyLoss(POLICIES[kind]())(logits, labels, teacher_logits=teacher)
        criterion = st.CrossEntropyLoss(POLICIES[kind](teacher=Rows(known)))
        assert torch.equal(criterion(logits, labels, index=index), expected)
        assert torch.equal(criterion(logits, labels, index=index, inputs=logits), expected)
        said = criterion(logits, labels, index=index + 99, teacher_logits=teacher)
        assert torch.equal(said, expected)
        criterion.eval()
        assert criterion(logits, labels).isfinite()

    def test_battery(self):
        known = torch.randn(40, K, dtype=torch.float64)
        index = torch.randint(40, (12,))
        check_policy(
            lambda: POLICIES["ILS"](teacher=Rows(known)), K, context=lambda logits: {"index": index}
        )

    def test_in_a_cache(self, tmp_path):
        teacher, inputs = nn.Linear(3, K), torch.randn(20, 3)
        cache = st.TeacherCache.build(
            tmp_path, teacher, [(inputs, torch.arange(20))], K,
            data_fingerprint="20 rows", dtype=torch.float32,
        )  # fmt: skip
        policy = st.InstanceLabelSmoothing(RATE, "teacher", teacher=cache)
        index, labels = torch.randperm(20)[:6], torch.randint(K, (6,))
        expected = st.InstanceLabelSmoothing(RATE, "teacher")
        with torch.no_grad():
            said = teacher(inputs[index])
        found = policy(target_of(labels), index=index).dense()
        torch.testing.assert_close(found, expected(target_of(labels), teacher_logits=said).dense())
        copied = copy.deepcopy(policy)(target_of(labels), index=index)
        assert torch.equal(copied.dense(), found)

    def test_images_take_a_number_per_pixel(self):
        labels, index = torch.randint(K, (2, 3, 4)), torch.randint(9, (2, 3, 4))
        images, known = torch.randn(2, K, 3, 4), torch.randn(9, K)
        criterion = st.CrossEntropyLoss(POLICIES["ILS"](teacher=Rows(known)))
        direct = st.CrossEntropyLoss(POLICIES["ILS"]())
        said = direct(images, labels, teacher_logits=known[index].movedim(-1, 1))
        assert torch.equal(criterion(images, labels, index=index), said)

    def test_errors(self):
        labels = torch.tensor([0, 1])
        policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=Rows(torch.zeros(9, K)))
        for keywords in ({}, {"inputs": torch.zeros(2, 3)}):
            with pytest.raises(TypeError, match=r"needs `index` .* give the loss `index="):
                policy(target_of(labels), **keywords)
        with pytest.raises(ValueError, match=r"shape \(2,\), got \(1,\)"):
            policy(target_of(labels), index=torch.tensor([3]))
        with pytest.raises(TypeError, match="`index` must hold integers"):
            policy(target_of(labels), index=torch.tensor([0.5, 1.0]))
        wide = st.InstanceLabelSmoothing(0.1, "teacher", teacher=Rows(torch.zeros(9, K + 1)))
        with pytest.raises(
            ValueError, match="must hold 5 classes like the logits, got a cache of 6"
        ):
            wide(target_of(labels), index=labels)
        with pytest.raises(TypeError, match="look logits up as a `TeacherCache` does, got Tensor"):
            st.InstanceLabelSmoothing(0.1, "teacher", teacher=torch.zeros(9, K))


def test_what_a_teacher_returns_is_a_tensor():
    target, inputs = target_of(torch.tensor([0])), torch.randn(1, K)
    for teacher in (lambda x: (x, x), lambda x: {"logits": x}, lambda x: None):
        policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=teacher)
        with pytest.raises(TypeError, match=r"return a tensor of logits, got .*; wrap it in a"):
            policy(target, inputs=inputs)
    with pytest.raises(TypeError, match="`teacher_logits` must be a floating point tensor"):
        policy(target, teacher_logits=(inputs,))
