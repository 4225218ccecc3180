"""The gate lets through what is right and stops what is wrong, in value or in gradient."""

import pytest
import torch
from torch.nn import functional

import softtargets as st
from softtargets.bench import gate, targets
from softtargets.bench.case import Built, Case, Unavailable
from softtargets.bench.problem import Problem, make_inputs
from softtargets.bench.suites import SUITES

LOGITS = Problem(rows=40, classes=13)
LINEAR = Problem(rows=40, width=6, classes=13)


def right(logits, labels):
    return functional.cross_entropy(logits, labels, label_smoothing=0.1)


class Fixed(torch.autograd.Function):
    """The right loss with a gradient of one's own."""

    @staticmethod
    def forward(ctx, logits, labels, change):
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            (ctx.grad,) = torch.autograd.grad(right(leaf, labels), leaf)
        ctx.change = change
        return right(logits, labels)

    @staticmethod
    def backward(ctx, incoming):
        return ctx.change(ctx.grad * incoming), None, None


def check(function, problem=LOGITS):
    case = Case(
        title="one of mine",
        build=lambda inputs: Built(function, inputs.labels, targets.uniform(inputs)),
    )
    return gate.check_case(case, make_inputs(problem))


def with_gradient(change):
    return lambda logits, labels: Fixed.apply(logits, labels, change)


def test_the_right_loss_passes_with_its_errors():
    errors = check(right)
    assert 0 <= errors.loss < 1e-6
    assert 0 <= errors.gradient < 1e-5
    assert check(with_gradient(lambda grad: grad)).gradient < 1e-5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (functional.cross_entropy, "loss "),
        (lambda x, y: right(x, y) * 1.0001, "loss "),
        (lambda x, y: right(x, y) * float("nan"), "loss nan"),
        (with_gradient(lambda grad: grad * 1.001), "the gradient of shape"),
        (with_gradient(lambda grad: grad - 0.1 / 13 / 40), "the gradient of shape"),
        (with_gradient(lambda grad: torch.full_like(grad, float("nan"))), "the gradient of shape"),
        (lambda x, y: right(x.double(), y).detach(), "it fails: RuntimeError"),
        (lambda x, y: 1 / 0, "it fails: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_wrong_is_stopped(function, message):
    with pytest.raises(gate.GateError, match=message):
        check(function)


def test_one_wrong_gradient_entry_is_enough():
    def change(grad):
        grad = grad.clone()
        grad[3, 5] += 0.01 * grad.abs().max()
        return grad

    with pytest.raises(gate.GateError, match="gradient"):
        check(with_gradient(change))


def test_memory_read_before_it_is_written_shows():
    # Zeros are what fresh memory usually holds, and the test must not depend on it.
    def function(logits, labels):
        dirty = torch.empty_like(logits, requires_grad=False)
        if not torch.are_deterministic_algorithms_enabled():
            dirty.zero_()
        return right(logits + dirty, labels)

    with pytest.raises(gate.GateError, match="reads memory it has not written: loss nan"):
        check(function)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("suite", "problem"), [("cross-entropy", LOGITS), ("linear", LINEAR)], ids=["logits", "linear"]
)
def test_every_case_that_runs_here_passes(suite, problem, dtype):
    shape = {"rows": problem.rows, "width": problem.width, "classes": problem.classes}
    inputs = make_inputs(Problem(**shape, dtype=dtype))
    passed, skipped = [], {}
    for name, case in SUITES[suite].cases.items():
        if case.compiled:
            continue
        try:
            gate.check_case(case, inputs)
            passed.append(name)
        except Unavailable as reason:
            skipped[name] = str(reason)
    assert {"torch", "ls", "prior"} <= set(passed)
    assert all(skipped.values())
    assert not {"copy", "clone", "teacher", "full", "ols-right", "torch-fused"} & set(skipped)


def test_reused_logits_are_no_leaf_and_come_back_fresh():
    from softtargets.bench.step import Step, make_room

    inputs = make_inputs(LOGITS)
    step = Step(SUITES["quick"].cases["ls-reuse"].build(inputs), inputs, make_room(inputs))
    for _ in range(2):
        step.prepare()
        assert torch.equal(step.tensors[0], inputs.tensors[0])
        step.run()
        assert not torch.equal(step.tensors[0], inputs.tensors[0])
    loss = st.cross_entropy(inputs.tensors[0], inputs.labels, smoothing=0.1)
    (expected,) = torch.autograd.grad(loss, inputs.tensors[0])
    torch.testing.assert_close(step.tensors[0].detach(), expected)


def test_large_tables_are_a_reason_to_skip(monkeypatch):
    from softtargets.bench import cases

    monkeypatch.setattr(cases, "free_bytes", lambda device: 1000)
    with pytest.raises(Unavailable, match="its K x K tables take"):
        cases.OURS["ols-right"].build(make_inputs(LOGITS))
