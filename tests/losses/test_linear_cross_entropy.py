"""The fused linear layer and cross-entropy against the two written out."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import softtargets as st
from softtargets.engine import linear

D, K = 6, 11


@pytest.fixture(autouse=True, params=[1 << 24, 40], ids=["one chunk", "rows"])
def _chunks(request, monkeypatch):
    monkeypatch.setattr(linear, "CHUNK_ELEMENTS", request.param)


def inputs(*batch, dtype=torch.float64, bias=True):
    hidden = torch.randn(*(batch or (9,)), D, dtype=dtype, requires_grad=True)
    weight = torch.randn(K, D, dtype=dtype, requires_grad=True)
    shift = torch.randn(K, dtype=dtype, requires_grad=True) if bias else None
    return hidden, weight, shift


def targets(batch):
    labels = torch.randint(K, batch)
    labels.view(-1)[1] = -100
    probs = torch.softmax(torch.randn(*batch, K, dtype=torch.float64), -1)
    rows = torch.softmax(torch.randn(K, K, dtype=torch.float64), -1)
    hard = st.Target.from_labels(labels, K, dtype=torch.float64)
    top, indices = probs.topk(3)
    return {
        "labels": labels,
        "probs": probs,
        "prior": hard.smooth(0.2, prior=rows[0]),
        "rows": hard.smooth(0.3, prior=rows),
        "negative": hard.smooth(-0.5, allow_negative=True),
        "top-k": st.Target.from_top_k(indices, top, K),
        "mix": hard.mix(st.Target.from_probs(probs), 0.3),
    }


def assert_same(fused, dense, leaves, tolerance=1e-12):
    incoming = torch.randn_like(dense)
    torch.testing.assert_close(fused, dense, rtol=tolerance, atol=tolerance)
    ours = torch.autograd.grad(fused, leaves, incoming.to(fused.dtype))
    theirs = torch.autograd.grad(dense, leaves, incoming)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch", [(9,), (2, 5)], ids=str)
@pytest.mark.parametrize("kind", ["labels", "probs", "prior", "rows", "negative", "top-k", "mix"])
def test_equals_the_two_written_out(kind, batch, reduction):
    target = targets(batch)[kind]
    leaves = hidden, weight, bias = inputs(*batch)
    smoothing = 0.1 if kind in ("labels", "probs") else None
    keywords = {"smoothing": smoothing, "reduction": reduction}
    fused = st.linear_cross_entropy(hidden, weight, target, bias=bias, **keywords)
    logits = functional.linear(hidden, weight, bias)
    dense = st.cross_entropy(logits, target, class_dim=-1, **keywords)
    assert_same(fused, dense, leaves)


def test_one_sample_without_a_batch():
    _, weight, bias = inputs()
    hidden = torch.randn(D, dtype=torch.float64, requires_grad=True)
    label = torch.tensor(3)
    fused = st.linear_cross_entropy(hidden, weight, label, bias=bias, smoothing=0.1)
    dense = st.cross_entropy(functional.linear(hidden, weight, bias), label, smoothing=0.1)
    assert_same(fused, dense, (hidden, weight, bias))


def test_no_bias_no_gradient_of_the_weight():
    hidden, weight, _ = inputs(bias=False)
    labels = torch.randint(K, (9,))
    loss = st.linear_cross_entropy(hidden, weight.detach(), labels)
    dense = st.cross_entropy(hidden @ weight.detach().T, labels)
    assert_same(loss, dense, (hidden,))
    with torch.no_grad():
        torch.testing.assert_close(st.linear_cross_entropy(hidden, weight, labels), dense)


def test_online_smoothing_observes_each_chunk_once():
    hidden, weight, bias = inputs(30)
    labels = (hidden @ weight.T + bias).argmax(-1)
    labels[::3] = (labels[::3] + 1) % K
    fused, dense = st.OnlineLabelSmoothing(K), st.OnlineLabelSmoothing(K)
    for _ in range(2):
        for reduction in ("mean", "none"):
            keywords = {"reduction": reduction, "smoothing": fused}
            ours = st.linear_cross_entropy(hidden, weight, labels, bias=bias, **keywords)
            logits = functional.linear(hidden, weight, bias)
            theirs = st.cross_entropy(logits, labels, smoothing=dense, reduction=reduction)
            assert_same(ours, theirs, (hidden, weight, bias))
        fused.end_epoch()
        dense.end_epoch()
        torch.testing.assert_close(fused.matrix, dense.matrix, rtol=0, atol=1e-15)
    before = fused.get_extra_state()["counts"].clone()
    with torch.no_grad():
        st.linear_cross_entropy(hidden, weight, labels, bias=bias, smoothing=fused)
    assert torch.equal(fused.get_extra_state()["counts"], before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_stays_within_that_of_its_products(dtype):
    hidden, weight, bias = inputs(40, dtype=dtype)
    labels = torch.randint(K, (40,))
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    loss = st.linear_cross_entropy(hidden, weight, labels, bias=bias, smoothing=0.1)
    dense = st.cross_entropy(functional.linear(*exact), labels, smoothing=0.1)
    assert loss.dtype == torch.float32
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(loss.double(), dense, rtol=tolerance, atol=tolerance)
    ours = torch.autograd.grad(loss, (hidden, weight, bias))
    for one, other in zip(ours, torch.autograd.grad(dense, exact), strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance)


def test_a_loss_scale_reaches_the_gradient_before_it_is_rounded_to_half():
    hidden, weight, bias = inputs(40, dtype=torch.float16)
    labels = torch.randint(K, (40,))
    tiny = 2.0**-20
    for reduction in ("sum", "none"):
        loss = st.linear_cross_entropy(hidden, weight, labels, bias=bias, reduction=reduction)
        (plain,) = torch.autograd.grad(loss.sum() * tiny, hidden, retain_graph=True)
        (scaled,) = torch.autograd.grad(loss.sum() * tiny * 2.0**16, hidden)
        assert (plain.float() * 2.0**16 - scaled.float()).abs().max() > 1e-4
        assert (scaled != 0).float().mean() > (plain != 0).float().mean()


def test_autocast_multiplies_in_its_dtype_and_returns_float32_gradients():
    hidden, weight, bias = inputs(40, dtype=torch.float32)
    labels = torch.randint(K, (40,))
    with torch.autocast("cpu", torch.bfloat16):
        loss = st.linear_cross_entropy(hidden, weight, labels, bias=bias)
    low = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight, bias)]
    expected = st.linear_cross_entropy(low[0], low[1], labels, bias=low[2])
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient.dtype == torch.float32


def test_accumulation_with_a_normalizer_is_one_big_batch():
    hidden, weight, bias = inputs(12)
    labels = torch.randint(K, (12,))
    labels[:3] = -100
    tokens = int((labels != -100).sum())
    whole = st.linear_cross_entropy(hidden, weight, labels, bias=bias, smoothing=0.1)
    parts = [
        st.linear_cross_entropy(
            hidden[part], weight, labels[part], bias=bias, smoothing=0.1, normalizer=tokens
        )
        for part in (slice(0, 5), slice(5, 12))
    ]
    assert_same(sum(parts), whole, (hidden, weight, bias))


def test_tied_weights_get_both_gradients():
    embedding = torch.randn(K, D, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(K, (9,))
    tokens = torch.randint(K, (9,))
    fused = st.linear_cross_entropy(embedding[tokens].tanh(), embedding, labels, smoothing=0.1)
    dense = st.cross_entropy(embedding[tokens].tanh() @ embedding.T, labels, smoothing=0.1)
    assert_same(fused, dense, (embedding,))


def test_a_class_ruled_out_by_its_bias():
    hidden, weight, bias = inputs()
    masked = bias.detach().clone()
    masked[4] = -torch.inf
    labels = torch.randint(4, (9,))
    fused = st.linear_cross_entropy(hidden, weight, labels, bias=masked, smoothing=0.1)
    dense = st.cross_entropy(functional.linear(hidden, weight, masked), labels, smoothing=0.1)
    assert_same(fused, dense, (hidden, weight))
    assert torch.isfinite(fused)


def test_a_second_backward_pass_and_the_refusal_of_a_double_one():
    hidden, weight, bias = inputs()
    labels = torch.randint(K, (9,))
    loss = st.linear_cross_entropy(hidden, weight, labels, bias=bias)
    (first,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    (second,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(loss, hidden, create_graph=True)


# torch's own forward mode compiles with what it has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_what_would_be_silently_wrong_is_refused():
    hidden, weight, _ = inputs(bias=False)
    probs = torch.softmax(torch.randn(9, K, dtype=torch.float64, requires_grad=True), -1)
    with pytest.raises(ValueError, match="`target` must not require a gradient"):
        st.linear_cross_entropy(hidden, weight, probs)
    labels = torch.randint(K, (9,))
    transforms = {
        "grad": torch.func.grad(lambda h: st.linear_cross_entropy(h, weight, labels)),
        "vmap": torch.func.vmap(lambda h: st.linear_cross_entropy(h, weight, labels[0])),
        "jvp": lambda h: torch.func.jvp(
            lambda x: st.linear_cross_entropy(x, weight, labels), (h,), (h,)
        ),
    }
    refused = r"cannot run under torch\.func .* use `cross_entropy` on the logits"
    for transformed in transforms.values():
        with pytest.raises(RuntimeError, match=refused):
            transformed(hidden.detach())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(hidden, hidden.detach())
        with pytest.raises(RuntimeError, match=refused):
            st.linear_cross_entropy(dual, weight, labels)
        shift = torch.autograd.forward_ad.make_dual(weight[:, 0], weight[:, 1])
        with pytest.raises(RuntimeError, match=refused):
            st.linear_cross_entropy(hidden, weight, labels, bias=shift)
        plain = st.linear_cross_entropy(hidden, weight, labels)
    assert torch.equal(plain, st.linear_cross_entropy(hidden, weight, labels))


def test_everything_ignored_is_zero():
    hidden, weight, bias = inputs()
    labels = torch.full((9,), -100)
    loss = st.linear_cross_entropy(hidden, weight, labels, bias=bias, smoothing=0.1)
    assert float(loss.detach()) == 0
    for gradient in torch.autograd.grad(loss, (hidden, weight, bias)):
        assert bool((gradient == 0).all())


def test_module_is_the_function_and_eval_gives_the_nll():
    hidden, weight, bias = inputs()
    labels = torch.randint(K, (9,))
    criterion = st.LinearCrossEntropyLoss(0.1)
    expected = st.linear_cross_entropy(hidden, weight, labels, bias=bias, smoothing=0.1)
    assert torch.equal(criterion(hidden, weight, labels, bias=bias), expected)
    nll = functional.cross_entropy(functional.linear(hidden, weight, bias), labels)
    smoothed = st.Target.from_labels(labels, K).smooth(0.1)
    for target in (labels, smoothed):
        torch.testing.assert_close(criterion.eval()(hidden, weight, target, bias=bias), nll)
    policy = st.OnlineLabelSmoothing(K)
    assert "smoothing.matrix" in st.LinearCrossEntropyLoss(policy).state_dict()


def test_training_a_language_model_head_learns():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, D, generator=generator)
    labels = torch.randint(K, (64,), generator=generator)
    head = nn.Linear(D, K)
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    losses = []
    for _ in range(30):
        loss = st.linear_cross_entropy(hidden, head.weight, labels, bias=head.bias, smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": torch.randn(K, D + 1)}, ValueError, r"`weight` \(K, D\), got"),
        ({"weight": torch.randn(K, D).double()}, TypeError, "`weight` must have the dtype"),
        ({"bias": torch.randn(K + 1)}, ValueError, r"`bias` must have shape \(11,\)"),
        ({"target": torch.randint(K, (8,))}, ValueError, r"labels of shape \(9,\)"),
        ({"target": torch.full((9,), K)}, ValueError, "`labels` must be in 0 .. 10"),
        ({"smoothing": 1.3}, ValueError, r"`rate` must be in \[0, 1\], got 1.3"),
        (
            {"smoothing": st.InstanceLabelSmoothing(0.1, spread="teacher")},
            TypeError,
            "needs its teacher",
        ),
        ({"options": st.LossOptions(reuse_logits=True)}, ValueError, "`reuse_logits` has no"),
        ({"reduction": "sum", "normalizer": 3}, ValueError, "`normalizer` replaces"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {
        "hidden": torch.randn(9, D),
        "weight": torch.randn(K, D),
        "target": torch.randint(K, (9,)),
    } | change
    with pytest.raises(error, match=message):
        st.linear_cross_entropy(
            arguments.pop("hidden"), arguments.pop("weight"), arguments.pop("target"), **arguments
        )


def test_float16_weights_get_a_finite_gradient_from_many_rows():
    samples, classes = 512 * 128, 19
    hidden = (torch.randn(samples, 8).relu() * 16).half()
    weight = torch.zeros(classes, 8).half().requires_grad_()
    labels = (torch.rand(samples) < 0.2).long()
    scale = 2.0**12
    loss = st.linear_cross_entropy(hidden, weight, labels)
    (ours,) = torch.autograd.grad(loss * scale, weight)
    logits = functional.linear(hidden.double(), weight.double())
    (theirs,) = torch.autograd.grad(st.cross_entropy(logits, labels), weight)
    torch.testing.assert_close(ours.float() / scale, theirs.float(), rtol=5e-3, atol=1e-3)


class _Learned(st.AbstractSmoothing):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.2))

    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        return target.blend(self.rate)


class _OwnWords(st.AbstractSmoothing):
    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        own = st.Target.from_probs(torch.softmax(logits, -1))
        return (0.8 * target + 0.2 * own).smoothed_from(target)


@pytest.mark.parametrize("policy", [_Learned, _OwnWords])
def test_a_target_that_wants_a_gradient_is_refused(policy):
    hidden, weight, _ = inputs(bias=False)
    labels = torch.randint(K, (9,))
    with pytest.raises(TypeError, match="returns a target that requires a gradient"):
        st.linear_cross_entropy(hidden, weight, labels, smoothing=policy())
    with torch.no_grad():
        st.linear_cross_entropy(hidden, weight, labels, smoothing=policy())


def test_evaluation_forms_no_gradient(monkeypatch):
    hidden, weight, bias = inputs()
    monkeypatch.setattr(linear, "_Gradients", lambda *_: pytest.fail("a gradient was formed"))
    with torch.no_grad():
        st.linear_cross_entropy(hidden, weight, torch.randint(K, (9,)), bias=bias)


def test_an_empty_inner_dimension_is_zero():
    _, weight, bias = inputs()
    hidden = torch.randn(2, 0, D, dtype=torch.float64, requires_grad=True)
    loss = st.linear_cross_entropy(hidden, weight, torch.zeros(2, 0, dtype=torch.long), bias=bias)
    loss.backward()
    assert loss == 0
    assert bool((weight.grad == 0).all())


def test_options_that_cannot_be_kept_are_refused():
    hidden, weight, bias = inputs()
    labels = torch.randint(4, (9,))
    for options in (st.LossOptions(impl="triton"), st.LossOptions(weight_mode="per_sample")):
        with pytest.raises(ValueError, match="`options` must leave"):
            st.linear_cross_entropy(hidden, weight, labels, options=options)
    dead = bias.detach().clone()
    dead[int(labels[0])] = -torch.inf
    with pytest.raises(ValueError, match="must not put mass on a masked class"):
        st.linear_cross_entropy(
            hidden, weight, labels, bias=dead, options=st.LossOptions(validate=True)
        )
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(TypeError, match="`weight` must have"),
    ):
        st.linear_cross_entropy(hidden.float(), weight, labels)


def test_the_compiled_engine_is_refused():
    options = st.LossOptions(impl="compiled")
    with pytest.raises(ValueError, match=r"must leave `impl` at None or \"eager\""):
        st.linear_cross_entropy(
            torch.randn(2, 3), torch.randn(4, 3), torch.tensor([0, 1]), options=options
        )


def test_a_target_changed_before_the_backward_pass_is_noticed():
    hidden, weight = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    probs = torch.rand(2, 4)
    losses = st.linear_cross_entropy(hidden, weight, probs, reduction="none")
    probs.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        losses.sum().backward()
