"""The fused linear layer never holds what it is there to avoid."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import softtargets as st
from softtargets.engine import linear

D, K, N = 6, 11, 200


class _Largest(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.untyped_storage().nbytes() // 8)
        return result


@pytest.mark.parametrize(
    "correction",
    [
        None,
        st.ForwardCorrection(st.noise.PairTransition(0.2, K)),
        st.BackwardCorrection(st.noise.PairTransition(0.2, K), allow_negative=True),
    ],
    ids=["plain", "forward", "backward"],
)
def test_the_logits_never_exist_whole(correction, monkeypatch):
    monkeypatch.setattr(linear, "CHUNK_ELEMENTS", 10 * K)
    hidden, weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((N, D), (K, D), K)
    )
    labels = torch.randint(K, (N,))
    with _Largest() as largest:
        for reduction in ("mean", "none"):
            loss = st.linear_cross_entropy(
                hidden,
                weight,
                labels,
                bias=bias,
                smoothing=0.1,
                reduction=reduction,
                correction=correction,
            )
            loss.sum().backward()
    assert largest.elements == max(hidden.numel(), weight.numel())
    assert largest.elements < N * K
