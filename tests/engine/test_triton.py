"""The Triton engine's numerics on a CPU, through Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import softtargets as st
from softtargets.engine import LossOptions, formula
from softtargets.losses import cross_entropy
from softtargets.terms import Entries
from softtargets.testing.compare import random_logits
from tests.engine.engine_cases import DTYPES, LAYOUTS, TARGETS, compare

TRITON = LossOptions(impl="triton")

installed = find_spec("triton") is not None

needs_interpreter = [
    pytest.mark.skipif(not installed, reason="Triton is not installed"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="tests/gpu runs them on the device"),
    # What NumPy says where infinities meet; the kernels select what is finite afterwards.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter"),
]


def _mark(cls):
    for mark in needs_interpreter:
        cls = mark(cls)
    return cls


@_mark
class TestAgainstTheOracle:
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("name", TARGETS)
    def test_every_target_and_dtype(self, name, dtype):
        compare(name, dtype)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("name", TARGETS)
    def test_every_layout(self, name, layout):
        compare(name, torch.float32, layout)

    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("dead", [0.0, 0.3])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("name", TARGETS)
    def test_weights_and_masked_classes(self, name, weighted, dead, masked):
        compare(name, torch.float64, weighted=weighted, masked=masked, dead=dead)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_dtypes_by_layout_with_masks(self, layout, dtype):
        compare("everything", dtype, layout, weighted=True, masked=True, dead=0.2)

    @pytest.mark.parametrize("classes", [1, 16, 37])
    @pytest.mark.parametrize(
        "name", ["top-k, uniform rest", "row prior", "dense mix", "everything"]
    )
    def test_loops_over_blocks_of_classes(self, name, classes, small_tiles):
        compare(name, torch.float32, classes=classes, dead=0.2)

    @pytest.mark.parametrize("layout", ["rows", "strided classes"])
    def test_more_classes_than_a_whole_tile(self, layout):
        compare("online", torch.float32, layout, classes=2051)
        compare("uniform", torch.bfloat16, layout, classes=8195)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "expanded"])
    def test_gradient_in_the_memory_of_the_logits(self, layout, dtype):
        for name in ("top-k, uniform rest", "same class twice", "everything"):
            compare(name, dtype, layout, masked=True, dead=0.2, reuse=True)

    def test_many_entries(self, small_tiles):
        classes = torch.randint(0, 150, (3, 140))
        weights = torch.rand(3, 140)
        entries = st.Target(num_classes=150, entries=Entries(classes, weights / 140))
        logits = torch.randn(3, 150, dtype=torch.float64, requires_grad=True)
        ours = cross_entropy(logits, entries, options=TRITON)
        theirs = cross_entropy(logits, entries.dense().double())
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
        ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


@_mark
class TestEdges:
    @pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5)])
    def test_empty_batches(self, shape):
        logits = torch.zeros(shape, requires_grad=True)
        labels = torch.zeros(shape[:-1], dtype=torch.long)
        losses = cross_entropy(logits, labels, reduction="none", class_dim=-1, options=TRITON)
        assert losses.shape == shape[:-1]
        losses.sum().backward()
        assert logits.grad.shape == shape

    def test_a_single_sample_without_batch(self):
        logits = torch.randn(7, requires_grad=True)
        loss = cross_entropy(logits, torch.tensor(3), smoothing=0.1, options=TRITON)
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(3), label_smoothing=0.1)
        torch.testing.assert_close(loss, expected)

    def test_ignored_rows_may_hold_anything(self):
        logits = torch.randn(3, 5)
        logits[1] = torch.nan
        logits.requires_grad_()
        target = st.Target.from_labels(torch.tensor([0, -100, 4]), 5).smooth(0.1)
        losses = cross_entropy(logits, target, reduction="none", options=TRITON)
        (grad,) = torch.autograd.grad(losses.sum(), logits)
        assert losses[1] == 0
        assert bool((grad[1] == 0).all())
        assert bool(grad.isfinite().all())

    def test_nan_logits_show(self):
        logits = torch.randn(2, 5)
        logits[0, 3] = torch.nan
        losses = cross_entropy(logits, torch.tensor([0, 1]), reduction="none", options=TRITON)
        assert losses.isnan().tolist() == [True, False]

    def test_a_masked_label_is_infinite(self):
        logits = torch.randn(2, 5)
        logits[0, 3] = -torch.inf
        losses = cross_entropy(logits, torch.tensor([3, 1]), reduction="none", options=TRITON)
        assert losses.isposinf().tolist() == [True, False]

    def test_labels_out_of_range_show(self):
        entries = st.Target.from_labels(torch.tensor([0, 9]), 10)
        target = st.Target(num_classes=5, entries=entries.entries)
        losses = cross_entropy(torch.randn(2, 5), target, reduction="none", options=TRITON)
        assert losses.isnan().tolist() == [False, True]

    def test_extreme_logits(self):
        logits = torch.tensor([[6e4, -6e4, 0.0], [1e38, -1e38, 3e38], [-1e30, -1e30, -1e30]])
        losses = cross_entropy(logits, torch.tensor([0, 2, 1]), reduction="none", options=TRITON)
        expected = torch.nn.functional.cross_entropy(
            logits.double(), torch.tensor([0, 2, 1]), reduction="none"
        )
        torch.testing.assert_close(losses[:2], expected[:2].float())
        assert bool(losses.isfinite().all())

    def test_large_loss_scale_keeps_small_half_precision_gradients(self):
        logits = torch.zeros(1, 4096, dtype=torch.float16, requires_grad=True)
        target = st.Target.from_labels(torch.tensor([0]), 4096)
        loss = cross_entropy(logits, target, options=TRITON)
        (grad,) = torch.autograd.grad(loss * 2.0**12, logits)
        torch.testing.assert_close(grad[0, 1:], torch.full((4095,), 1.0, dtype=torch.float16))


@_mark
class TestAutograd:
    def test_double_backward(self):
        target = TARGETS["everything"]((3,), 5)

        def losses(logits):
            return cross_entropy(logits, target.to(torch.float64), reduction="none", options=TRITON)

        logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(losses, logits)
        assert torch.autograd.gradgradcheck(losses, logits)

    def test_reused_logits_cannot_be_read_again(self):
        leaf = torch.randn(3, 5, requires_grad=True)
        logits = leaf * 1
        other = logits.exp().sum() + (logits * logits).sum()
        loss = cross_entropy(
            logits, torch.tensor([0, 1, 2]), options=LossOptions(impl="triton", reuse_logits=True)
        )
        loss.backward(inputs=[logits])
        with pytest.raises(RuntimeError, match="inplace"):
            other.backward()

    def test_a_target_changed_in_place_is_noticed(self):
        logits = torch.randn(3, 5, requires_grad=True)
        probs = torch.rand(3, 5).softmax(-1)
        loss = cross_entropy(logits, st.Target.from_probs(probs), options=TRITON)
        probs.zero_()
        with pytest.raises(RuntimeError, match="inplace"):
            loss.backward()

    def test_the_partition_is_that_of_the_formula(self):
        logits = random_logits((8, 9), torch.float32, 1, dead=0.5)
        from softtargets.engine import example_losses

        target = TARGETS["uniform"]((8,), 9)
        ours = example_losses(logits, target, options=TRITON).logsumexp
        counted = ~target.ignored()
        torch.testing.assert_close(
            ours[counted], formula.values(logits, target, None).logsumexp[counted]
        )

    def test_online_smoothing_trains_through_it(self):
        logits, labels = torch.randn(4, 5, 3), torch.randint(0, 5, (4, 3))
        found = []
        for impl in ("triton", "eager"):
            policy = st.OnlineLabelSmoothing(5)
            criterion = st.CrossEntropyLoss(policy, options=LossOptions(impl=impl))
            own = logits.clone().requires_grad_()
            for _ in range(2):
                loss = criterion(own, labels)
                policy.end_epoch()
            loss.backward()
            found.append((loss.detach(), own.grad, policy.matrix))
        torch.testing.assert_close(found[0], found[1])


class TestChoice:
    @pytest.mark.skipif(installed, reason="Triton is installed")
    def test_a_named_one_that_is_not_installed_is_an_error(self):
        with pytest.raises(ValueError, match=r"Triton is not installed; pass `impl=\"eager\"`"):
            cross_entropy(torch.randn(2, 3), torch.tensor([0, 1]), options=TRITON)

    @_mark
    def test_a_device_it_does_not_serve_is_an_error(self, monkeypatch):
        from softtargets.engine import triton

        monkeypatch.setattr(triton, "_INTERPRETED", False)
        with pytest.raises(ValueError, match="runs on CUDA devices, the logits are on cpu"):
            cross_entropy(torch.randn(2, 3), torch.tensor([0, 1]), options=TRITON)

    def test_unknown_names_are_an_error(self):
        with pytest.raises(ValueError, match='"eager", "compiled" or "triton"'):
            LossOptions(impl="fast")

    def test_importing_the_library_does_not_import_triton(self):
        code = "import sys, softtargets; sys.exit('triton' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not installed, reason="Triton is not installed")
def test_the_kernels_compile_for_real_devices(tmp_path):
    """The interpreter accepts more than the compiler, which needs no device to run."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.triton_compile"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
