"""Online label smoothing in bfloat16 and as top-k rows: the same method, less memory."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

import softtargets as st
from softtargets.smoothing.observing import masked_rows, picked_rows
from softtargets.testing import check_policy
from tests import reference
from tests.smoothing.online_cases import K, batch, learn, targets_of

SETTINGS = [
    {},
    {"momentum": 0.4, "min_count": 3},
    {"initial": "zeros", "momentum": 0.5},
    {"correct_only": False, "hard_weight": 1.0, "soft_weight": 1.0},
    {"max_confidence": 0.5, "momentum": 0.2},
]
SMALL = [{"storage": "bfloat16"}, {"storage": "top_k", "top_k": 2}, {"storage": "top_k"}]


MORE = [
    {"storage": "top_k", "top_k": 3, "momentum": 0.5},
    {"storage": "bfloat16", "initial": "zeros"},
]


@pytest.mark.parametrize("storage", [*SMALL, *MORE], ids=str)
def test_battery(storage):
    check_policy(
        lambda: st.OnlineLabelSmoothing(K, **storage),
        K,
        distribution="initial" not in storage,
        compiles=True,
    )


@pytest.mark.parametrize("arguments", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_top_k_of_all_classes_is_the_paper(arguments, dtype):
    policy = st.OnlineLabelSmoothing(K, storage="top_k", top_k=K + 2, **arguments)
    paper = reference.OnlineSmoothing(K, **arguments)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-10
    for epoch in range(4):
        for step in range(3):
            logits, labels = batch(seed=10 * epoch + step, dtype=dtype)
            ours = policy(st.Target.from_labels(labels, K, dtype=dtype), logits)
            theirs = paper.targets(logits.numpy(), labels.numpy())
            np.testing.assert_allclose(ours.dense().numpy(), theirs, atol=tolerance)
        policy.end_epoch()
        paper.end_epoch()
        paper.start()
        np.testing.assert_allclose(policy.matrix.numpy(), paper.matrix, atol=tolerance)


@pytest.mark.parametrize("arguments", SETTINGS, ids=str)
def test_bfloat16_is_the_paper_to_its_rounding(arguments):
    policy = st.OnlineLabelSmoothing(K, storage="bfloat16", **arguments)
    paper = reference.OnlineSmoothing(K, **arguments)
    for epoch in range(4):
        logits, labels = batch(seed=epoch)
        learn(policy, logits, labels)
        paper.targets(logits.numpy(), labels.numpy())
        policy.end_epoch()
        paper.end_epoch()
        paper.start()
        soft = targets_of(policy).dense() - policy.hard_weight * torch.eye(K)
        np.testing.assert_allclose(
            soft / policy.soft_weight, paper.matrix, atol=1.2 / 128, err_msg=str(epoch)
        )
        policy.train()
    assert policy.matrix.dtype == torch.bfloat16


@pytest.mark.parametrize("k", [10, 100, 1000])
@pytest.mark.parametrize("storage", SMALL, ids=str)
@pytest.mark.parametrize("initial", ["uniform", "zeros"])
def test_every_target_keeps_its_mass(storage, k, initial):
    policy = st.OnlineLabelSmoothing(k, initial=initial, **storage)
    empty = 1.0 if initial == "uniform" else 0.5
    for dtype in (torch.float32, torch.float64):
        mass = targets_of(policy, dtype).mass()
        tolerance = 4e-7 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(mass, torch.full_like(mass, empty), rtol=0, atol=tolerance)
    policy.train()
    logits, labels = batch(300, k=k)
    learn(policy, logits, labels)
    seen = policy._table.sums.counts() > 0
    policy.end_epoch()
    for dtype, tolerance in ((torch.float32, 4e-7), (torch.float64, 1e-12)):
        target = targets_of(policy, dtype)
        expected = torch.where(seen, 1.0, empty).to(dtype)
        torch.testing.assert_close(target.mass(), expected, rtol=0, atol=tolerance)
        assert bool((target.dense() >= -1e-12).all())
    rows = policy.matrix.double().sum(-1)
    if storage["storage"] == "top_k":
        torch.testing.assert_close(rows, 2 * expected.double() - 1, rtol=0, atol=1e-6)
    else:
        assert bool((rows <= 1).all())


@pytest.mark.parametrize("storage", [{}, *SMALL], ids=str)
def test_saved_mid_epoch_copied_and_pickled(storage):
    def make():
        return st.CrossEntropyLoss(st.OnlineLabelSmoothing(K, momentum=0.3, **storage))

    whole = make()
    for epoch in range(2):
        for step in range(2):
            whole(*batch(seed=2 * epoch + step))
        if not epoch:
            whole.smoothing.end_epoch()
    saved = io.BytesIO()
    torch.save(whole.state_dict(), saved)
    restored = make()
    restored.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    others = restored, copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))
    loss = whole(*batch(seed=5))
    whole.smoothing.end_epoch()
    for other in others:
        assert torch.equal(other(*batch(seed=5)), loss)
        other.smoothing.end_epoch()
        assert torch.equal(other.smoothing.matrix, whole.smoothing.matrix)
        assert other.smoothing.epochs == 2


@pytest.mark.parametrize("storage", SMALL, ids=str)
def test_half_rounds_no_sums(storage):
    plain, halved = (st.OnlineLabelSmoothing(K, **storage) for _ in range(2))
    for policy in (plain, halved):
        learn(policy, *batch())
    halved.half()
    mass = targets_of(halved, torch.float32).mass()
    torch.testing.assert_close(mass, torch.ones(K), rtol=0, atol=4e-7)
    halved.train()
    for policy in (plain, halved):
        policy.end_epoch()
    assert torch.equal(plain.matrix, halved.matrix)
    halved.half()
    mass = targets_of(halved, torch.float32).mass()
    torch.testing.assert_close(mass, torch.ones(K), rtol=0, atol=4e-7)
    halved.double().float()
    assert targets_of(halved, torch.float32).dtype == torch.float32


def test_a_state_of_another_kind_is_refused():
    kinds = {
        'storage="dense"': {},
        'storage="bfloat16"': {"storage": "bfloat16"},
        'storage="top_k", top_k=2': {"storage": "top_k", "top_k": 2},
        'storage="top_k", top_k=3': {"storage": "top_k", "top_k": 3},
    }
    policies = {name: st.OnlineLabelSmoothing(K, **each) for name, each in kinds.items()}
    for mine, policy in policies.items():
        for theirs, other in policies.items():
            if mine == theirs:
                continue
            message = f"must be of {mine}, got {theirs}; build".replace('"', "'")
            with pytest.raises(ValueError, match=message):
                policy.load_state_dict(other.state_dict())
        larger = st.OnlineLabelSmoothing(K + 1, **kinds[mine])
        with pytest.raises(ValueError, match="must be of 8 classes, got 7"):
            larger.load_state_dict(policy.state_dict())


@pytest.mark.parametrize("storage", [{}, *SMALL], ids=str)
@pytest.mark.parametrize("correct_only", [True, False])
def test_compiled_learning_is_eager_learning(storage, correct_only):
    torch.compiler.reset()
    arguments = {"correct_only": correct_only, **storage}
    eager, traced = (st.CrossEntropyLoss(st.OnlineLabelSmoothing(K, **arguments)) for _ in range(2))
    compiled = torch.compile(traced, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        for step in range(2):
            logits, labels = batch(seed=step)
            logits[0] = torch.nan
            labels[1] = -100
            for criterion in (eager, compiled):
                criterion(logits, labels)
        counts = [each.smoothing._table.sums.counts() for each in (eager, traced)]
        assert counts[0].sum() > 20
        assert torch.equal(*counts)
        for each in (eager, traced):
            each.smoothing.end_epoch()
        torch.testing.assert_close(traced.smoothing.matrix, eager.smoothing.matrix)


@pytest.mark.parametrize("storage", [{}, *SMALL], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_chunks_of_a_fused_output_layer(storage, dtype, monkeypatch):
    monkeypatch.setattr("softtargets.engine.linear.CHUNK_ELEMENTS", 8 * K)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(30, 5, generator=generator).to(dtype)
    weight = torch.randn(K, 5, generator=generator).to(dtype)
    labels = (hidden @ weight.T).float().argmax(-1)
    fused, whole = (st.OnlineLabelSmoothing(K, **storage) for _ in range(2))
    for _ in range(2):
        ours = st.linear_cross_entropy(hidden, weight, labels, smoothing=fused)
        theirs = st.cross_entropy(hidden @ weight.T, labels, smoothing=whole)
        torch.testing.assert_close(ours, theirs)
        assert torch.equal(fused._table.sums.counts(), whole._table.sums.counts())
        fused.end_epoch()
        whole.end_epoch()


@pytest.mark.parametrize("storage", SMALL, ids=str)
def test_masks_and_bad_rows(storage):
    policy, clean = (st.OnlineLabelSmoothing(K, **storage) for _ in range(2))
    logits, labels = batch(80)
    labels = labels.clamp(max=K - 2)
    logits[:, K - 1] = -torch.inf
    bad = logits.clone()
    bad[0, labels[0]] = torch.inf
    bad[1] = torch.nan
    bad[2] = -torch.inf
    bad[3, 0] = torch.nan
    for _ in range(2):
        learn(policy, bad, labels)
        learn(clean, logits[4:], labels[4:])
        for each in (policy, clean):
            each.end_epoch()
        assert torch.equal(policy.matrix, clean.matrix)
        leaf = logits.clone().requires_grad_()
        loss = st.cross_entropy(leaf, labels, smoothing=policy.eval())
        loss.backward()
        policy.train()
        assert bool(loss.isfinite())
        assert bool(leaf.grad.isfinite().all())


def test_entries_on_masked_classes_go_to_the_rest_of_their_row():
    dense, top = (st.OnlineLabelSmoothing(K, storage=s) for s in ("dense", "top_k"))
    for policy in (dense, top):
        learn(policy, *batch(200))
        policy.end_epoch()
    logits, labels = batch(seed=1)
    mask = torch.rand(logits.shape) > 0.4
    mask[torch.arange(len(labels)), labels] = True
    expected = st.cross_entropy(logits, labels, smoothing=dense, class_mask=mask)
    torch.testing.assert_close(
        st.cross_entropy(logits, labels, smoothing=top, class_mask=mask), expected
    )
    few = st.OnlineLabelSmoothing(K, storage="top_k", top_k=1)
    learn(few, *batch(200))
    few.end_epoch()
    made = few.eval()(st.Target.from_labels(labels, K), logits.masked_fill(~mask, -torch.inf))
    assert bool((made.dense(mask)[~mask] == 0).all())
    torch.testing.assert_close(made.mass(alive=mask), torch.ones(len(labels)))
    hidden = torch.full_like(logits, -torch.inf)
    nothing = few(st.Target.from_labels(labels, K), hidden)
    torch.testing.assert_close(nothing.mass(), torch.ones(len(labels)))


@pytest.mark.parametrize("storage", [{}, *SMALL], ids=str)
def test_mixed_labels_take_mixed_rows(storage):
    policy = st.OnlineLabelSmoothing(K, **storage)
    learn(policy, *batch(100))
    policy.end_epoch()
    policy.eval()
    a, b = (st.Target.from_labels(torch.tensor([i, i + 2]), K) for i in (0, 1))
    mixed = policy(a.mix(b, 0.25)).dense()
    torch.testing.assert_close(mixed, policy(a).mix(policy(b), 0.25).dense())


def test_rows_of_probabilities():
    rows = st.Target.from_probs(torch.eye(K)[:2])
    labels = st.Target.from_labels(torch.arange(2), K)
    small = st.OnlineLabelSmoothing(K, storage="bfloat16")
    learn(small, *batch())
    small.end_epoch()
    torch.testing.assert_close(small.eval()(rows).dense(), small(labels).dense())
    with pytest.raises(TypeError, match=r"labels or mixed labels .* got rows of probabilities"):
        st.OnlineLabelSmoothing(K, storage="top_k").eval()(rows)


@pytest.mark.parametrize("storage", [{}, *SMALL], ids=str)
def test_watching_is_forward_without_a_pass_of_its_own(storage):
    whole, watched = (st.OnlineLabelSmoothing(K, **storage) for _ in range(2))
    logits, labels = batch(24)
    for shape in ((24,), (2, 3, 4)):
        target = st.Target.from_labels(labels.reshape(shape), K)
        z = logits.reshape(*shape, K)
        expected = whole(target, z)
        made, observer = watched.watching(target, z)
        assert torch.equal(made.dense(), expected.dense())
        assert bool((watched._table.sums.counts().sum() == 0) == (shape == (24,)))
        for i in range(shape[0]):
            key = (slice(i, i + 1),)
            observer(key, z[key], z[key].softmax(-1))
    whole.end_epoch()
    watched.end_epoch()
    # Which sums a few slots keep depends a little on how the samples were divided.
    tolerance = 0.01 if storage.get("top_k") else 1e-6
    torch.testing.assert_close(watched.matrix, whole.matrix, rtol=0, atol=tolerance)
    one = st.Target.from_labels(labels[0], K)
    _, observer = watched.watching(one, logits[0])
    observer((), logits[0], logits[0].softmax(-1))
    assert watched.eval().watching(one, logits[0])[1] is None
    with torch.no_grad():
        assert watched.train().watching(one, logits[0])[1] is None
    with pytest.raises(TypeError, match="`logits` must be given"):
        watched.watching(one)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(7,\)"):
        watched.watching(one, logits)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_equal_logits_is_the_prediction(seed):
    generator = torch.Generator().manual_seed(seed)
    block = torch.randint(3, (200, 5), generator=generator).float()
    block[:3] = torch.tensor([[torch.nan], [torch.inf], [-torch.inf]])
    labels = torch.randint(5, (200,), generator=generator)
    single = torch.rand(200, generator=generator) > 0.1
    probs = block.softmax(-1)
    right = single & probs.sum(-1).isfinite() & (block.argmax(-1) == labels)
    picked = picked_rows(block, probs, labels, single, True)
    assert torch.equal(picked.probs, probs[right])
    assert torch.equal(picked.labels, labels[right])
    assert torch.equal(masked_rows(block, probs, labels, single, True).keep, right)
    everyone = picked_rows(block, probs, labels, single, False)
    assert torch.equal(everyone.probs, probs[single & probs.sum(-1).isfinite()])
    images = [
        x.reshape(10, 20, 5).movedim(-1, 1).contiguous().movedim(1, -1) for x in (block, probs)
    ]
    flat = (x.reshape(10, 20) for x in (labels, single))
    assert torch.equal(picked_rows(*images, *flat, True).probs, probs[right])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"top_k": 4}, ValueError, '`top_k` must be None unless `storage` is "top_k", got 4'),
        ({"storage": "bfloat16", "top_k": 4}, ValueError, "`top_k` must be None"),
        ({"storage": "top_k", "top_k": 0}, ValueError, "`top_k` must be at least 1, got 0"),
        ({"storage": "top_k", "top_k": 2.0}, TypeError, "`top_k` must be an integer, got float"),
        ({"storage": "half"}, ValueError, '"dense", "bfloat16" or "top_k", got \'half\''),
    ],
)
def test_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        st.OnlineLabelSmoothing(K, **arguments)
