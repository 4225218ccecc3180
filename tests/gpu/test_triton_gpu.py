"""The Triton engine on a real device: the same cases, and sizes that only a device can hold."""

from importlib.util import find_spec

import pytest
import torch

import softtargets as st
from softtargets.engine import LossOptions, example_losses, formula
from softtargets.losses import cross_entropy
from tests.engine.engine_cases import DTYPES, LAYOUTS, TARGETS, compare
from tests.engine.statistics_cases import compare_statistics, learn, learned

TRITON = LossOptions(impl="triton")

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed"),
]


def _needs_memory(gibibytes):
    if torch.cuda.mem_get_info()[0] < gibibytes * 2**30:
        pytest.skip(f"needs {gibibytes} GiB of free device memory")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TARGETS)
def test_every_target_and_dtype(name, dtype):
    compare(name, dtype, device="cuda")
    compare(name, dtype, classes=1000, weighted=True, masked=True, dead=0.2, device="cuda")


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "expanded"])
def test_every_layout(layout, reuse):
    compare("everything", torch.float32, layout, masked=True, device="cuda", reuse=reuse)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["uniform", "prior", "top-k, uniform rest", "probs"])
def test_vocabularies_beyond_two_to_the_17(name, dtype):
    compare(name, dtype, classes=2**17 + 3, device="cuda")
    compare(name, dtype, classes=2**17 + 3, device="cuda", masked=True, reuse=True)


@pytest.mark.parametrize("correct_only", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_online_statistics(layout, dtype, correct_only):
    compare_statistics(dtype, layout, correct_only=correct_only, device="cuda")
    compare_statistics(
        dtype, layout, classes=4099, masked=True, dead=0.2, correct_only=correct_only,
        device="cuda", repeats=1,
    )  # fmt: skip


def test_online_statistics_of_many_samples_of_few_labels():
    """Thousands of programs add to the same rows at once, and none of it is lost."""
    logits, labels = torch.randn(40_000, 257), torch.randint(0, 2, (40_000,))
    logits[torch.arange(40_000), labels] += 3
    policies = [st.OnlineLabelSmoothing(257).to("cuda") for _ in range(2)]
    for policy, impl in zip(policies, ("triton", "eager"), strict=True):
        learn(policy, logits.to("cuda"), labels.to("cuda"), impl=impl)
    (ours, counts), (theirs, theirs_counts) = map(learned, policies)
    assert torch.equal(counts, theirs_counts)
    probs = logits.double().softmax(-1)
    right = logits.argmax(-1) == labels
    expected = torch.zeros(257, 257, dtype=torch.float64)
    expected.index_add_(0, labels[right], probs[right])
    for sums in (ours, theirs):
        torch.testing.assert_close(sums.double(), expected, rtol=1e-4, atol=1e-5)


def test_online_statistics_repeat_exactly_under_deterministic_algorithms():
    logits, labels = torch.randn(4096, 33, device="cuda"), torch.randint(0, 3, (4096,)).cuda()
    policies = [st.OnlineLabelSmoothing(33, correct_only=False).to("cuda") for _ in range(2)]
    torch.use_deterministic_algorithms(True)
    try:
        for policy in policies:
            cross_entropy(logits, labels, smoothing=policy, options=TRITON)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(learned(policies[0])[0], learned(policies[1])[0])


def test_an_out_of_range_label_shows_and_reads_no_foreign_memory():
    entries = st.Target.from_labels(torch.tensor([0, 9]), 10).to("cuda")
    target = st.Target(num_classes=5, entries=entries.entries)
    logits = torch.randn(2, 5, device="cuda")
    losses = cross_entropy(logits, target, reduction="none", options=TRITON)
    assert losses.isnan().tolist() == [False, True]


def test_it_runs_by_name_only(monkeypatch):
    from softtargets.engine.triton import TritonEngine

    ran = []
    run = TritonEngine.forward
    monkeypatch.setattr(TritonEngine, "forward", lambda *args: ran.append(args) or run(*args))
    logits = torch.randn(4, 9, device="cuda")
    target = TARGETS["uniform"]((4,), 9).to("cuda")
    example_losses(logits, target, options=LossOptions())
    assert not ran
    example_losses(logits, target, options=TRITON)
    assert len(ran) == 1


@pytest.mark.parametrize("strided", [False, True])
def test_more_than_two_to_the_31_elements(strided):
    _needs_memory(14)
    rows, classes = (2**16 + 8, 2**15 + 3) if not strided else (2**17 + 8, 2**14 + 3)
    logits = torch.empty((classes, rows) if strided else (rows, classes), dtype=torch.float16)
    logits = torch.empty_like(logits, device="cuda").normal_()
    logits = logits.T if strided else logits
    assert logits.numel() > 2**31
    labels = torch.randint(0, classes, (rows,), device="cuda")
    ends = [0, 1, rows // 2, rows - 2, rows - 1]
    kept = logits[ends].double().requires_grad_()
    target = st.Target.from_labels(labels, classes).smooth(0.1)
    expected = formula.values(kept, target[ends].to(torch.float64), None).losses
    (expected_grad,) = torch.autograd.grad(expected.sum(), kept)
    leaf = logits.requires_grad_()
    losses = cross_entropy(
        leaf * 1, target, reduction="none", options=LossOptions(impl="triton", reuse_logits=True)
    )
    (grad,) = torch.autograd.grad(losses.sum(), leaf)
    torch.testing.assert_close(losses[ends].double(), expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad[ends].double(), expected_grad, rtol=2e-3, atol=1e-6)
