"""Batches for online label smoothing, and a policy's targets."""

import torch

import softtargets as st

K = 7


def batch(n=40, seed=0, dtype=torch.float32, k=K):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, k, generator=generator, dtype=torch.float64)
    labels = torch.randint(k, (n,), generator=generator)
    logits[torch.arange(n), labels] += 2
    return logits.to(dtype), labels


def learn(policy, logits, labels):
    k = logits.shape[-1]
    return policy(st.Target.from_labels(labels, k, dtype=torch.float32), logits)


def targets_of(policy, dtype=torch.float64):
    """The target of every class."""
    labels = torch.arange(policy.num_classes)
    return policy.eval()(st.Target.from_labels(labels, policy.num_classes, dtype=dtype))
