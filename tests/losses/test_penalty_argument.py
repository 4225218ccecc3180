"""`penalty=` of the cross-entropy: `CE_n + s_n R_n` and its mean, in float64 term by term."""

import pytest
import torch

import softtargets as st
from softtargets.testing import dense_cross_entropy

N, K = 8, 5
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25, 1.5])
REDUCTIONS = ["mean", "sum", "none"]
SHIPPED = {
    "margin": lambda: st.MarginPenalty(0.5, 0.3),
    "confidence": lambda: st.ConfidencePenalty(0.4),
    "threshold": lambda: st.ConfidencePenalty(0.4, threshold=1.2),
    "zipf": lambda: st.ZipfPenalty(0.7),
    "acls": lambda: st.ACLSPenalty(0.5, 0.2),
}


def batch(*shape, dtype=torch.float32):
    logits = 2 * torch.randn(*(shape or (N,)), K, dtype=dtype)
    labels = torch.randint(K, shape or (N,))
    labels.view(-1)[1] = -100
    return logits, labels


def margin(logits, alive=None):
    """The penalty of `MarginPenalty(0.5, 0.3)`, row by row."""
    alive = torch.ones_like(logits, dtype=torch.bool) if alive is None else alive
    values = []
    for row, living in zip(logits.reshape(-1, K), alive.reshape(-1, K), strict=True):
        row = row[living]
        values.append(0.3 * sum((row.max() - z - 0.5).relu() for z in row) / len(row))
    return torch.stack(values).reshape(logits.shape[:-1])


def expected(logits, labels, reduction, *, weight=None, mode="per_class", alive=None, rate=0.1):
    """Loss and gradient by the float64 oracle and the formula, classes last."""
    leaf = logits.double().clone().requires_grad_()
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    smooth = target.smooth(rate)
    entropies = dense_cross_entropy(
        leaf, smooth, weight=weight, reduction="none", weight_mode=mode, class_mask=alive
    )
    weights = torch.ones(K).double() if weight is None else weight.double()
    shares = torch.where(labels == -100, 0, weights[labels.clamp(min=0)])
    losses = entropies + shares * margin(leaf, alive)
    loss = losses if reduction == "none" else losses.sum()
    if reduction == "mean":
        loss = loss / shares.sum()
    loss.sum().backward()
    return loss.detach(), leaf.grad


def run(logits, labels, **keywords):
    leaf = logits.clone().requires_grad_()
    keywords = {"penalty": SHIPPED["margin"](), "smoothing": 0.1, **keywords}
    loss = st.cross_entropy(leaf, labels, **keywords)
    loss.sum().backward()
    return loss.detach(), leaf.grad


def same(actual, wanted, tolerance=1e-10):
    for mine, theirs in zip(actual, wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("mode", "weight"),
    [("per_class", None), ("per_class", WEIGHT), ("per_sample", WEIGHT)],
    ids=["plain", "per class", "per sample"],
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
class TestTheFormula:
    def test_value_and_gradient(self, reduction, mode, weight):
        logits, labels = batch(dtype=torch.float64)
        options = st.LossOptions(weight_mode=mode)
        ours = run(logits, labels, reduction=reduction, weight=weight, options=options)
        same(ours, expected(logits, labels, reduction, weight=weight, mode=mode))

    def test_the_module_is_the_function(self, reduction, mode, weight):
        logits, labels = batch()
        options = st.LossOptions(weight_mode=mode)
        keywords = {"weight": weight, "reduction": reduction, "options": options}
        criterion = st.CrossEntropyLoss(0.1, penalty=SHIPPED["margin"](), **keywords)
        loss = criterion(logits, labels)
        assert torch.equal(loss, run(logits, labels, **keywords)[0])

    def test_labels_one_hot_and_target_agree(self, reduction, mode, weight):
        logits, labels = batch()
        target = st.Target.from_labels(labels, K)
        keywords = {
            "weight": weight,
            "reduction": reduction,
            "options": st.LossOptions(weight_mode=mode),
        }
        wanted = run(logits, labels, **keywords)
        for form in (target, target.dense()):
            same(run(logits, form, **keywords), wanted, 1e-6)


@pytest.mark.parametrize("kind", SHIPPED)
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
class TestReusedLogits:
    """The gradient of the cross-entropy takes the memory that the penalty's graph came from."""

    @pytest.mark.parametrize("layout", ["rows", "NCHW"])
    @pytest.mark.parametrize("masked", [False, True])
    def test_the_gradient_is_right(self, kind, dtype, layout, masked):
        shape = (4, 3) if layout == "NCHW" else (N,)
        logits, labels = batch(*shape, dtype=dtype)
        logits = logits.movedim(-1, 1).contiguous()
        mask = torch.ones(K, dtype=torch.bool)
        if masked:
            mask[4] = False
            labels = labels.clamp(max=3)
        results = []
        for reuse in (False, True):
            leaf = logits.clone().requires_grad_()
            made = leaf * 1
            options = st.LossOptions(reuse_logits=reuse)
            loss = st.cross_entropy(
                made, labels, smoothing=0.1, penalty=SHIPPED[kind](), options=options,
                class_mask=mask,
            )  # fmt: skip
            loss.backward()
            results.append((loss.detach(), leaf.grad))
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])
        without = torch.autograd.grad(
            st.cross_entropy(leaf, labels, smoothing=0.1, class_mask=mask), leaf
        )[0]
        assert not torch.equal(without, leaf.grad)


