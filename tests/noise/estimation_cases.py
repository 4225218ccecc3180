"""Problems for the estimators of transition matrices."""

import torch

import softtargets as st

METHODS = ("anchor", "confident", "dual")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(num_classes=4, num_samples=200, seed=0, sharpness=4.0):
    """Random probabilities that mostly know the clean class, and noisy labels of every class."""
    source = generator(seed)
    clean = torch.arange(num_samples) % num_classes
    logits = sharpness * torch.eye(num_classes)[clean]
    logits = logits + torch.randn(num_samples, num_classes, generator=source)
    noisy = st.noise.symmetric(clean, 0.2, num_classes, generator=source).labels
    noisy[:num_classes] = torch.arange(num_classes)
    return logits.double().softmax(-1), noisy
