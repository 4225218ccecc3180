"""`cross_entropy_with_metrics` against separate computation in float64."""

import pytest
import torch

import softtargets as st
from softtargets.engine import compiled
from softtargets.testing import dense_cross_entropy, dense_target
from softtargets.testing.compare import block_elements, poisoned_memory

N, K = 24, 5
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25, 1.5])
INF = float("inf")


def batch(*shape, dtype=torch.float32):
    logits = 2 * torch.randn(*(shape or (N,)), K, dtype=dtype)
    labels = torch.randint(K, shape or (N,))
    labels.view(-1)[1::5] = -100
    return logits, labels


@pytest.fixture(params=["eager", "compiled"])
def impl(request, monkeypatch):
    """Each engine; the compiled one as the graph that its kernels are made from."""
    if request.param == "compiled":
        for name, function in [
            ("_values", compiled._write_values),
            ("_gradient_", compiled._write_gradient),
        ]:
            graph = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=False)
            monkeypatch.setattr(compiled, name, graph)
    yield request.param
    torch._dynamo.reset()


def check(logits, target, *, classes_last=None, wanted=None, **keywords):
    """Compare the loss, its gradient and the metrics; return the metrics.

    `wanted` is the target class-last, a `Target`, where that is not `target`.
    """
    classes_last = logits if classes_last is None else classes_last
    ours, plain = (logits.clone().requires_grad_() for _ in range(2))
    with poisoned_memory():
        result = st.cross_entropy_with_metrics(ours, target, **keywords)
    loss = st.cross_entropy(plain, target, **keywords)
    assert torch.equal(result.loss, loss)
    result.loss.sum().backward()
    loss.sum().backward()
    assert torch.equal(ours.grad, plain.grad)
    given = (target if wanted is None else wanted).given
    mask = keywords.get("class_mask")
    compare(result, classes_last, given, mask)
    return result


