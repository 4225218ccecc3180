"""A criterion inside a user's own `torch.compile(fullgraph=True)`: one graph for all batches."""

import pytest
import torch

import softtargets as st

K = 5
POLICIES = {
    "hard": lambda: None,
    "rate": lambda: 0.1,
    "prior": lambda: st.LabelSmoothing(0.1, prior=torch.full((K,), 1 / K)),
    "per class": lambda: st.LabelSmoothing(torch.linspace(0, 0.2, K)),
    "schedule": lambda: st.LabelSmoothing(st.Schedule.linear(0.0, 0.2, 4)),
    "OLS": lambda: st.OnlineLabelSmoothing(K),
    "OLS, bfloat16": lambda: st.OnlineLabelSmoothing(K, storage="bfloat16"),
    "OLS, top-k": lambda: st.OnlineLabelSmoothing(K, storage="top_k", top_k=3),
    "ILS1": lambda: st.InstanceLabelSmoothing(st.QuadraticRate(0.9, 1.0)),
    "ILS2": lambda: st.InstanceLabelSmoothing(0.1, spread="teacher"),
    "matrix": lambda: st.ClassMatrixSmoothing(torch.eye(K).roll(1, 1), 0.2),
    "label-aware": lambda: st.LabelAwareSmoothing(torch.arange(1, K + 1), 0.3, 0.1),
    "MaxSup": lambda: st.MaxSup(0.1),
    "bootstrapping": lambda: st.Bootstrapping(0.9),
}


def train(criterion, run, seed):
    """Two epochs of two batches; losses and gradients."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):
        for _ in range(2):
            logits = torch.randn(6, K, generator=generator)
            labels = torch.randint(K, (6,), generator=generator)
            labels[0] = -100
            teacher = torch.randn(6, K, generator=generator)
            leaf = logits.clone().requires_grad_()
            loss = run(leaf, labels, teacher_logits=teacher)
            yield loss.detach(), torch.autograd.grad(loss, leaf)[0]
        if isinstance(criterion.smoothing, st.OnlineLabelSmoothing):
            criterion.smoothing.end_epoch()
        criterion.step()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.filterwarnings("ignore:OnlineLabelSmoothing.end_epoch.. found nothing")
def test_one_graph_for_all_batches_and_epochs(name):
    torch.compiler.reset()
    plain, traced = (st.CrossEntropyLoss(POLICIES[name]()) for _ in range(2))
    expected = train(plain, plain, seed=1)
    run = torch.compile(traced, fullgraph=True, backend="aot_eager", dynamic=False)
    found = train(traced, run, seed=1)
    for batch, (eager, compiled) in enumerate(zip(expected, found, strict=True)):
        torch.testing.assert_close(compiled, eager, rtol=1e-5, atol=1e-6)
        if batch == 0:
            torch._dynamo.config.error_on_recompile = True
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(traced.get_buffer(name), buffer)


@pytest.fixture(autouse=True)
def _recompiling_is_no_error_elsewhere():
    yield
    torch._dynamo.config.error_on_recompile = False


def test_single_entries_are_compared_where_a_gradient_is_compiled():
    """Its gradient is pointwise: no N x K tensor of zeros is scattered into."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    seen = []

    def record(graph, example_inputs):
        seen.extend(node.target for node in graph.graph.nodes)
        return make_boxed_func(graph.forward)

    torch.compiler.reset()
    criterion = torch.compile(
        st.CrossEntropyLoss(0.1),
        fullgraph=True,
        backend=aot_autograd(fw_compiler=record, bw_compiler=record),
    )
    leaf = torch.randn(4, K, requires_grad=True)
    criterion(leaf, torch.tensor([0, 1, 2, -100])).backward()
    names = {str(target) for target in seen}
    assert not any("scatter" in name or "gather" in name for name in names), names


def test_a_label_out_of_range_is_not_a_class_of_logit_zero():
    run = torch.compile(st.CrossEntropyLoss(), fullgraph=True, backend="aot_eager")
    assert run(torch.randn(2, K, requires_grad=True), torch.tensor([1, 255])).isnan()
