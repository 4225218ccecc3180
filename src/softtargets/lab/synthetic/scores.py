"""What is measured of one network on the test samples of its draw."""

import torch
from torch import Tensor

from softtargets import calibration

METRICS = (
    "accuracy",
    "accuracy_dense",
    "accuracy_sparse",
    "nll",
    "ece",
    "classwise_ece",
    "ece_within_classes",
)


def scores(logits: Tensor, labels: Tensor, dense: Tensor) -> dict[str, float]:
    """Return every metric of `METRICS`, ECEs with 15 bins of equal width.

    `classwise_ece` is the standard one, over all samples. `ece_within_classes` is what the paper's
    authors compute under that name: the ECE of the predicted class among the samples of each true
    class, averaged; it is far from 0 for a perfectly calibrated model too.

    Args:
        logits: `(N, K)`.
        labels: `(N,)`.
        dense: `(N,)` bool: samples of dense regions.
    """
    probs = logits.softmax(-1)
    right = (probs.argmax(-1) == labels).double()
    by_class = [
        calibration.expected_calibration_error(probs[labels == each], labels[labels == each])
        for each in torch.unique(labels)
    ]
    values = (
        right.mean(),
        right[dense].mean(),
        right[~dense].mean(),
        calibration.negative_log_likelihood(logits, labels),
        calibration.expected_calibration_error(probs, labels),
        calibration.classwise_calibration_error(probs, labels),
        torch.stack(by_class).mean(),
    )
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}
