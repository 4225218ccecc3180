"""The eager and the compiled engine against the dense float64 oracle."""

import shutil

import pytest
import torch

import softtargets as st
from softtargets.engine import LossOptions, compiled
from softtargets.testing.compare import block_elements
from tests.engine.engine_cases import DTYPES, LAYOUTS, TARGETS, compare

# Each dtype is traced anew, which takes most of the time of these tests.
TRACED = (torch.float32, torch.bfloat16)
COMPILED = LossOptions(impl="compiled")
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="TorchInductor needs a C++ compiler",
)


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


class TestAgainstTheOracle:
    @pytest.mark.parametrize("name", TARGETS)
    def test_every_target_and_dtype(self, impl, name):
        for dtype in DTYPES if impl == "eager" else TRACED:
            compare(name, dtype, impl=impl)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_layout(self, impl, layout):
        for name in ("top-k, uniform rest", "everything"):
            compare(name, torch.float32, layout, impl=impl, classes=37)

    @pytest.mark.parametrize("name", TARGETS)
    def test_weights_and_masked_classes(self, impl, name):
        cases = [(True, 0.3, True), (False, 0.3, False), (True, 0.0, False)]
        for weighted, dead, masked in cases if impl == "eager" else cases[:1]:
            compare(name, torch.float64, weighted=weighted, masked=masked, dead=dead, impl=impl)

    @pytest.mark.parametrize("layout", ["rows", "strided classes"])
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_reused_logits(self, impl, dtype, layout):
        if impl == "eager":
            compare("everything", dtype, layout, reuse=True, dead=0.2, impl=impl)
        elif dtype not in TRACED:
            pytest.skip("traced in float32 and bfloat16 alone, each trace takes seconds")
        compare("everything", dtype, layout, reuse=True, masked=True, classes=37, impl=impl)

    @pytest.mark.parametrize("elements", [1, 40, 200])
    def test_blocks(self, elements):
        with block_elements(elements):
            compare("everything", torch.float32, "strided classes", classes=37, impl="eager")
            compare("online", torch.float32, classes=37, dead=0.3, impl="eager")


@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
class TestKernels:
    """What TorchInductor makes of the graphs; each kind of target takes seconds."""

    @pytest.mark.parametrize(
        ("name", "keywords"),
        [
            ("uniform", {"classes": 1003}),
            ("online", {"classes": 37, "dead": 0.3, "reuse": True}),
            ("everything", {"layout": "strided classes", "weighted": True, "masked": True}),
        ],
    )
    def test_against_the_oracle(self, name, keywords):
        compare(name, torch.float32, impl="compiled", **keywords)

    def test_half_precision(self):
        compare("top-k, uniform rest", torch.bfloat16, impl="compiled", reuse=True)

    def test_a_new_batch_is_no_new_kernel(self):
        logits = torch.randn(12, 7, requires_grad=True)
        for batch in range(3):
            labels = torch.randint(7, (12,))
            with torch._dynamo.config.patch(error_on_recompile=batch > 0):
                loss = st.cross_entropy(logits, labels, smoothing=0.1, options=COMPILED)
                loss.backward()
                with torch.no_grad():
                    st.cross_entropy(logits, labels, smoothing=0.1, options=COMPILED)

    def test_a_missing_compiler_is_an_error(self, monkeypatch):
        def fails(*args):
            raise torch._inductor.exc.InductorError(OSError("no compiler"), "kernel")

        monkeypatch.setattr(compiled, "_values", fails)
        with pytest.raises(ValueError, match="is not available: TorchInductor failed"):
            st.cross_entropy(torch.randn(2, 3), torch.tensor([0, 1]), options=COMPILED)
