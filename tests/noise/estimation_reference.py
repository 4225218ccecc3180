"""The papers' estimators in float64 numpy, sample by sample; nothing here knows the library."""

import numpy as np


def anchor(probs, quantile=1.0):
    rows = []
    for i in range(probs.shape[1]):
        order = sorted(range(len(probs)), key=lambda n: probs[n, i])
        rows.append(probs[order[int(quantile * (len(probs) - 1) + 1e-9)]])
    return np.array(rows)


def confident_joint(probs, labels):
    """Counts by (noisy label, clean class)."""
    k = probs.shape[1]
    thresholds = [np.mean([p[j] for p, y in zip(probs, labels, strict=True) if y == j])
                  for j in range(k)]  # fmt: skip
    joint = np.zeros((k, k))
    for p, y in zip(probs, labels, strict=True):
        confident = [j for j in range(k) if p[j] >= thresholds[j] - 1e-6]
        if confident:
            joint[y, confident[0] if len(confident) == 1 else np.argmax(p)] += 1
    return joint


def from_joint(joint, labels):
    """T of a confident joint: calibrated to the labels, then normalised by clean class."""
    k = len(joint)
    calibrated = np.zeros((k, k))
    for j in range(k):
        calibrated[j] = joint[j] / joint[j].sum() * np.sum(labels == j)
    return np.array([calibrated[:, i] / calibrated[:, i].sum() for i in range(k)])


def confident(probs, labels):
    return from_joint(confident_joint(probs, labels), labels)


def dual(probs, labels, quantile=1.0):
    k = probs.shape[1]
    counts = np.zeros((k, k))
    for p, y in zip(probs, labels, strict=True):
        counts[int(np.argmax(p)), y] += 1
    shares = np.array([row / row.sum() for row in counts])
    club = anchor(probs, quantile)
    return np.array(
        [[sum(club[i, m] * shares[m, j] for m in range(k)) for j in range(k)] for i in range(k)]
    )
