"""Forward and backward correction of label noise: identities, references, and composition."""

import copy
import math
import warnings

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import softtargets as st
from softtargets.noise import DenseTransition, PairTransition, SymmetricTransition

K = 5
EAGER = st.LossOptions(impl="eager")


def _dense(seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(K, K, generator=generator, dtype=torch.float64)
    return DenseTransition(torch.softmax(rows + 2 * torch.eye(K), -1))


TRANSITIONS = {
    "symmetric": SymmetricTransition(0.3, K),
    "above chance": SymmetricTransition(0.9, K),
    "pair": PairTransition(0.3, K),
    "dense": _dense(),
}
each_transition = pytest.mark.parametrize("noise", TRANSITIONS.values(), ids=TRANSITIONS)


def _backward(noise, strength=1.0):
    return st.BackwardCorrection(noise, strength, allow_negative=True)


def _batch(shape=(12,), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(*shape, K, generator=generator, dtype=torch.float64)).to(dtype)
    labels = torch.randint(K, shape, generator=generator)
    labels.view(-1)[2] = -100
    return logits.requires_grad_(), labels


def _forward_reference(logits, rows, matrix, weight=None):
    """`-sum_k w_k q_k log (T' p)_k` of each sample, for dense rows q."""
    logs = (torch.softmax(logits, -1) @ matrix).log()
    return -(rows * logs if weight is None else rows * weight * logs).sum(-1)


def _with_gradient(logits, target, **arguments):
    loss = st.cross_entropy(logits, target, class_dim=-1, **arguments)
    return loss, torch.autograd.grad(loss.sum(), logits)[0]


@each_transition
@pytest.mark.parametrize("options", [None, EAGER])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [None, 0.1])
def test_forward_correction_equals_the_dense_formula(noise, options, reduction, smoothing):
    logits, labels = _batch()
    weight = torch.linspace(0.5, 2, K, dtype=torch.float64)
    rows = st.Target.from_labels(labels, K, dtype=torch.float64)
    shares = rows.mass(weight)
    rows = rows if smoothing is None else rows.smooth(smoothing)
    expected = _forward_reference(logits, rows.dense(), noise.dense(), weight)
    if reduction != "none":
        expected = expected.sum() / (shares.sum() if reduction == "mean" else 1)
    (gradient,) = torch.autograd.grad(expected.sum(), logits)
    got, moved = _with_gradient(
        logits,
        labels,
        smoothing=smoothing,
        weight=weight,
        correction=st.ForwardCorrection(noise),
        reduction=reduction,
        options=options,
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(moved, gradient, rtol=0, atol=1e-10)
    assert float(moved[2].abs().max()) == 0


@each_transition
def test_forward_correction_of_soft_targets_and_mixes(noise):
    logits, labels = _batch()
    soft = torch.rand(12, K, dtype=torch.float64).softmax(-1)
    mixed = st.Target.from_labels(labels, K, dtype=torch.float64).mix(
        st.Target.from_probs(soft), 0.3
    )
    correction = st.ForwardCorrection(noise)
    for target, rows in ((soft, soft), (mixed, mixed.dense())):
        expected = _forward_reference(logits, rows, noise.dense())
        got = st.cross_entropy(logits, target, correction=correction, reduction="none")
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_forward_correction_by_the_identity_is_the_cross_entropy_where_it_is_saturated():
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    plain, expected = _with_gradient(logits, torch.tensor([1]))
    for noise in (torch.eye(2), SymmetricTransition(0.0, 2), PairTransition(0.0, 2)):
        loss, gradient = _with_gradient(
            logits, torch.tensor([1]), correction=st.ForwardCorrection(noise)
        )
        assert loss.item() == plain.item() == 120
        assert torch.equal(gradient, expected)
    assert float(expected[0, 0]) == 1


@each_transition
def test_blocks_do_not_matter(noise, monkeypatch):
    logits, labels = _batch((4, 3))
    correction = st.ForwardCorrection(noise)
    whole = _with_gradient(logits, labels, correction=correction)
    monkeypatch.setattr("softtargets.engine.blocks.BLOCK_ELEMENTS", 2 * K)
    parts = _with_gradient(logits, labels, correction=correction)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-15)


@each_transition
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_wide(noise, dtype):
    logits, labels = _batch(dtype=dtype)
    correction = st.ForwardCorrection(noise)
    loss, gradient = _with_gradient(logits, labels, correction=correction)
    wide = logits.detach().double().requires_grad_()
    expected, moved = _with_gradient(wide, labels, correction=correction)
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), moved, rtol=1e-2, atol=1e-3)


