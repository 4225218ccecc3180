"""The papers' formulas in float64 numpy, sample by sample; nothing here knows the library."""

import numpy as np


def softmax(logits, temperature=1.0):
    z = np.asarray(logits, dtype=np.float64) / temperature
    e = np.exp(z - z.max())
    return e / e.sum()


def log_softmax(logits):
    z = np.asarray(logits, dtype=np.float64)
    top = z.max()
    return z - top - np.log(np.exp(z - top).sum())


def one_hot(label, num_classes):
    q = np.zeros(num_classes)
    q[label] = 1.0
    return q


def smoothed(label, num_classes, rate, prior=None, convention="K"):
    """q of label smoothing for one label."""
    if convention == "K-1":
        q = np.full(num_classes, rate / (num_classes - 1))
        q[label] = 1 - rate
        return q
    if prior is None:
        prior = np.full(num_classes, 1 / num_classes)
    elif np.ndim(prior) == 2:
        prior = prior[label]
    return (1 - rate) * one_hot(label, num_classes) + rate * np.asarray(prior, dtype=np.float64)


def reduce(losses, gradients, shares, reduction):
    """The reduction of (N,) losses and (N, K) gradients whose divisor is the sum of shares."""
    if reduction == "none":
        return losses, gradients
    divisor = 1.0
    if reduction == "mean" and shares.sum() != 0:
        divisor = shares.sum()
    return losses.sum() / divisor, gradients / divisor


def cross_entropy(logits, targets, given, weight=None, reduction="mean"):
    """Loss and gradient for (N, K) logits, targets and targets before smoothing."""
    n, k = logits.shape
    w = np.ones(k) if weight is None else np.asarray(weight, dtype=np.float64)
    losses, gradients, shares = np.zeros(n), np.zeros((n, k)), np.zeros(n)
    for i in range(n):
        if not np.any(given[i]):
            continue
        log_p = log_softmax(logits[i])
        coefficients = w * targets[i]
        losses[i] = -(coefficients * log_p).sum()
        gradients[i] = coefficients.sum() * np.exp(log_p) - coefficients
        shares[i] = (w * given[i]).sum()
    return reduce(losses, gradients, shares, reduction)


class OnlineSmoothing:
    """Online label smoothing: the table, the running sums, and the end of an epoch."""

    def __init__(self, num_classes, hard_weight=0.5, soft_weight=None, initial="uniform",
                 correct_only=True, momentum=0.0, min_count=1, max_confidence=1.0):  # fmt: skip
        self.num_classes = num_classes
        self.hard_weight = hard_weight
        self.soft_weight = 1 - hard_weight if soft_weight is None else soft_weight
        self.correct_only = correct_only
        self.momentum = momentum
        self.min_count = min_count
        self.max_confidence = max_confidence
        value = 1 / num_classes if initial == "uniform" else 0.0
        self.matrix = np.full((num_classes, num_classes), value)
        self.start()

    def start(self):
        self.sums = np.zeros((self.num_classes, self.num_classes))
        self.counts = np.zeros(self.num_classes)

    def targets(self, logits, labels, ignore_index=-100, learn=True):
        rows = []
        for z, y in zip(logits, labels, strict=True):
            if y == ignore_index:
                rows.append(np.zeros(self.num_classes))
                continue
            rows.append(
                self.hard_weight * one_hot(y, self.num_classes) + self.soft_weight * self.matrix[y]
            )
            p = softmax(z)
            if learn and (not self.correct_only or int(p.argmax()) == int(y)):
                self.sums[y] += p
                self.counts[y] += 1
        return np.array(rows)

    def end_epoch(self):
        new = self.matrix.copy()
        for y in range(self.num_classes):
            if self.counts[y] < self.min_count:
                continue
            if self.max_confidence < 1 and self.matrix[y].max() > self.max_confidence:
                continue
            fresh = self.sums[y] / self.sums[y].sum()
            share = self.momentum if self.matrix[y].any() else 0.0
            new[y] = share * self.matrix[y] + (1 - share) * fresh
        self.matrix = new
        self.start()


def quadratic_rate(p_label, p1, p2, max_rate=0.2):
    return min(p2 * (p_label - p1) ** 2, max_rate)


def instance_smoothed(label, teacher_logits, rate, spread, temperature=1.0, rate_temperature=None):
    """q of ILS1 (quadratic, uniform), ILS2 (constant, teacher) and ILS (both); one label.

    `rate` is a number or `(p1, p2, max_rate)`.
    """
    z = np.asarray(teacher_logits, dtype=np.float64)
    k = len(z)
    if isinstance(rate, tuple):
        rate = quadratic_rate(softmax(z, rate_temperature or temperature)[label], *rate)
    q = np.zeros(k)
    if spread == "uniform":
        q[:] = rate / (k - 1)
    else:
        others = [j for j in range(k) if j != label]
        q[others] = rate * softmax(z[others], temperature)
    q[label] = 1 - rate
    return q
