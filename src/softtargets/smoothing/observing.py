"""From a block of logits: which samples online label smoothing may learn from."""

import torch
from torch import Tensor

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
    block: Tensor, logsumexp: Tensor, labels: Tensor, single: Tensor, correct_only: bool
) -> Observed:
    """Return copies of the rows to learn from; for where looking at values costs nothing.

    A row is right if its first largest logit is the label's. `argmax` is ten times slower than
    `amax` on a CPU, so it settles ties alone.

    Args:
        block: `(*chunk, K)`, classes last.
        logsumexp: `(*chunk)`; rows where it is not finite teach nothing.
        labels: `(*chunk)` int64.
        single: `(*chunk)` bool, False where there is no single label.
        correct_only: take rows with a right prediction only.
    """
    if block.dim() == 1:
        block, logsumexp, labels, single = (x[None] for x in (block, logsumexp, labels, single))
    keep = single & logsumexp.isfinite()
    if correct_only:
        keep &= block.amax(-1) == block.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    at = keep.nonzero(as_tuple=True)
    # Selecting along one dimension is several times faster than indexing.
    rows = (
        block.index_select(0, at[0]) if block.dim() == 2 else block[at].reshape(-1, block.shape[-1])
    )
    chosen = Observed(rows, logsumexp[at].reshape(-1), labels[at].reshape(-1), None)
    return _without_lost_ties(chosen) if correct_only else chosen


def _without_lost_ties(rows: Observed) -> Observed:
    """Drop rows in which an earlier class than the label has the same, largest logit."""
    logits, _, labels, _ = rows
    highest = logits.gather(-1, labels.unsqueeze(-1))
    if int(torch.count_nonzero(logits == highest)) == len(labels):
        return rows
    first = logits.argmax(-1) == labels
    return Observed(logits[first], rows.logsumexp[first], labels[first], None)


def masked_rows(
    block: Tensor, logsumexp: Tensor, labels: Tensor, single: Tensor, correct_only: bool
) -> Observed:
    """Do what `picked_rows` does with shapes that do not depend on values, by a mask."""
    rows, labels = block.reshape(-1, block.shape[-1]), labels.reshape(-1)
    keep = (single & logsumexp.isfinite()).reshape(-1)
    if correct_only:
        keep = keep & (rows.argmax(-1) == labels)
    return Observed(rows, logsumexp.reshape(-1), labels, keep)
