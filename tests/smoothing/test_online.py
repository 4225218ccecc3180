"""Online label smoothing: promise 5.8, what it learns from and what it keeps."""

import copy
import io

import pytest
import torch
from torch import nn

import softtargets as st
from softtargets.testing import check_policy

K = 4


def batch(n=20, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, K, generator=generator, dtype=torch.float64)
    labels = torch.randint(K, (n,), generator=generator)
    return logits.to(dtype), labels


def learn(policy, logits, labels, ignore_index=-100):
    target = st.Target.from_labels(labels, K, ignore_index)
    policy(target, logits)


def fresh_rows(logits, labels):
    probs = torch.softmax(logits.float(), -1)
    rows = torch.full((K, K), 1 / K)
    for y in range(K):
        right = (labels == y) & (probs.argmax(-1) == y)
        if right.any():
            rows[y] = probs[right].mean(0)
    return rows


def after(policy, *batches):
    for logits, labels in batches:
        learn(policy, logits, labels)
    policy.end_epoch()
    return policy.matrix


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"hard_weight": 0.9},
        {"initial": "zeros", "soft_weight": 0.5},
        {"momentum": 0.5, "min_count": 2},
        {"correct_only": False},
    ],
    ids=str,
)
def test_battery(arguments):
    check_policy(
        lambda: st.OnlineLabelSmoothing(K, **arguments),
        K,
        distribution="initial" not in arguments,
    )


def test_5_8_the_first_epoch_is_label_smoothing():
    logits, labels = batch()
    online = st.cross_entropy(logits, labels, smoothing=st.OnlineLabelSmoothing(K))
    torch.testing.assert_close(online, st.cross_entropy(logits, labels, smoothing=0.5))
    zeros = st.OnlineLabelSmoothing(K, initial="zeros")
    halved = st.cross_entropy(logits, labels, smoothing=zeros)
    torch.testing.assert_close(halved, 0.5 * st.cross_entropy(logits, labels))


def test_5_8_the_matrix_is_a_buffer_replaced_out_of_place():
    policy = st.OnlineLabelSmoothing(K)
    assert dict(policy.named_buffers()).keys() == {"matrix"}
    assert list(policy.parameters()) == []
    logits, labels = batch()
    target = st.Target.from_labels(labels, K)
    early = policy(target, logits)
    before, old = early.dense(), policy.matrix
    policy.end_epoch()
    assert policy.matrix is not old
    assert "matrix" in dict(policy.named_buffers())
    assert torch.equal(early.dense(), before)
    assert bool((old == 1 / K).all())


