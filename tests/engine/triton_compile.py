"""Compile the kernels down to machine code for devices that are not there; run as a module."""

import sys

import torch
import triton
from triton.backends.compiler import GPUTarget

from softtargets.engine import triton as engine
from softtargets.engine import triton_kernels as kernels
from softtargets.engine.frame import Call
from softtargets.engine.observer import Statistics
from tests.engine.engine_cases import LAYOUTS, TARGETS


class AbsentDevice:
    """A driver that knows what to compile for and nothing else."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return self.capability

    def get_current_stream(self, device=None):
        return 0


class Compiling:
    """A kernel that is compiled, not run."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        def compile_for(**arguments):
            compiled = self.kernel.warmup(grid=grid, **arguments)
            sweeps = arguments.get("statistics") is not None
            assert sweeps == ("atom.global" in compiled.asm["ptx"])
            print(self.kernel.fn.__name__, len(compiled.asm["cubin"]), "bytes")

        return compile_for


def compile_case(name, dtype, layout="rows", classes=11, extras=False):
    batch, arrange = LAYOUTS[layout]
    target, logits = TARGETS[name](batch, classes), arrange(torch.zeros(*batch, classes))
    logits = logits.to(dtype)
    weight = torch.ones(classes) if extras else None
    mask = torch.ones(*batch, classes, dtype=torch.bool) if extras else None
    operands = engine._operands(Call(logits=logits, target=target, weight=weight, class_mask=mask))
    results = engine._results(logits, operands)
    engine._launch(Compiling(kernels.forward_kernel), logits, operands, results)
    gradient = (results[0], torch.empty_like(logits))
    engine._launch(Compiling(kernels.backward_kernel), logits, operands, results, gradient=gradient)


def compile_statistics(dtype, layout="rows", classes=11, *, correct_only=True, masked=False):
    """The forward kernel with what online smoothing learns."""
    batch, arrange = LAYOUTS[layout]
    target, logits = TARGETS["online"](batch, classes), arrange(torch.zeros(*batch, classes))
    logits = logits.to(dtype)
    mask = torch.ones(*batch, classes, dtype=torch.bool) if masked else None
    operands = engine._operands(Call(logits=logits, target=target, weight=None, class_mask=mask))
    sums = torch.zeros(classes, classes, dtype=torch.promote_types(dtype, torch.float32))
    statistics = Statistics(
        labels=torch.zeros(batch, dtype=torch.int64),
        sums=sums,
        counts=sums[0].clone(),
        correct_only=correct_only,
    )
    results = engine._results(logits, operands)
    kernel = Compiling(kernels.forward_kernel)
    engine._launch(kernel, logits, operands, results, statistics=statistics)


def main():
    for capability in (80, 90):
        triton.runtime.driver.set_active(AbsentDevice(capability))
        compile_case("uniform", torch.bfloat16, classes=4096)
        compile_case("everything", torch.float16, "strided classes", extras=True)
        compile_statistics(torch.bfloat16, classes=4096)
        compile_statistics(torch.float64, "strided classes", correct_only=False, masked=True)
    for dtype in (torch.float32, torch.float64):
        compile_case("top-k, uniform rest", dtype, "three loops")
        compile_case("online", dtype, "rows", extras=True)
    compile_case("probs", torch.float32, classes=1, extras=True)


if __name__ == "__main__":
    sys.exit(main())