@each_transition
@pytest.mark.parametrize("kind", [st.ForwardCorrection, _backward])
def test_ignored_rows_may_hold_anything_and_masked_classes_stay_finite(noise, kind):
    logits, labels = _batch()
    with torch.no_grad():
        logits[2] = torch.nan
        logits[0, (int(labels[0]) + 1) % K] = -torch.inf
    loss, gradient = _with_gradient(
        logits, labels, smoothing=0.1, correction=kind(noise), reduction="none"
    )
    assert bool(loss.isfinite().all())
    assert bool(gradient.isfinite().all())
    assert loss[2].item() == 0
    assert float(gradient[2].abs().max()) == 0
    alive = logits[0].detach() != -torch.inf
    said = logits.detach().nan_to_num(neginf=0.0)
    mask = torch.ones(12, K, dtype=torch.bool)
    mask[0] = alive
    same = st.cross_entropy(
        said, labels, smoothing=0.1, correction=kind(noise), reduction="none", class_mask=mask
    )
    torch.testing.assert_close(same, loss.detach())


def test_a_batch_of_ignored_labels_has_loss_and_gradient_zero():
    logits = torch.full((3, K), torch.nan, requires_grad=True)
    for noise in TRANSITIONS.values():
        loss, gradient = _with_gradient(
            logits, torch.full((3,), -100), correction=st.ForwardCorrection(noise)
        )
        assert loss.item() == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


@each_transition
def test_the_derivatives_of_forward_correction(noise):
    logits, labels = _batch((4,))
    correction = st.ForwardCorrection(noise)

    def loss(z):
        return st.cross_entropy(z, labels, correction=correction, smoothing=0.1)

    assert gradcheck(loss, logits)
    assert gradgradcheck(loss, logits)
    expected = torch.autograd.grad(loss(logits), logits)[0]
    torch.testing.assert_close(torch.func.grad(loss)(logits.detach()), expected)


@each_transition
def test_the_gradient_may_take_the_memory_of_the_logits(noise):
    leaf, labels = _batch()
    correction = st.ForwardCorrection(noise)
    expected = _with_gradient(leaf, labels, correction=correction)[1]
    logits = leaf * 1
    options = st.LossOptions(reuse_logits=True)
    st.cross_entropy(logits, labels, correction=correction, options=options).backward()
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-14, atol=1e-15)


@each_transition
def test_backward_correction_is_unbiased(noise):
    """The mean over the noise of a clean label's losses is the loss of the clean label."""
    logits = torch.randn(1, K, dtype=torch.float64)
    for smoothing in (None, 0.1, st.ClassMatrixSmoothing(_dense(3).dense(), 0.2)):
        losses = torch.stack(
            [
                st.cross_entropy(
                    logits, torch.tensor([y]), smoothing=smoothing, correction=_backward(noise)
                )
                for y in range(K)
            ]
        )
        clean = torch.stack(
            [st.cross_entropy(logits, torch.tensor([y]), smoothing=smoothing) for y in range(K)]
        )
        torch.testing.assert_close(noise.dense() @ losses, clean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7])
def test_backward_correction_of_symmetric_noise_is_generalised_smoothing(rate):
    logits, labels = _batch()
    noise = SymmetricTransition(rate, K)
    share = st.noise.equivalent_smoothing(noise)
    negative = st.LabelSmoothing(-share / (1 - share), allow_negative=True)
    expected = _with_gradient(logits, labels, smoothing=negative)
    for each in (noise, noise.dense()):
        for arguments in ({"correction": _backward(each)}, {"smoothing": _backward(each)}):
            for a, b in zip(_with_gradient(logits, labels, **arguments), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_smoothing_noisy_labels_is_more_smoothing_of_clean_ones(rate, smoothing):
    noise = SymmetricTransition(rate, K)
    share = noise.uniform_rate
    logits = torch.randn(K, K, dtype=torch.float64)
    for i in range(K):
        losses = st.cross_entropy(
            logits[i].expand(K, K), torch.arange(K), smoothing=smoothing, reduction="none"
        )
        clean = st.cross_entropy(
            logits[i : i + 1],
            torch.tensor([i]),
            smoothing=1 - (1 - smoothing) * (1 - share),
        )
        torch.testing.assert_close(noise.dense()[i] @ losses, clean, rtol=0, atol=1e-12)


def test_forward_correction_is_minimal_at_the_clean_distribution():
    """Fisher consistency: noisy labels, corrected, lead to p and not to T'p."""
    noise = TRANSITIONS["dense"]
    clean = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05], dtype=torch.float64)
    logits = clean.log().unsqueeze(0).requires_grad_()
    _, gradient = _with_gradient(
        logits, noise.apply(clean).unsqueeze(0), correction=st.ForwardCorrection(noise)
    )
    assert float(gradient.abs().max()) < 1e-14


def test_a_warm_up_starts_from_the_cross_entropy_and_is_saved():
    logits, labels = _batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        correction = st.BackwardCorrection(_dense(), st.Schedule.linear(0.0, 1.0, 4))
    criterion = st.CrossEntropyLoss(correction=correction)
    plain = st.cross_entropy(logits, labels)
    assert criterion(logits, labels).item() == pytest.approx(plain.item(), abs=1e-12)
    for _ in range(2):
        criterion.step()
    full = st.cross_entropy(logits, labels, correction=_backward(_dense()))
    half = criterion(logits, labels)
    assert half.item() == pytest.approx((plain.item() + full.item()) / 2, abs=1e-12)
    restored = st.CrossEntropyLoss(
        correction=st.BackwardCorrection(torch.eye(K).double(), st.Schedule.linear(0.0, 1.0, 4))
    )
    restored.load_state_dict(criterion.state_dict())
    assert torch.equal(restored(logits, labels), half)