class Forgetful(st.AbstractPenalty):
    """Looks past the copy it should work on."""

    def values(self, logits, target, alive):
        return self.seen.square().sum(-1)

    def forward(self, logits, target, alive=None):
        self.seen = logits
        return super().forward(logits, target, alive)


def test_a_graph_that_needs_overwritten_logits_is_an_error():
    leaf, labels = torch.randn(4, K, requires_grad=True), torch.arange(4)
    made = leaf * 1
    options = st.LossOptions(reuse_logits=True)
    loss = st.cross_entropy(made, labels, penalty=Forgetful(), options=options)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class TestWhatTakesNoPart:
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_masked_classes(self, reduction):
        logits, labels = batch(dtype=torch.float64)
        alive = torch.rand(N, K) > 0.3
        alive[torch.arange(N), labels.clamp(min=0)] = True
        wanted = expected(logits, labels, reduction, alive=alive)
        same(run(logits, labels, reduction=reduction, class_mask=alive), wanted)
        dead = logits.masked_fill(~alive, -torch.inf)
        loss, gradient = run(dead, labels, reduction=reduction)
        same((loss, gradient), wanted)
        assert bool((gradient[~alive] == 0).all())

    @pytest.mark.parametrize("kind", SHIPPED)
    @pytest.mark.parametrize("filling", [float("nan"), float("inf"), -float("inf"), 1e38])
    def test_ignored_rows_are_exactly_0(self, kind, filling):
        logits, labels = batch()
        labels[::2] = -100
        logits[::2] = filling
        keywords = {"penalty": SHIPPED[kind](), "weight": WEIGHT}
        losses, gradient = run(logits, labels, reduction="none", **keywords)
        assert bool((losses[::2] == 0).all())
        assert bool((gradient[::2] == 0).all())
        mean, gradient = run(logits, labels, **keywords)
        clean, wanted = run(logits[1::2], labels[1::2], **keywords)
        same((mean, gradient[1::2]), (clean, wanted), 1e-6)

    @pytest.mark.parametrize("kind", SHIPPED)
    def test_nothing_but_ignored_rows_is_0(self, kind):
        logits, _ = batch()
        loss, gradient = run(logits, torch.full((N,), -100), penalty=SHIPPED[kind]())
        assert loss == 0
        assert bool((gradient == 0).all())

    def test_class_weight_0(self):
        logits, labels = batch()
        labels[:3] = 2
        weight = WEIGHT.clone()
        weight[2] = 0
        options = st.LossOptions(weight_mode="per_sample")
        losses, gradient = run(logits, labels, weight=weight, reduction="none", options=options)
        assert bool((losses[:3] == 0).all())
        assert bool((gradient[:3] == 0).all())

    def test_eval_mode(self):
        logits, labels = batch()
        criterion = st.CrossEntropyLoss(0.1, penalty=SHIPPED["margin"]())
        trained = criterion(logits, labels)
        nll = st.cross_entropy(logits, labels)
        torch.testing.assert_close(criterion.eval()(logits, labels), nll)
        assert trained > nll + 0.1
        assert torch.equal(criterion.train()(logits, labels), trained)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_label_maps(reduction):
    logits, labels = batch(2, 3, 2, dtype=torch.float64)
    wanted, gradient = expected(logits, labels, reduction, weight=WEIGHT)
    ours = run(logits.movedim(-1, 1), labels, reduction=reduction, weight=WEIGHT)
    same(ours, (wanted, gradient.movedim(-1, 1)))


