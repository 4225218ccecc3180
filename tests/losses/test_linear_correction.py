"""Corrections of label noise in the fused linear layer against the formulas written out."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional

import softtargets as st
from softtargets.engine import linear
from softtargets.noise import DenseTransition, PairTransition, SymmetricTransition

D, K, N = 4, 6, 10


@pytest.fixture(autouse=True, params=[1 << 24, 3 * K], ids=["one chunk", "rows"])
def _chunks(request, monkeypatch):
    monkeypatch.setattr(linear, "CHUNK_ELEMENTS", request.param)


def _dense():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(K, K, generator=generator, dtype=torch.float64)
    return DenseTransition(torch.softmax(rows + 2 * torch.eye(K), -1))


TRANSITIONS = {
    "symmetric": SymmetricTransition(0.3, K),
    "pair": PairTransition(0.3, K),
    "dense": _dense(),
}
each_transition = pytest.mark.parametrize("noise", TRANSITIONS.values(), ids=TRANSITIONS)


def _backward(noise, strength=1.0):
    return st.BackwardCorrection(noise, strength, allow_negative=True)


each_kind = pytest.mark.parametrize("kind", [st.ForwardCorrection, _backward])


def _inputs(dtype=torch.float64):
    shapes = {"hidden": (N, D), "weight": (K, D), "bias": (K,)}
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes.values()]


def _targets():
    """Each kind of target and the rows that it stands for."""
    labels = torch.randint(K, (N,))
    labels[4] = -100
    rows = torch.zeros(N, K, dtype=torch.float64)
    rows[labels != -100] = torch.eye(K, dtype=torch.float64)[labels[labels != -100]]
    probs = torch.softmax(torch.randn(N, K, dtype=torch.float64), -1)
    hard = st.Target.from_labels(labels, K, dtype=torch.float64)
    mix = hard.mix(st.Target.from_probs(probs), 0.3)
    return {
        "labels": (labels, rows),
        "probs": (probs, probs),
        "mix": (mix, 0.3 * rows + 0.7 * probs),
    }


def _written_out(inputs, rows, correction, noise, smoothing, reduction):
    """The loss of an ordinary matrix product, noise matrix and logarithm."""
    hidden, weight, bias = inputs
    probs = torch.softmax(hidden @ weight.T + bias, -1)
    shares = rows.sum(-1)
    if isinstance(correction, st.ForwardCorrection):
        probs = probs @ noise
    else:
        rows = rows @ torch.linalg.inv(noise)
    rows = (1 - smoothing) * rows + smoothing / K * shares.unsqueeze(-1)
    losses = -(rows * probs.log()).sum(-1)
    if reduction == "none":
        return losses
    return losses.sum() / (shares.sum() if reduction == "mean" else 1)


def _assert_same(fused, dense, leaves, tolerance=1e-11):
    incoming = torch.randn_like(dense)
    torch.testing.assert_close(fused, dense, rtol=tolerance, atol=tolerance)
    ours = torch.autograd.grad(fused, leaves, incoming)
    theirs = torch.autograd.grad(dense, leaves, incoming)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@each_transition
@each_kind
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("of", ["labels", "probs", "mix"])
def test_equals_the_formula_written_out(noise, kind, reduction, of):
    inputs, (target, rows), correction = _inputs(), _targets()[of], kind(noise)
    hidden, weight, bias = inputs
    for smoothing in (0.0, 0.1):
        fused = st.linear_cross_entropy(
            hidden,
            weight,
            target,
            bias=bias,
            smoothing=smoothing or None,
            correction=correction,
            reduction=reduction,
        )
        dense = _written_out(inputs, rows, correction, noise.dense(), smoothing, reduction)
        _assert_same(fused, dense, inputs)


@each_transition
def test_a_class_ruled_out_by_its_bias_is_no_noisy_label_either(noise):
    hidden, weight, bias = _inputs()
    masked = bias.detach().clone()
    masked[-1] = -torch.inf
    labels = torch.randint(K - 1, (N,))
    fused = st.linear_cross_entropy(
        hidden, weight, labels, bias=masked, smoothing=0.1, correction=st.ForwardCorrection(noise)
    )
    left = noise.dense()[:-1, :-1]
    left = left / left.sum(-1, keepdim=True)
    logs = (torch.softmax((hidden @ weight.T + bias)[:, :-1], -1) @ left).log()
    rows = 0.9 * torch.eye(K - 1, dtype=torch.float64)[labels] + 0.1 / (K - 1)
    _assert_same(fused, -(rows * logs).sum(-1).mean(), (hidden, weight))


@each_transition
@each_kind
def test_masks_and_ignored_labels_as_in_the_loss_of_the_logits(noise, kind):
    hidden, weight, bias = _inputs()
    with torch.no_grad():
        hidden[3] = torch.nan
        bias[1] = -torch.inf
    labels = torch.tensor([0, 2, 3, -100, 4, 5, 0, 2, 3, 4])
    shared = {"smoothing": 0.1, "correction": kind(noise)}
    fused = st.linear_cross_entropy(hidden, weight, labels, bias=bias, **shared)
    dense = st.cross_entropy(functional.linear(hidden, weight, bias), labels, **shared)
    torch.testing.assert_close(fused, dense, rtol=1e-12, atol=1e-12)
    (ours,), (theirs,) = (torch.autograd.grad(loss, bias) for loss in (fused, dense))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert bool(ours.isfinite().all())


@each_transition
@each_kind
def test_the_derivatives(noise, kind):
    labels = torch.randint(K, (N,))

    def loss(hidden, weight, bias):
        return st.linear_cross_entropy(
            hidden, weight, labels, bias=bias, smoothing=0.1, correction=kind(noise)
        )

    assert gradcheck(loss, _inputs())


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_stays_within_that_of_its_products(kind, dtype):
    inputs, labels = _inputs(dtype), torch.randint(K, (N,))
    exact = [x.detach().double().requires_grad_() for x in inputs]
    correction = kind(TRANSITIONS["dense"])
    hidden, weight, bias = inputs
    loss = st.linear_cross_entropy(hidden, weight, labels, bias=bias, correction=correction)
    rows = torch.eye(K, dtype=torch.float64)[labels]
    dense = _written_out(exact, rows, correction, TRANSITIONS["dense"].dense(), 0.0, "mean")
    assert loss.dtype == torch.float32
    tolerance = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(loss.double(), dense, rtol=tolerance, atol=tolerance)
    for one, other in zip(
        torch.autograd.grad(loss, inputs), torch.autograd.grad(dense, exact), strict=True
    ):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance)


def test_a_policy_that_learns_sees_the_models_own_prediction_once():
    hidden, weight, bias = _inputs()
    labels = (hidden @ weight.T + bias).argmax(-1)
    plain, corrected = st.OnlineLabelSmoothing(K), st.OnlineLabelSmoothing(K)
    st.linear_cross_entropy(hidden, weight, labels, bias=bias, smoothing=plain)
    correction = st.ForwardCorrection(TRANSITIONS["dense"])
    st.linear_cross_entropy(
        hidden, weight, labels, bias=bias, smoothing=corrected, correction=correction
    )
    assert float(corrected.get_extra_state()["counts"].sum()) == N
    for policy in (plain, corrected):
        policy.end_epoch()
    torch.testing.assert_close(corrected.matrix, plain.matrix)


@each_transition
@each_kind
def test_module_is_the_function_keeps_the_matrix_and_is_plain_in_eval(noise, kind):
    hidden, weight, bias = _inputs()
    labels = torch.randint(K, (N,))
    criterion = st.LinearCrossEntropyLoss(0.1, correction=kind(noise))
    expected = st.linear_cross_entropy(
        hidden, weight, labels, bias=bias, smoothing=0.1, correction=kind(noise)
    )
    assert torch.equal(criterion(hidden, weight, labels, bias=bias), expected)
    kept = any(name.startswith("correction.") for name in criterion.state_dict())
    matrix = noise.table is not None or (kind is _backward and noise.uniform_rate is None)
    assert kept == matrix
    nll = functional.cross_entropy(functional.linear(hidden, weight, bias), labels)
    torch.testing.assert_close(criterion.eval()(hidden, weight, labels, bias=bias), nll)


def test_step_advances_the_warm_up_of_the_correction():
    hidden, weight, bias = _inputs()
    labels = torch.randint(K, (N,))
    criterion = st.LinearCrossEntropyLoss(
        correction=st.BackwardCorrection(TRANSITIONS["pair"], st.Schedule.linear(0.0, 1.0, 2))
    )
    plain = st.linear_cross_entropy(hidden, weight, labels, bias=bias)
    torch.testing.assert_close(criterion(hidden, weight, labels, bias=bias), plain)
    criterion.step()
    half = criterion(hidden, weight, labels, bias=bias)
    correction = _backward(TRANSITIONS["pair"], 0.5)
    expected = st.linear_cross_entropy(hidden, weight, labels, bias=bias, correction=correction)
    torch.testing.assert_close(half, expected)
    assert abs(float((half - plain).detach())) > 1e-3


def test_what_is_no_correction_of_these_classes_is_refused():
    hidden, weight, _ = _inputs()
    labels = torch.randint(K, (N,))
    with pytest.raises(TypeError, match="`correction` must be a `ForwardCorrection`"):
        st.linear_cross_entropy(hidden, weight, labels, correction=torch.eye(K))
    with pytest.raises(TypeError, match="`correction` must be a `ForwardCorrection`"):
        st.LinearCrossEntropyLoss(correction=torch.eye(K))
    with pytest.raises(ValueError, match="`correction` must be of the logits' 6 classes, got 5"):
        st.linear_cross_entropy(
            hidden, weight, labels, correction=st.ForwardCorrection(SymmetricTransition(0.1, 5))
        )


def test_a_label_that_the_noise_never_makes_is_found_in_its_chunk():
    hidden, weight, _ = _inputs()
    never = torch.eye(K, dtype=torch.float64)
    never[1] = never[0]
    labels = torch.zeros(N, dtype=torch.long)
    labels[5] = 1
    correction, options = st.ForwardCorrection(never), st.LossOptions(validate=True)
    with pytest.raises(ValueError, match=r"transition never makes, it does at \(5,\)"):
        st.linear_cross_entropy(hidden, weight, labels, correction=correction, options=options)
