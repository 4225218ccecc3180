"""Where a head gets its teacher from, who else is told, and what its errors call it."""

import copy

import pytest
import torch
from torch.func import grad, vmap

import softtargets as st

N, K = 6, 5


class Rows:
    """Logits by sample number, without a file."""

    def __init__(self, logits):
        self.logits = logits
        self.num_classes = logits.shape[-1]

    def __getitem__(self, index):
        return self.logits[index]


def batch(dtype=torch.float32):
    return torch.randn(N, K, dtype=dtype), torch.randint(K, (N,)), torch.randn(N, K, dtype=dtype)


class TestCache:
    @pytest.mark.parametrize("top_k", [None, 2])
    def test_the_samples_are_looked_up(self, tmp_path, top_k):
        teacher, inputs = torch.nn.Linear(3, K), torch.randn(20, 3)
        cache = st.TeacherCache.build(
            tmp_path, teacher, [(inputs, torch.arange(20))], K,
            data_fingerprint="20 rows", dtype=torch.float32, top_k=top_k,
        )  # fmt: skip
        logits, labels, _ = batch()
        index = torch.randperm(20)[:N]
        criterion = st.DistillationLoss(3.0, 0.2, teacher=cache)
        loss = criterion(logits, labels, index=index)
        keywords = {"temperature": 3.0, "hard_weight": 0.2}
        for form in (cache[index], cache.target(index, 3.0)):
            torch.testing.assert_close(loss, st.distillation_loss(logits, labels, form, **keywords))
        if top_k is None:
            with torch.no_grad():
                said = teacher(inputs[index])
            torch.testing.assert_close(loss, st.distillation_loss(logits, labels, said, **keywords))
        assert torch.equal(copy.deepcopy(criterion)(logits, labels, index=index), loss)
        assert criterion.state_dict() == {}
        nll = st.cross_entropy(logits, labels)
        torch.testing.assert_close(criterion.eval()(logits, labels), nll)

    @pytest.mark.parametrize("class_dim", [1, -1])
    def test_label_maps_take_a_number_per_pixel(self, class_dim):
        logits, labels = torch.randn(2, K, 3, 4), torch.randint(K, (2, 3, 4))
        index, known = torch.randint(9, (2, 3, 4)), torch.randn(9, K)
        expected = st.distillation_loss(logits, labels, known[index].movedim(-1, 1))
        criterion = st.DistillationLoss(teacher=Rows(known), class_dim=class_dim)
        view = logits.movedim(1, class_dim)
        torch.testing.assert_close(criterion(view, labels, index=index), expected)

    def test_one_sample(self):
        known, logits, label = torch.randn(9, K), torch.randn(K), torch.tensor(2)
        loss = st.DistillationLoss(teacher=Rows(known))(logits, label, index=torch.tensor(4))
        torch.testing.assert_close(loss, st.distillation_loss(logits, label, known[4]))

    def test_errors(self):
        logits, labels, teacher = batch()
        criterion = st.DistillationLoss(teacher=Rows(torch.zeros(9, K)))
        with pytest.raises(TypeError, match=r"DistillationLoss needs `index` .* `index="):
            criterion(logits, labels)
        with pytest.raises(ValueError, match="`teacher_logits` were given beside the cache"):
            criterion(logits, labels, teacher_logits=teacher, index=labels)
        with pytest.raises(ValueError, match=r"shape \(6,\), got \(1,\)"):
            criterion(logits, labels, index=labels[:1])
        with pytest.raises(ValueError, match="must hold 5 classes like the logits, got a cache"):
            st.DistillationLoss(teacher=Rows(teacher[:, 1:]))(logits, labels, index=labels)
        target = st.Target.from_probs(torch.softmax(teacher, -1))
        for wrong in (torch.nn.Linear(3, K), teacher, target):
            with pytest.raises(TypeError, match="`teacher` must look logits up as a `TeacherC"):
                st.DistillationLoss(teacher=wrong)
        with pytest.raises(TypeError, match=r"got a cache of them; give `cache\[index\]`"):
            st.distillation_loss(logits, labels, Rows(teacher))


