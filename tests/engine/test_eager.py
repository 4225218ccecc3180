import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import softtargets as st
from softtargets.testing.compare import block_elements

K = 6
REUSE = st.LossOptions(reuse_logits=True)


def batch(*shape):
    return torch.randn(*shape, K), torch.randint(K, shape)


def gradient_of(logits, labels, **keywords):
    leaf = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    st.cross_entropy(leaf, labels, smoothing=0.1, **keywords).backward()
    return leaf.grad


class Sizes(TorchDispatchMode):
    """Records the storage of every tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.storages = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                self.storages[storage.data_ptr()] = storage.nbytes()
        return result

    def large(self, nbytes):
        return [size for size in self.storages.values() if size >= nbytes]


@pytest.mark.parametrize("policy", ["LS", "OLS", "hard", "prior"])
def test_evaluation_makes_no_tensor_of_the_logits_size(policy):
    logits, labels = torch.randn(512, 50), torch.randint(50, (512,))
    prior = torch.full((50,), 0.02)
    smoothing = {
        "LS": 0.1,
        "OLS": st.OnlineLabelSmoothing(50),
        "hard": None,
        "prior": st.LabelSmoothing(0.1, prior),
    }[policy]
    with block_elements(50 * 16), torch.no_grad(), Sizes() as sizes:
        st.cross_entropy(logits, labels, smoothing=smoothing)
    known = logits.untyped_storage().data_ptr()
    assert [at for at, n in sizes.storages.items() if n >= logits.nbytes and at != known] == []


def test_training_makes_one_tensor_of_the_logits_size():
    leaf, labels = torch.randn(512, 50, requires_grad=True), torch.randint(50, (512,))
    logits = leaf * 1
    with block_elements(50 * 16), Sizes() as sizes:
        loss = st.cross_entropy(logits, labels, smoothing=0.1)
        (gradient,) = torch.autograd.grad(loss, logits)
    sizes.storages.pop(logits.untyped_storage().data_ptr(), None)
    assert sizes.large(logits.nbytes) == [gradient.nbytes]


@pytest.mark.parametrize("shape", [(37,), (5, 7), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("elements", [1, K, 4 * K, 10_000])
def test_block_size_does_not_matter(shape, elements):
    logits, labels = batch(*shape)
    images = logits.movedim(-1, 1) if len(shape) > 1 else logits
    whole = gradient_of(images, labels)
    value = st.cross_entropy(images, labels, smoothing=0.1)
    with block_elements(elements):
        torch.testing.assert_close(gradient_of(images, labels), whole)
        torch.testing.assert_close(st.cross_entropy(images, labels, smoothing=0.1), value)


@pytest.mark.parametrize("elements", [4 * K, 10_000])
def test_gradients_have_the_strides_of_the_logits(elements):
    contiguous = torch.randn(2, K, 3, 4)
    labels = torch.randint(K, (2, 3, 4))
    expected = gradient_of(contiguous, labels)
    with block_elements(elements):
        for logits in (
            contiguous,
            contiguous.to(memory_format=torch.channels_last),
            contiguous.transpose(2, 3).contiguous().transpose(2, 3),
        ):
            gradient = gradient_of(logits, labels)
            assert gradient.stride() == logits.stride()
            torch.testing.assert_close(gradient, expected)


def test_expanded_and_sliced_logits():
    row, labels = torch.randn(1, K), torch.randint(K, (5,))
    leaf = row.clone().requires_grad_()
    st.cross_entropy(leaf.expand(5, K), labels, smoothing=0.1).backward()
    expected = gradient_of(row.repeat(5, 1), labels).sum(0, keepdim=True)
    torch.testing.assert_close(leaf.grad, expected)
    wide = torch.randn(5, 2 * K, requires_grad=True)
    st.cross_entropy(wide[:, ::2], labels, smoothing=0.1).backward()
    torch.testing.assert_close(
        wide.grad[:, ::2], gradient_of(wide.detach()[:, ::2].contiguous(), labels)
    )
    assert bool((wide.grad[:, 1::2] == 0).all())


@pytest.mark.parametrize("class_dim", [0, 1, 2, -1, -3])
def test_class_dim(class_dim):
    logits, labels = batch(3, 4)
    moved = logits.movedim(-1, class_dim)
    leaf = moved.clone().requires_grad_()
    loss = st.cross_entropy(leaf, labels, smoothing=0.1, class_dim=class_dim)
    loss.backward()
    torch.testing.assert_close(loss, st.cross_entropy(logits, labels, smoothing=0.1, class_dim=-1))
    torch.testing.assert_close(
        leaf.grad.movedim(class_dim, -1), gradient_of(logits, labels, class_dim=-1)
    )


class TestReuseLogits:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("form", ["(N, K)", "(N, K, H, W)", "masked", "class_mask", "weights"])
    @pytest.mark.parametrize("elements", [4 * K, 10_000])
    def test_same_numbers_in_the_logits_memory(self, elements, form, dtype):
        logits, labels = batch(4, 3, 2) if form == "(N, K, H, W)" else batch(24)
        logits = logits.movedim(-1, 1).contiguous().to(dtype) if logits.dim() > 2 else logits
        logits = logits.to(dtype)
        keywords = {"smoothing": 0.1}
        if form == "masked":
            labels = labels.clamp(max=K - 2)
            logits[:, -1] = -torch.inf
        if form == "class_mask":
            labels = labels.clamp(max=K - 2)
            keywords["class_mask"] = torch.arange(K) < K - 1
        if form == "weights":
            keywords["weight"] = torch.linspace(0.5, 2, K)
        results = []
        for options in (None, REUSE):
            leaf = logits.clone().requires_grad_()
            output = leaf * 1
            with block_elements(elements):
                loss = st.cross_entropy(output, labels, options=options, **keywords)
                version = output._version
                (gradient,) = torch.autograd.grad(loss, output)
            reused = gradient.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
            assert reused == (options is REUSE)
            assert (output._version > version) == (options is REUSE)
            results.append((loss.detach(), gradient.clone()))
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])

    def test_a_second_use_of_the_logits_raises(self):
        leaf = torch.randn(4, K, requires_grad=True)
        labels = torch.randint(K, (4,))
        logits = leaf * 1
        loss = st.cross_entropy(logits, labels, options=REUSE)
        other = logits.square().sum()
        torch.autograd.grad(loss, logits, retain_graph=True)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            other.backward()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    @pytest.mark.parametrize("shape", [(4, K), (2, K, 3), (K,)], ids=str)
    def test_a_leaf_is_refused(self, shape):
        leaf = torch.randn(shape, requires_grad=True)
        labels = torch.zeros(shape[:1] + shape[2:] if len(shape) > 1 else (), dtype=torch.long)
        with pytest.raises(ValueError, match="would overwrite a leaf"):
            st.cross_entropy(leaf, labels, options=REUSE)
        with torch.no_grad():
            before = leaf.clone()
            st.cross_entropy(leaf, labels, options=REUSE)
        assert torch.equal(leaf, before)

    def test_expanded_logits_are_refused(self):
        logits = (torch.randn(1, K, requires_grad=True) * 1).expand(4, K)
        with pytest.raises(ValueError, match="memory of their own"):
            st.cross_entropy(logits, torch.randint(K, (4,)), options=REUSE)

    def test_double_backward_leaves_the_logits_alone(self):
        leaf = torch.randn(4, K, requires_grad=True)
        logits = leaf * 1
        before = logits.detach().clone()
        loss = st.cross_entropy(logits, torch.randint(K, (4,)), options=REUSE)
        torch.autograd.grad(loss, leaf, create_graph=True)
        assert torch.equal(logits, before)


@pytest.mark.parametrize("classes", [5, 40, 5000])
def test_large_logits_lose_no_precision(classes):
    """`exp(z - logsumexp)` would: its argument is as coarse as the logits."""
    logits = torch.randn(6, classes) + torch.tensor([[1e4], [-1e4], [3e5], [0.0], [7.0], [-3e4]])
    labels = torch.randint(classes, (6,))
    wide = logits.double().requires_grad_()
    torch.nn.functional.cross_entropy(wide, labels, label_smoothing=0.1).backward()
    torch.testing.assert_close(
        gradient_of(logits, labels).double(), wide.grad, rtol=2e-6, atol=1e-7
    )
    policy = st.OnlineLabelSmoothing(classes, correct_only=False)
    st.cross_entropy(logits.requires_grad_(), labels, smoothing=policy)
    sums = torch.zeros(classes, classes, dtype=torch.float64)
    sums.index_add_(0, labels, wide.detach().softmax(-1))
    found = policy.get_extra_state()["sums"]
    torch.testing.assert_close(found.double(), sums, rtol=5e-6, atol=1e-7)


def test_a_reused_gradient_belongs_to_no_graph():
    logits = torch.randn(4, K, requires_grad=True) * 1
    loss = st.cross_entropy(logits, torch.tensor([0, 1, 2, 3]), options=REUSE)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.data_ptr() == logits.data_ptr()
    assert not gradient.requires_grad


def test_overlapping_logits_cannot_be_reused():
    base = torch.randn(20, requires_grad=True) * 1
    windows = base.unfold(0, 5, 3)
    with pytest.raises(ValueError, match=r"expanded or overlapping"):
        st.cross_entropy(windows, torch.zeros(6, dtype=torch.long), options=REUSE)


def test_reuse_is_no_error_where_no_gradient_is_formed():
    run = torch.compile(st.CrossEntropyLoss(options=REUSE), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert run(torch.randn(2, K), torch.tensor([0, 1])).isfinite()


def test_the_mass_is_not_the_target_itself():
    target = st.Target.from_labels(torch.tensor([0, -100]), K)
    target.mass()[:] = 5
    assert target.mass().tolist() == [1, 0]
