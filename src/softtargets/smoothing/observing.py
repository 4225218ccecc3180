"""From a block of logits: which samples online label smoothing may learn from."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softtargets import checks
from softtargets.arithmetic import predicted
from softtargets.engine import Statistics
from softtargets.smoothing.class_sums import AbstractSums, Observed
from softtargets.target import Target
from softtargets.terms import DenseRows, Entries


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelObserver:
    """Adds the probabilities of the samples of one call to the sums of their labels.

    Attributes:
        sums: to add to.
        labels: `(*batch)` int64.
        single: `(*batch)` bool, False where there is no single label.
        correct_only: learn from right predictions only.
    """

    sums: AbstractSums
    labels: Tensor
    single: Tensor
    correct_only: bool

    def __call__(self, key: tuple[slice, ...], logits: Tensor, probs: Tensor) -> None:
        """Learn from one block; see `Observer`."""
        choose = picked_rows if checks.readable(logits) else masked_rows
        # A decorator on `__call__` would be in the way of torch.compile.
        with torch.no_grad():
            rows = choose(logits, probs, self.labels[key], self.single[key], self.correct_only)
            if len(rows.labels):
                self.sums.add(rows)

    def statistics(self, logits: Tensor) -> Statistics | None:
        """Return where a kernel may add, if the sums are `(K, K)`; see `SummingObserver`."""
        addends = self.sums.addends(logits)
        if addends is None:
            return None
        return Statistics(
            labels=torch.where(self.single, self.labels, -1),
            sums=addends[0],
            counts=addends[1],
            correct_only=self.correct_only,
        )


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
        keep = keep & predicted(logits, probs, labels)
    if not bool(keep.all()):
        chosen = keep.nonzero()[:, 0]
        probs, labels = probs.index_select(0, chosen), labels[chosen]
    # One entry tells: what is not finite spreads to a whole row of a softmax.
    finite = probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1).isfinite()
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
        keep = keep & predicted(logits.reshape(-1, num_classes), probs, labels)
    return Observed(torch.where(keep.unsqueeze(-1), probs, 0), labels, keep)