class TestPolicies:
    def policy(self, **more):
        return st.InstanceLabelSmoothing(0.2, "teacher", **more)

    def test_the_function_shares_the_teacher_as_the_module_does(self):
        logits, labels, teacher = batch()
        target = self.policy()(st.Target.from_labels(labels, K), teacher_logits=teacher)
        expected = st.distillation_loss(logits, target, teacher)
        loss = st.distillation_loss(logits, labels, teacher, smoothing=self.policy())
        torch.testing.assert_close(loss, expected)
        criterion = st.DistillationLoss(smoothing=self.policy())
        assert torch.equal(criterion(logits, labels, teacher_logits=teacher), loss)
        cached = st.DistillationLoss(smoothing=self.policy(), teacher=Rows(teacher))
        assert torch.equal(cached(logits, labels, index=torch.arange(N)), loss)

    def test_a_policy_keeps_its_own(self):
        logits, labels, teacher = batch()
        other = torch.randn(N, K)
        target = self.policy()(st.Target.from_labels(labels, K), teacher_logits=other)
        expected = st.distillation_loss(logits, target, teacher)
        index = torch.arange(N)
        by_index = st.DistillationLoss(smoothing=self.policy(teacher=Rows(other)))
        loss = by_index(logits, labels, teacher_logits=teacher, index=index)
        torch.testing.assert_close(loss, expected)
        by_inputs = st.DistillationLoss(smoothing=self.policy(teacher=lambda x: x))
        loss = by_inputs(logits, labels, teacher_logits=teacher, inputs=other)
        torch.testing.assert_close(loss, expected)


class TestNames:
    def test_teacher_logits_are_called_so(self):
        logits, labels, teacher = batch()
        policy = st.InstanceLabelSmoothing(0.2, "teacher")
        heads = [
            st.CrossEntropyLoss(policy),
            st.FocalLoss(smoothing=policy),
            st.DiceLoss(policy, per="batch"),
            st.SequenceCrossEntropyLoss(policy),
            st.DistillationLoss(),
            st.DistillationLoss(smoothing=policy),
        ]
        for head in heads:
            with pytest.raises(TypeError, match=r"^`teacher_logits` must be a floating point"):
                head(logits, labels, teacher_logits=teacher.long())
            with pytest.raises(ValueError, match=r"^`teacher_logits` must have shape .* a scalar"):
                head(logits, labels, teacher_logits=teacher.sum())
        images, maps = torch.randn(2, 3, 4, K), torch.randint(K, (2, 3, 4))
        with pytest.raises(ValueError, match="dimension of `teacher_logits`, which has 2, got 3"):
            st.DistillationLoss(class_dim=3)(images, maps, teacher_logits=teacher)

    def test_of_the_smoothing_rate(self):
        teacher, labels, _ = batch()
        with pytest.raises(TypeError, match=r"^`teacher_logits` must be a floating point tensor"):
            st.teacher_smoothing_rate(teacher.long(), labels)
        with pytest.raises(ValueError, match=r"^`labels` must have shape \(6,\) .* got \(5,\)"):
            st.teacher_smoothing_rate(teacher, labels[:5])
        with pytest.raises(TypeError, match=r"^`labels` must hold integers"):
            st.teacher_smoothing_rate(teacher, torch.softmax(teacher, -1))
        teacher[3, 1] = float("nan")
        with pytest.raises(ValueError, match=r"^`teacher_logits` must hold no NaN .* at \(3,\)"):
            st.teacher_smoothing_rate(teacher, labels)


def test_eval_checks_the_normaliser():
    logits, labels, _ = batch()
    criterion = st.DistillationLoss(2.0).eval()
    loss = criterion(logits, labels, normalizer=3)
    torch.testing.assert_close(loss, st.cross_entropy(logits, labels, normalizer=3))
    with pytest.raises(ValueError, match="`normalizer` must be finite and > 0"):
        criterion(logits, labels, normalizer=0)
    with pytest.raises(ValueError, match="`normalizer` replaces the divisor"):
        st.DistillationLoss(reduction="sum").eval()(logits, labels, normalizer=3)


@pytest.mark.parametrize("form", ["rows", "top-k"])
def test_targets_as_teachers_under_func(form):
    logits, labels, teacher = batch(torch.float64)
    probs = torch.softmax(teacher, -1)
    weights, indices = probs.topk(2)
    target = st.Target.from_probs(probs)
    if form == "top-k":
        target = st.Target.from_top_k(indices, weights, K)

    def loss(z):
        return st.distillation_loss(z, labels, target, temperature=2.0)

    both = torch.stack([logits, 2 * logits])
    torch.testing.assert_close(vmap(loss)(both), torch.stack([loss(z) for z in both]))
    leaf = logits.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(grad(loss)(logits), leaf.grad)
    torch.testing.assert_close(vmap(grad(loss))(both)[0], leaf.grad)