def test_one_sample_without_a_batch():
    logits, _ = batch()
    loss, _ = run(logits[0], torch.tensor(2))
    torch.testing.assert_close(loss, run(logits[:1], torch.tensor([2]))[0])


def test_the_normalizer_divides_the_penalty_too():
    logits, labels = batch(dtype=torch.float64)
    total, gradient = run(logits, labels, reduction="sum", weight=WEIGHT)
    same(run(logits, labels, normalizer=16, weight=WEIGHT), (total / 16, gradient / 16))


@pytest.mark.parametrize("kind", SHIPPED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(kind, dtype):
    logits, labels = batch()
    logits = logits.to(dtype)
    loss, gradient = run(logits, labels, penalty=SHIPPED[kind]())
    wide, wanted = run(logits.float(), labels, penalty=SHIPPED[kind]())
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    same((loss, gradient), (wide, wanted), 4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("kind", SHIPPED)
def test_compile(kind):
    torch.compiler.reset()
    logits, labels = batch()
    criterion = st.CrossEntropyLoss(0.1, penalty=SHIPPED[kind](), weight=WEIGHT)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    results = []
    for call in (criterion, compiled):
        leaf = logits.clone().requires_grad_()
        loss = call(leaf, labels)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    same(results[1], results[0], 1e-6)


@pytest.mark.parametrize("wrong", [0.1, "margin", st.LabelSmoothing(0.1), st.MarginPenalty])
def test_what_is_no_penalty_is_an_error(wrong):
    logits, labels = batch()
    message = "`penalty` must be None or a penalty such as `MarginPenalty\\(\\)`, got"
    with pytest.raises(TypeError, match=message):
        st.cross_entropy(logits, labels, penalty=wrong)
    with pytest.raises(TypeError, match=message):
        st.CrossEntropyLoss(penalty=wrong)


class Scheduled(st.AbstractPenalty):
    """A squared norm of growing weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def values(self, logits, target, alive):
        size = logits.masked_fill(~alive, 0).square().sum(-1)
        return self.weight.tensor(logits.device, logits.dtype) * size


def test_step_advances_the_schedules_of_policy_and_penalty():
    logits, labels = batch(dtype=torch.float64)
    policy = st.LabelSmoothing(st.Schedule.linear(0.0, 0.4, 4))
    penalty = Scheduled(st.Schedule.step((0.0, 0.5), (2,)))
    criterion = st.CrossEntropyLoss(policy, penalty=penalty)
    counted = labels != -100
    for epoch, factor in enumerate((0.0, 0.0, 0.5)):
        plain = st.cross_entropy(logits, labels, smoothing=0.1 * epoch)
        norm = logits.square().sum(-1)[counted].mean()
        torch.testing.assert_close(criterion(logits, labels), plain + factor * norm)
        criterion.step()
    restored = st.CrossEntropyLoss(
        st.LabelSmoothing(st.Schedule.linear(0.0, 0.4, 4)),
        penalty=Scheduled(st.Schedule.step((0.0, 0.5), (2,))),
    )
    restored.load_state_dict(criterion.state_dict())
    assert restored.penalty.weight.count == restored.smoothing.rate.count == 3
    assert torch.equal(restored(logits, labels), criterion(logits, labels))


def test_step_without_schedules_does_nothing():
    st.CrossEntropyLoss(0.1, penalty=st.MarginPenalty()).step()
