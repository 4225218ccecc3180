"""The Triton engine on a real device: the same cases, and sizes that only a device can hold."""

from importlib.util import find_spec

import pytest
import torch

import softtargets as st
from softtargets.engine import LossOptions, example_losses, formula
from softtargets.losses import cross_entropy
from tests.engine.engine_cases import DTYPES, LAYOUTS, TARGETS, compare

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


def test_an_out_of_range_label_shows_and_reads_no_foreign_memory():
    entries = st.Target.from_labels(torch.tensor([0, 9]), 10).to("cuda")
    target = st.Target(num_classes=5, entries=entries.entries)
    logits = torch.randn(2, 5, device="cuda")
    losses = cross_entropy(logits, target, reduction="none", options=TRITON)
    assert losses.isnan().tolist() == [False, True]


def test_triton_is_the_default_on_a_device():
    from softtargets.engine import triton

    logits = torch.randn(4, 9, device="cuda", requires_grad=True)
    target = TARGETS["uniform"]((4,), 9).to("cuda")
    losses = example_losses(logits, target, options=LossOptions()).losses
    assert (
        losses.grad_fn.__class__
        is triton.example_losses(logits, target, None, None, False).losses.grad_fn.__class__
    )


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
