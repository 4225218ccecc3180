"""What the tests of policies share: a batch, and the loss of a dense float64 target in numpy."""

import copy
import pickle

import numpy as np
import torch

import softtargets as st
from tests import reference


def batch(num_classes, shape=(12,), seed=0, ignored=True):
    """Class-last float64 logits and labels, one of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*shape, num_classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(num_classes, shape, generator=generator)
    if ignored:
        labels.view(-1)[3] = -100
    return logits, labels


def one_hot(labels, num_classes):
    """`(*shape, K)` numpy rows, zeros where a label is ignored."""
    labels = np.asarray(labels)
    rows = np.zeros((*labels.shape, num_classes))
    for at in np.ndindex(labels.shape):
        if labels[at] >= 0:
            rows[(*at, labels[at])] = 1.0
    return rows


def assert_loss(policy, logits, target, expected, given):
    """Value and gradient through `cross_entropy` equal those of a dense numpy target."""
    size = logits.shape[-1]
    want, gradient = reference.cross_entropy(
        logits.reshape(-1, size).numpy(), expected.reshape(-1, size), given.reshape(-1, size)
    )
    leaf = logits.clone().requires_grad_()
    loss = st.cross_entropy(leaf, target, smoothing=policy, class_dim=-1)
    loss.backward()
    np.testing.assert_allclose(loss.item(), want, rtol=0, atol=1e-10)
    np.testing.assert_allclose(leaf.grad.reshape(-1, size).numpy(), gradient, rtol=0, atol=1e-10)


def assert_copies(policy, target, logits):
    """Deepcopy and pickle give the same targets."""
    expected = policy(target, logits).dense()
    for other in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        assert torch.equal(other(target, logits).dense(), expected)