def compare(result, logits, given, mask=None):
    wide, rows = logits.double(), dense_target(given)
    alive = wide != -INF
    if mask is not None:
        alive = alive & mask
    counted = alive.any(-1) & (rows != 0).any(-1)
    losses = dense_cross_entropy(wide, given, class_mask=mask, reduction="none")
    total = rows.sum(-1)[counted].sum()
    nll = losses.sum() / total if counted.any() else torch.tensor(0.0)
    right = wide.masked_fill(~alive, -INF).argmax(-1) == rows.argmax(-1)
    accuracy = right[counted].double().mean() if counted.any() else torch.tensor(0.0)
    exact = 1e-14 if result.accuracy.dtype == torch.float64 else 1e-6
    torch.testing.assert_close(result.nll.double(), nll.double(), rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(result.accuracy.double(), accuracy.double(), rtol=exact, atol=0)
    assert result.samples == counted.sum()
    assert result.samples.dtype == torch.int64
    assert not any(each.requires_grad for each in result[1:])
    assert result.nll.dtype == result.accuracy.dtype == result.loss.dtype


def labels_of(labels):
    return st.Target.from_labels(labels, K)


class TestTargets:
    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
    def test_labels(self, impl, weight, reduction):
        logits, labels = batch()
        result = check(
            logits, labels, wanted=labels_of(labels), smoothing=0.2, weight=weight,
            reduction=reduction, options=st.LossOptions(impl=impl),
        )  # fmt: skip
        counted = labels != -100
        nll = torch.nn.functional.cross_entropy(logits, labels)
        torch.testing.assert_close(result.nll, nll)
        right = (logits.argmax(-1) == labels)[counted].float().mean()
        torch.testing.assert_close(result.accuracy, right)

    def test_probabilities(self, impl):
        logits, _ = batch()
        probs = torch.softmax(torch.randn(N, K), -1)
        probs[3] = 0
        options = st.LossOptions(impl=impl)
        wanted = st.Target.from_probs(probs)
        check(logits, probs, wanted=wanted, smoothing=0.2, options=options)
        check(logits, 2 * probs, wanted=2 * wanted, weight=WEIGHT, options=options)

    def test_mixes(self, impl):
        logits, labels = batch()
        mixed = labels_of(labels).mix(labels_of(labels.flip(0)), torch.rand(N))
        for smoothing in (None, 0.1, st.OnlineLabelSmoothing(K).eval()):
            check(logits, mixed, smoothing=smoothing, options=st.LossOptions(impl=impl))

    def test_a_smoothed_target_counts_as_it_was(self, impl):
        logits, labels = batch()
        rows = torch.softmax(torch.randn(K, K), -1)
        target = labels_of(labels)
        for smooth in (target.smooth(0.3), target.smooth(0.6, rows)):
            result = check(logits, smooth, options=st.LossOptions(impl=impl))
            plain = st.cross_entropy_with_metrics(logits, target)
            torch.testing.assert_close(result.nll, plain.nll)
            assert result.accuracy == plain.accuracy

    def test_rows_of_a_table(self):
        logits, labels = batch()
        target = labels_of(labels).map_classes(torch.softmax(torch.randn(K, K), -1))
        check(logits, target)

    def test_a_penalty_is_in_the_loss_alone(self):
        logits, labels = batch()
        plain = st.cross_entropy_with_metrics(logits, labels)
        result = check(logits, labels, wanted=labels_of(labels), penalty=st.MarginPenalty(0.5, 1.0))
        assert result.loss > plain.loss + 0.1
        assert result[1:] == plain[1:]


class TestWhatDoesNotCount:
    def test_a_class_may_be_ignored(self):
        logits, labels = batch()
        labels = labels.clamp(min=0)
        wanted = labels_of(labels.masked_fill(labels == 2, -100))
        check(logits, labels, wanted=wanted, ignore_index=2, smoothing=0.1)

    @pytest.mark.parametrize("validate", [None, True])
    def test_the_ignored_class_of_probabilities(self, validate):
        logits, _ = batch()
        probs = torch.softmax(torch.randn(N, K), -1)
        left = st.Target.from_probs(probs.index_fill(-1, torch.tensor([2]), 0))
        options = st.LossOptions(validate=validate)
        for form in (probs, st.Target.from_probs(probs)):
            check(logits, form, wanted=left, ignore_index=2, smoothing=0.1, options=options)

    def test_masked_classes(self, impl):
        logits, labels = batch()
        alive = torch.rand(N, K) > 0.4
        alive[torch.arange(N), labels.clamp(min=0)] = True
        dead = logits.masked_fill(~alive, -INF)
        dead[4] = -INF
        options = st.LossOptions(impl=impl)
        check(dead, labels, wanted=labels_of(labels), smoothing=0.1, options=options)
        logits[5, :] = 1e4
        check(
            logits, labels, wanted=labels_of(labels), class_mask=alive, smoothing=0.1,
            options=options,
        )  # fmt: skip

    def test_a_masked_label_is_an_infinite_nll(self):
        logits, _ = batch()
        logits[0, 3] = -INF
        result = st.cross_entropy_with_metrics(logits, torch.full((N,), 3), smoothing=0.1)
        assert result.loss == result.nll == INF

    @pytest.mark.parametrize("filling", [float("nan"), INF, -INF])
    def test_ignored_rows_may_hold_anything(self, impl, filling):
        logits, labels = batch()
        logits[labels == -100] = filling
        with_rest = st.cross_entropy_with_metrics(
            logits, labels, smoothing=0.1, options=st.LossOptions(impl=impl)
        )
        counted = labels != -100
        alone = st.cross_entropy_with_metrics(logits[counted], labels[counted], smoothing=0.1)
        for mine, theirs in zip(with_rest, alone, strict=True):
            torch.testing.assert_close(mine, theirs)

    def test_all_ignored(self, impl):
        logits, _ = batch()
        options = st.LossOptions(impl=impl)
        result = st.cross_entropy_with_metrics(logits, torch.full((N,), -100), options=options)
        assert [float(each) for each in result] == [0, 0, 0, 0]

    def test_all_dead(self, impl):
        logits = torch.full((N, K), -INF)
        options = st.LossOptions(impl=impl)
        result = st.cross_entropy_with_metrics(logits, torch.zeros(N).long(), options=options)
        assert [float(each) for each in result] == [0, 0, 0, 0]

    def test_an_empty_batch(self):
        result = st.cross_entropy_with_metrics(torch.zeros(0, K), torch.zeros(0).long())
        assert [float(each) for each in result] == [0, 0, 0, 0]

    def test_a_target_that_cancels(self):
        logits, labels = batch()
        target = labels_of(labels)
        result = st.cross_entropy_with_metrics(logits, target - target, normalizer=1.0)
        assert result.loss == result.nll == 0


class TestLayouts:
    @pytest.mark.parametrize("elements", [1, 2 * K, 64, 1 << 20])
    def test_blocks(self, elements):
        logits, labels = batch(4, 3, 2)
        with block_elements(elements):
            check(
                logits.movedim(-1, 1), labels, classes_last=logits, wanted=labels_of(labels),
                smoothing=0.1, weight=WEIGHT,
            )  # fmt: skip

    def test_label_maps(self, impl):
        logits, labels = batch(4, 3, 2)
        result = check(
            logits.movedim(-1, 1).contiguous(), labels, classes_last=logits,
            wanted=labels_of(labels), smoothing=0.1, options=st.LossOptions(impl=impl),
        )  # fmt: skip
        last = st.cross_entropy_with_metrics(logits, labels, smoothing=0.1, class_dim=-1)
        for mine, theirs in zip(result, last, strict=True):
            torch.testing.assert_close(mine, theirs)

    def test_one_sample_without_a_batch(self):
        result = check(torch.randn(K), torch.tensor(2), wanted=labels_of(torch.tensor(2)))
        assert result.samples == 1

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
    def test_dtypes(self, impl, dtype):
        logits, labels = batch(dtype=dtype)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        result = check(
            logits, labels, wanted=labels_of(labels), smoothing=0.1,
            options=st.LossOptions(impl=impl),
        )  # fmt: skip
        assert result.loss.dtype == wide

    def test_reused_logits(self):
        logits, labels = batch()
        leaf = logits.clone().requires_grad_()
        options = st.LossOptions(reuse_logits=True)
        result = st.cross_entropy_with_metrics(leaf * 1, labels, smoothing=0.1, options=options)
        result.loss.backward()
        compare(result, logits, labels_of(labels))
        plain = logits.clone().requires_grad_()
        st.cross_entropy(plain, labels, smoothing=0.1).backward()
        assert torch.equal(leaf.grad, plain.grad)

    def test_through_the_plain_formula(self):
        logits, labels = batch(dtype=torch.float64)
        weight = torch.ones(K, dtype=torch.float64, requires_grad=True)
        check(logits, labels, wanted=labels_of(labels), smoothing=0.1, weight=weight)

    def test_compile(self):
        torch.compiler.reset()
        logits, labels = batch()
        run = torch.compile(st.cross_entropy_with_metrics, fullgraph=True, backend="aot_eager")
        leaf = logits.clone().requires_grad_()
        result = run(leaf, labels, smoothing=0.1)
        result.loss.backward()
        compare(result, logits, labels_of(labels))
        plain = st.cross_entropy_with_metrics(logits, labels, smoothing=0.1)
        for mine, theirs in zip(result, plain, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6, check_dtype=True)


class TestPolicies:
    @pytest.mark.parametrize("storage", ["dense", "bfloat16", "top_k"])
    @pytest.mark.parametrize("elements", [2 * K, 1 << 20])
    def test_a_policy_that_learns_learns_once(self, impl, storage, elements):
        logits, labels = batch()
        with_metrics, plain = (st.OnlineLabelSmoothing(K, storage=storage) for _ in range(2))
        with block_elements(elements):
            for _ in range(2):
                st.cross_entropy(logits, labels, smoothing=plain)
                result = st.cross_entropy_with_metrics(
                    logits, labels, smoothing=with_metrics, options=st.LossOptions(impl=impl)
                )
                compare(result, logits, labels_of(labels))
                mine = with_metrics.get_extra_state()["counts"]
                assert torch.equal(mine, plain.get_extra_state()["counts"])
                assert mine.sum() > 0
                with_metrics.end_epoch()
                plain.end_epoch()
                torch.testing.assert_close(with_metrics.matrix, plain.matrix)

    @pytest.mark.parametrize(
        "policy", [st.MaxSup(0.2), st.Bootstrapping(), st.LabelSmoothing(0.3, convention="K-1")]
    )
    def test_nll_and_accuracy_do_not_depend_on_the_policy(self, policy):
        logits, labels = batch()
        result = check(logits, labels, wanted=labels_of(labels), smoothing=policy)
        plain = st.cross_entropy_with_metrics(logits, labels)
        assert result[1:] == plain[1:]
        assert result.loss != plain.loss

    def test_errors_are_those_of_the_loss(self):
        logits, labels = batch()
        with pytest.raises(ValueError, match="smoothed already"):
            st.cross_entropy_with_metrics(logits, labels_of(labels).smooth(0.1), smoothing=0.1)
        with pytest.raises(ValueError, match="`reduction` must be"):
            st.cross_entropy_with_metrics(logits, labels, reduction="max")
        with pytest.raises(TypeError, match="`logits` must be a floating point tensor"):
            st.cross_entropy_with_metrics(labels, labels)
