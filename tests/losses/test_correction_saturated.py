"""Forward correction of very sure models: derivatives of first and second order."""

import pytest
import torch

import softtargets as st
from softtargets.noise import PairTransition, SymmetricTransition

K = 3
NOISE = {
    "identity": torch.eye(K),
    "no symmetric": SymmetricTransition(0.0, K),
    "symmetric": SymmetricTransition(0.2, K),
    "always another": SymmetricTransition(1.0, K),
    "no pair": PairTransition(0.0, K),
    "pair": PairTransition(0.3, K),
    "zeros": torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, 0.8]]),
    "dense": torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]),
}


def _reference(logits, rows, matrix):
    """`-sum_k q_k log sum_i exp(log p_i + log T_ik)`, an impossible way as one that costs 1e30."""
    ways = torch.where(matrix > 0, matrix.clamp(min=1e-300).log(), -1e30)
    noisy = torch.logsumexp(torch.log_softmax(logits, -1).unsqueeze(-1) + ways, -2)
    return -(rows * noisy).sum()


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
@pytest.mark.parametrize("size", [0.0, 60.0, 200.0])
@pytest.mark.parametrize("smoothing", [None, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_and_second_derivatives_of_saturated_logits(noise, size, smoothing, dtype):
    rows = [[size, -size, 0.1], [-size, size, 0.2], [0.3, size, -size]]
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    labels = torch.tensor([0, 2, 2])
    direction = torch.tensor([1.0, -2.0, 3.0], dtype=dtype)

    def derivatives(loss, at):
        (gradient,) = torch.autograd.grad(loss, at, create_graph=True)
        (product,) = torch.autograd.grad((gradient * direction.to(at)).sum(), at)
        return gradient, product

    loss = st.cross_entropy(
        logits,
        labels,
        smoothing=smoothing,
        correction=st.ForwardCorrection(noise),
        reduction="sum",
    )
    wide = logits.detach().double().requires_grad_()
    target = st.Target.from_labels(labels, K, dtype=torch.float64).smooth(smoothing or 0.0).dense()
    matrix = noise.double() if isinstance(noise, torch.Tensor) else noise.dense()
    expected = _reference(wide, target, matrix)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-7
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=tolerance)
    for got, wanted in zip(derivatives(loss, logits), derivatives(expected, wide), strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=0, atol=4 * tolerance)
