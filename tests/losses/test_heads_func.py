"""Every head under torch.func: gradients, forward mode, second derivatives, vmap."""

import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev, vmap

import softtargets as st

# torch's own forward mode compiles with what it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

K = 4
LABELS = torch.tensor([0, 1, -100, 3, 2])


def penalised(penalty):
    target = st.Target.from_labels(LABELS, K, dtype=torch.float64)
    return lambda z: penalty(z, target).sum()


def teacher():
    return torch.linspace(-2, 3, 5 * K, dtype=torch.float64).reshape(K, 5).T


HEADS = {
    "dice": lambda z: st.dice_loss(z[None], LABELS[None], smoothing=0.1, class_dim=-1),
    "focal": lambda z: st.focal_loss(z, LABELS, smoothing=0.1),
    "generalized": lambda z: st.generalized_cross_entropy(z, LABELS),
    "generalized, smoothed": lambda z: st.generalized_cross_entropy(z, LABELS, smoothing=0.1),
    "symmetric": lambda z: st.symmetric_cross_entropy(z, LABELS),
    "symmetric, smoothed": lambda z: st.symmetric_cross_entropy(z, LABELS, smoothing=0.1),
    "binary": lambda z: st.binary_cross_entropy_with_logits(z, LABELS, smoothing=0.1),
    "distillation": lambda z: st.distillation_loss(z, LABELS, teacher(), temperature=2.0),
    "sequence": lambda z: st.sequence_cross_entropy(
        z[None], LABELS[None], smoothing=0.1, normalizer="sequence_mean"
    ),
    "margin": penalised(st.MarginPenalty(0.3)),
    "confidence": penalised(st.ConfidencePenalty()),
    "zipf": penalised(st.ZipfPenalty()),
    "acls": penalised(st.ACLSPenalty(0.2)),
}


@pytest.mark.parametrize("kind", HEADS)
def test_func_transforms(kind):
    head, logits = HEADS[kind], torch.randn(5, K, dtype=torch.float64)
    leaf = logits.clone().requires_grad_()
    head(leaf).backward()
    for transform in (grad, jacrev, jacfwd):
        torch.testing.assert_close(transform(head)(logits), leaf.grad)
    torch.testing.assert_close(hessian(head)(logits), jacrev(jacrev(head))(logits))
    both = torch.stack([logits, 1.7 * logits])
    expected = torch.stack([head(logits), head(1.7 * logits)])
    torch.testing.assert_close(vmap(head)(both), expected)
    torch.testing.assert_close(vmap(grad(head))(both)[0], leaf.grad)