def test_5_8_a_backward_pass_may_follow_the_end_of_the_epoch():
    policy = st.OnlineLabelSmoothing(K)
    logits, labels = batch()
    leaf = logits.requires_grad_()
    loss = st.CrossEntropyLoss(policy)(leaf, labels)
    policy.end_epoch()
    (late,) = torch.autograd.grad(loss, leaf)
    twin = st.CrossEntropyLoss(st.OnlineLabelSmoothing(K))(leaf, labels)
    assert torch.equal(late, torch.autograd.grad(twin, leaf)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_5_8_saved_mid_epoch_and_restored_exactly(dtype):
    steps = [batch(seed=i, dtype=dtype) for i in range(6)]
    whole = st.CrossEntropyLoss(st.OnlineLabelSmoothing(K, momentum=0.3))
    for i in range(3):
        whole(*steps[i])
    whole.smoothing.end_epoch()
    for i in range(3, 5):
        whole(*steps[i])
    saved = io.BytesIO()
    torch.save(whole.state_dict(), saved)
    restored = st.CrossEntropyLoss(st.OnlineLabelSmoothing(K, momentum=0.3))
    restored.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    copied = copy.deepcopy(whole)
    loss = whole(*steps[5])
    whole.smoothing.end_epoch()
    for other in (restored, copied):
        assert other.smoothing.epochs == 1
        assert other.smoothing.matrix.dtype == dtype
        assert torch.equal(other(*steps[5]), loss)
        other.smoothing.end_epoch()
        assert torch.equal(other.smoothing.matrix, whole.smoothing.matrix)
        assert other.smoothing.epochs == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_5_8_interrupted_equals_uninterrupted(dtype):
    steps = [batch(seed=i, dtype=dtype) for i in range(4)]
    whole = st.OnlineLabelSmoothing(K)
    for logits, labels in steps:
        whole(st.Target.from_labels(labels, K, dtype=dtype), logits)
    first = st.OnlineLabelSmoothing(K)
    for logits, labels in steps[:2]:
        first(st.Target.from_labels(labels, K, dtype=dtype), logits)
    second = st.OnlineLabelSmoothing(K)
    second.load_state_dict(first.state_dict())
    first(st.Target.from_labels(steps[0][1], K, dtype=dtype), steps[0][0])
    for logits, labels in steps[2:]:
        second(st.Target.from_labels(labels, K, dtype=dtype), logits)
    whole.end_epoch()
    second.end_epoch()
    assert torch.equal(whole.matrix, second.matrix)


def test_5_8_extra_state_survives_half_and_is_no_buffer():
    policy = st.OnlineLabelSmoothing(K)
    logits, labels = batch()
    learn(policy, logits, labels)
    policy.half()
    assert policy.get_extra_state()["sums"].dtype == torch.float32
    policy.end_epoch()
    torch.testing.assert_close(policy.matrix, fresh_rows(logits, labels))
    assert policy.matrix.dtype == torch.float32
    tenth = st.OnlineLabelSmoothing(10).half()
    target = tenth(st.Target.from_labels(torch.tensor([3]), 10), torch.randn(1, 10))
    torch.testing.assert_close(target.mass(), torch.ones(1), rtol=0, atol=2e-7)


def test_5_8_the_starting_matrix_is_exact_in_float64():
    policy = st.OnlineLabelSmoothing(10)
    target = st.Target.from_labels(torch.tensor([3]), 10, dtype=torch.float64)
    dense = policy(target, torch.randn(1, 10)).dense()
    assert dense[0, 0].item() == pytest.approx(0.05, abs=1e-17)


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_5_8_default_dtypes(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        policy = st.OnlineLabelSmoothing(10)
    finally:
        torch.set_default_dtype(before)
    wide = torch.float64 if default == torch.float64 else torch.float32
    assert policy.matrix.dtype == wide


@pytest.mark.parametrize("how", ["eval", "no_grad", "inference_mode"])
def test_5_8_it_learns_only_while_training_with_gradients(how):
    logits, labels = batch()
    policy = st.OnlineLabelSmoothing(K)
    if how == "eval":
        learn(policy.eval(), logits, labels)
        policy.train()
    else:
        with getattr(torch, how)():
            learn(policy, logits, labels)
    assert bool((policy.get_extra_state()["counts"] == 0).all())
    learn(policy, logits, labels)
    assert policy.get_extra_state()["counts"].sum() > 0


def test_5_8_learning_needs_logits():
    target = st.Target.from_labels(torch.tensor([0]), K)
    with pytest.raises(TypeError, match=r"`logits` must be given while .*`\.eval\(\)`"):
        st.OnlineLabelSmoothing(K)(target)
    st.OnlineLabelSmoothing(K).eval()(target)


def test_5_8_a_class_never_seen_keeps_its_row():
    logits, labels = batch()
    policy = st.OnlineLabelSmoothing(K)
    first = after(policy, (logits, labels))
    right = logits.argmax(-1) == labels
    seen = int(labels[right][0])
    only = labels == seen
    second = after(policy, (logits[only] + 0.1 * logits[only] ** 2, labels[only]))
    others = [y for y in range(K) if y != seen]
    assert torch.equal(second[others], first[others])
    assert not torch.equal(second[seen], first[seen])
    with pytest.warns(UserWarning, match="found nothing learned since the last one"):
        third = after(policy)
    assert torch.equal(third, second)


def test_5_8_wrong_predictions_teach_nothing():
    logits = torch.eye(K) * 5
    labels = torch.tensor([1, 2, 3, 0])
    with pytest.warns(UserWarning, match="learns from right predictions"):
        matrix = after(st.OnlineLabelSmoothing(K), (logits, labels))
    assert bool((matrix == 1 / K).all())
    learned = after(st.OnlineLabelSmoothing(K, correct_only=False), (logits, labels))
    torch.testing.assert_close(learned[1], torch.softmax(logits[0], -1))


def test_5_8_repeated_labels_all_count():
    logits = torch.tensor([[3.0, 0, 0, 0], [1.0, 0.5, 0, 0], [2.0, 0, 1, 0]])
    matrix = after(st.OnlineLabelSmoothing(K), (logits, torch.zeros(3, dtype=torch.long)))
    torch.testing.assert_close(matrix[0], torch.softmax(logits, -1).mean(0))


def test_5_8_ignored_labels_teach_nothing():
    logits, labels = batch()
    clean = after(st.OnlineLabelSmoothing(K), (logits[5:], labels[5:]))
    labels[:5] = -100
    assert torch.equal(after(st.OnlineLabelSmoothing(K), (logits, labels)), clean)


def test_5_8_images_equal_rows():
    logits, labels = batch(24)
    rows = after(st.OnlineLabelSmoothing(K), (logits, labels))
    policy = st.OnlineLabelSmoothing(K)
    images = logits.reshape(2, 3, 4, K).movedim(-1, 1).contiguous()
    st.CrossEntropyLoss(policy)(images, labels.reshape(2, 3, 4))
    policy.end_epoch()
    torch.testing.assert_close(policy.matrix, rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_5_8_half_precision_logits_sum_in_float32(dtype):
    logits, labels = batch(200)
    policy = st.OnlineLabelSmoothing(K)
    matrix = after(policy, (logits.to(dtype), labels))
    torch.testing.assert_close(matrix, fresh_rows(logits.to(dtype), labels))
    assert matrix.dtype == torch.float32


def test_5_8_autocast_and_accumulation_change_nothing():
    logits, labels = batch()
    plain = after(st.OnlineLabelSmoothing(K), (logits, labels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = after(st.OnlineLabelSmoothing(K), (logits, labels))
    assert torch.equal(plain, mixed)
    parts = after(st.OnlineLabelSmoothing(K), (logits[:7], labels[:7]), (logits[7:], labels[7:]))
    torch.testing.assert_close(parts, plain)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_5_8_logits_that_are_not_finite_do_not_poison_the_table(value):
    logits, labels = batch()
    clean = after(st.OnlineLabelSmoothing(K), (logits[2:], labels[2:]))
    logits[0, labels[0]] = value
    logits[1, :] = value
    assert torch.equal(after(st.OnlineLabelSmoothing(K), (logits, labels)), clean)


def test_5_8_masked_classes_get_no_mass():
    logits, labels = batch()
    logits[:, 3] = -torch.inf
    labels = labels.clamp(max=2)
    logits[torch.arange(20), labels] += 2
    matrix = after(st.OnlineLabelSmoothing(K), (logits, labels))
    learned = (matrix[:, 0] != 1 / K).nonzero()[:, 0]
    assert len(learned) > 1
    assert bool((matrix[learned, 3] == 0).all())


def test_5_8_the_number_of_classes_must_match():
    policy = st.OnlineLabelSmoothing(K)
    with pytest.raises(ValueError, match=r"policy's num_classes=4, got 3"):
        policy(st.Target.from_labels(torch.tensor([0]), 3), torch.randn(1, 3))
    with pytest.raises((ValueError, RuntimeError), match=r"of 3 classes|size mismatch"):
        st.OnlineLabelSmoothing(3).load_state_dict(policy.state_dict())


def test_only_single_labels_teach_and_mixtures_take_mixed_rows():
    logits, labels = batch()
    policy = st.OnlineLabelSmoothing(K)
    after(policy, (logits, labels))
    a = st.Target.from_labels(torch.tensor([0]), K)
    b = st.Target.from_labels(torch.tensor([1]), K)
    z = torch.tensor([[9.0, 0, 0, 0]])
    mixed = policy(a.mix(b, 0.25), z)
    parts = policy.eval()(a).mix(policy(b), 0.25)
    torch.testing.assert_close(mixed.dense(), parts.dense())
    policy.train()
    assert bool((policy.get_extra_state()["counts"] == 0).all())
    for single in (a.mix(a, 0.5), a.mix(b, 1.0), st.Target.from_probs(a.dense())):
        policy(single, z)
    assert policy.get_extra_state()["counts"].tolist() == [3, 0, 0, 0]
    rows = st.Target.from_probs(torch.tensor([[0.5, 0.5, 0, 0]]))
    policy(rows, z)
    policy(rows.mix(st.Target.from_probs(a.dense()), 0.5), z)
    assert policy.get_extra_state()["counts"].sum() == 3
    with pytest.raises(TypeError, match="labels, mixed labels or rows of probabilities"):
        policy(a.map_classes(torch.eye(K)), z)


def test_max_confidence_freezes_a_row_and_1_never_does():
    z = torch.tensor([[20.0, 0, 0, 0]])
    label = torch.tensor([0])
    policy = st.OnlineLabelSmoothing(K, max_confidence=0.9)
    frozen = after(policy, (z, label))[0].clone()
    soft = torch.tensor([[1.0, 0, 0, 0]])
    assert torch.equal(after(policy, (soft, label))[0], frozen)
    free = st.OnlineLabelSmoothing(K, momentum=0.9)
    free.matrix = torch.eye(K) * (1 + 2e-7)
    torch.testing.assert_close(
        after(free, (soft, label))[0], 0.9 * torch.eye(K)[0] + 0.1 * torch.softmax(soft, -1)[0]
    )


def test_in_a_model_it_saves_with_the_criterion():
    trainer = nn.ModuleDict({"criterion": st.CrossEntropyLoss(st.OnlineLabelSmoothing(K))})
    keys = set(trainer.state_dict())
    assert {"criterion.smoothing.matrix", "criterion.smoothing._extra_state"} <= keys
    assert "epochs=0" in repr(trainer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "`num_classes` must be at least 1, got 0"),
        ({"hard_weight": 1.5}, r"`hard_weight` must be in \[0, 1\], got 1.5"),
        ({"hard_weight": 1.0, "soft_weight": -1.0}, r"`soft_weight` must be in \[0, inf\]"),
        ({"initial": "ones"}, r'`initial` must be "uniform" or "zeros"'),
        ({"min_count": 0}, "`min_count` must be at least 1, got 0"),
        ({"momentum": 2.0}, r"`momentum` must be in \[0, 1\], got 2.0"),
        ({"max_confidence": -0.1}, r"`max_confidence` must be in \[0, 1\]"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        st.OnlineLabelSmoothing(**{"num_classes": K, **arguments})