def test_backward_correction_warns_where_it_should():
    with pytest.warns(UserWarning, match="no lower bound.*allow_negative"):
        st.BackwardCorrection(SymmetricTransition(0.2, K))
    with pytest.warns(UserWarning, match="nearly singular, its condition number is 500"):
        _backward(PairTransition(0.499, 2))
    with pytest.raises(ValueError, match=r"it is singular.*ForwardCorrection"):
        _backward(SymmetricTransition(0.8, K))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        st.BackwardCorrection(torch.eye(3))
        st.ForwardCorrection(SymmetricTransition(0.8, K))


@pytest.mark.parametrize("kind", [st.ForwardCorrection, _backward])
@each_transition
def test_modules_move_copy_and_restore(kind, noise):
    logits, labels = _batch()
    criterion = st.CrossEntropyLoss(0.1, correction=kind(noise))
    expected = criterion(logits, labels)
    assert torch.equal(copy.deepcopy(criterion)(logits, labels), expected)
    blank = kind(DenseTransition(torch.eye(K).double())) if noise.table is not None else kind(noise)
    other = st.CrossEntropyLoss(0.1, correction=blank)
    other.load_state_dict(criterion.state_dict())
    assert torch.equal(other(logits, labels), expected)
    halved = criterion.half()(logits, labels)
    assert halved.item() == pytest.approx(expected.item(), rel=2e-3)
    plain = st.cross_entropy(logits, labels)
    assert torch.equal(criterion.eval()(logits, labels), plain)


@each_transition
def test_metrics_are_of_the_models_own_prediction(noise):
    logits, labels = _batch()
    plain = st.cross_entropy_with_metrics(logits, labels)
    for correction in (st.ForwardCorrection(noise), _backward(noise)):
        result = st.cross_entropy_with_metrics(logits, labels, correction=correction)
        assert torch.equal(result.loss, st.cross_entropy(logits, labels, correction=correction))
        torch.testing.assert_close(result.nll, plain.nll)
        assert torch.equal(result.accuracy, plain.accuracy)


def test_a_policy_that_learns_sees_the_models_own_prediction():
    logits, labels = _batch()
    plain, corrected = (st.OnlineLabelSmoothing(K) for _ in range(2))
    st.cross_entropy(logits, labels, smoothing=plain)
    st.cross_entropy(logits, labels, smoothing=corrected, correction=st.ForwardCorrection(_dense()))
    for policy in (plain, corrected):
        policy.end_epoch()
    torch.testing.assert_close(corrected.matrix, plain.matrix)


@pytest.mark.parametrize(
    "smoothing",
    [
        st.OnlineLabelSmoothing(K),
        st.InstanceLabelSmoothing(0.1),
        st.LabelAwareSmoothing(range(1, K + 1), 0.2, 0.1),
        st.LabelSmoothing(torch.full((K,), 0.1)),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_policies_of_labels_refuse_what_backward_correction_makes(smoothing):
    logits, labels = _batch()
    for noise in TRANSITIONS.values():
        with pytest.raises(TypeError, match="must be labels"):
            st.cross_entropy(
                logits,
                labels,
                smoothing=smoothing,
                correction=_backward(noise),
            )


def test_backward_correction_in_the_fused_layer_and_in_sequences():
    hidden = torch.randn(12, 3, dtype=torch.float64)
    weight = torch.randn(K, 3, dtype=torch.float64)
    labels = torch.randint(K, (12,))
    for noise in TRANSITIONS.values():
        fused = st.linear_cross_entropy(hidden, weight, labels, smoothing=_backward(noise))
        whole = st.cross_entropy(hidden @ weight.T, labels, correction=_backward(noise))
        torch.testing.assert_close(fused, whole, rtol=0, atol=1e-12)
        logits = (hidden @ weight.T).view(3, 4, K)
        sequences = st.sequence_cross_entropy(logits, labels.view(3, 4), smoothing=_backward(noise))
        torch.testing.assert_close(sequences, whole, rtol=0, atol=1e-12)


@each_transition
@pytest.mark.parametrize("kind", [st.ForwardCorrection, _backward])
def test_the_criterion_compiles_in_one_graph(noise, kind):
    logits, labels = _batch()
    criterion = st.CrossEntropyLoss(0.1, correction=kind(noise))
    expected = _with_gradient(logits, labels, smoothing=0.1, correction=kind(noise))
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    loss = compiled(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, expected[1], rtol=0, atol=1e-12)


def test_a_label_the_noise_never_makes_has_infinite_loss_and_a_finite_gradient():
    never = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    logits = torch.zeros(1, 2, requires_grad=True)
    correction = st.ForwardCorrection(never)
    loss, gradient = _with_gradient(logits, torch.tensor([1]), correction=correction)
    assert loss.item() == math.inf
    assert bool(gradient.isfinite().all())
