"""From a block of logits: which samples online label smoothing may learn from."""

import torch
from torch import Tensor

from softtargets.arithmetic import predicted
from softtargets.smoothing.class_sums import Observed
from softtargets.target import Target
from softtargets.terms import DenseRows, Entries


def single_labels(target: Target) -> tuple[Tensor, Tensor]:
    """Return `(*batch)` labels and where they are the only label of their sample."""
    if not target.others:
        entries: Entries = target.entries
        if entries.classes.shape[-1] == 1:
            return entries.classes[..., 0], entries.weights[..., 0] != 0
        main = entries.weights.abs().argmax(-1, keepdim=True)
        label = entries.classes.gather(-1, main)
        same = (entries.classes == label) | (entries.weights == 0)
        return label[..., 0], same.all(-1) & entries.used()
    if all(isinstance(term, DenseRows) for term in target.others):
        values = target.dense()
        return values.argmax(-1), (values != 0).sum(-1) == 1
    raise TypeError(
        "`target` must be labels, mixed labels or rows of probabilities for OnlineLabelSmoothing, "
        "got one with further terms; apply the policy before other changes"
    )


def picked_rows(
    logits: Tensor, probs: Tensor, labels: Tensor, single: Tensor, correct_only: bool
) -> Observed:
    """Return the rows to learn from; for where looking at values costs nothing.

    Args:
        logits: `(*chunk, K)`, classes last.
        probs: `softmax(logits)`; rows that are not finite teach nothing.
        labels: `(*chunk)` int64.
        single: `(*chunk)` bool, False where there is no single label.
        correct_only: take rows with a right prediction only.
    """
    num_classes = logits.shape[-1]
    logits, probs = logits.reshape(-1, num_classes), probs.reshape(-1, num_classes)
    labels, keep = labels.reshape(-1), single.reshape(-1)
    if correct_only:
        keep = keep & predicted(logits, labels)
    if not bool(keep.all()):
        chosen = keep.nonzero()[:, 0]
        probs, labels = probs.index_select(0, chosen), labels[chosen]
    finite = probs.sum(-1).isfinite()
    if not bool(finite.all()):
        probs, labels = probs[finite], labels[finite]
    return Observed(probs, labels, None)


def masked_rows(
    logits: Tensor, probs: Tensor, labels: Tensor, single: Tensor, correct_only: bool
) -> Observed:
    """Do what `picked_rows` does with shapes that do not depend on values, by a mask."""
    num_classes = logits.shape[-1]
    probs, labels = probs.reshape(-1, num_classes), labels.reshape(-1)
    keep = single.reshape(-1) & probs.sum(-1).isfinite()
    if correct_only:
        keep = keep & predicted(logits.reshape(-1, num_classes), labels)
    return Observed(torch.where(keep.unsqueeze(-1), probs, 0), labels, keep)
