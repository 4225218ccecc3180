"""Logits averaged over the rows of each group, while a file is read once."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from softtargets.audit.errors import AuditError
from softtargets.audit.groups import Grouping
from softtargets.audit.predictions import Block, Predictions
from softtargets.calibration.checks import first


class Averages:
    """Blocks of averaged logits and labels, one row per group, in the order of their last rows.

    A group is given on and forgotten when its last row has passed: only sums of groups that are
    unfinished at the end of a block are held.

    Args:
        predictions: what is read; its grouping says which rows belong together.
        grouping: that grouping.
    """

    def __init__(self, predictions: Predictions, grouping: Grouping) -> None:
        self._of, self._grouping = predictions, grouping
        self._labels = torch.empty(len(grouping), dtype=torch.int64)
        self._missing = grouping.counts.clone()
        self._sums = torch.empty(grouping.most_open, predictions.num_classes, dtype=torch.float64)
        self._place = torch.full((len(grouping),), -1)  # of a group's sums, -1 where none are held
        self._free = torch.arange(grouping.most_open)
        self._taken = 0  # places of `_free` in use, from its start
        self._row = 0

    def of(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield `(b, K)` logits, at least float32, and `(b,)` labels.

        Args:
            blocks: of checked rows and labels, the whole file.

        Raises:
            AuditError: labels differ within a group, or its members leave no class alive.
        """
        for scores, labels in blocks:
            index = self._grouping.index[self._row : self._row + len(scores)]
            self._learn(index, labels)
            self._row += len(scores)
            values = scores.double()
            if self._of.kind == "probs":
                values = values.log()
            groups, logits = self._completed(index, values)
            if len(groups):
                dtype = torch.promote_types(scores.dtype, torch.float32)
                yield logits.to(dtype), self._labels[groups]

    def _learn(self, index: Tensor, labels: Tensor) -> None:
        """Keep the label of new groups, and check it in others."""
        grouping, rows = self._grouping, torch.arange(self._row, self._row + len(index))
        new = grouping.first[index] == rows
        self._labels[index[new]] = labels[new]
        wrong = self._labels[index] != labels
        if bool(wrong.any()):
            row = first(wrong)
            group = int(index[row])
            raise AuditError(
                f"{self._of.labels} must be the same in all of a group, "
                f"{grouping.names[group]!r} of {grouping.column} has {int(self._labels[group])} in "
                f"row {int(grouping.first[group])} and {int(labels[row])} in row "
                f"{self._row + row}; split that group, or drop the rows that do not belong to it"
            )

    def _completed(self, index: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The groups that end in this block, and their means; the sums of others are held."""
        groups, local = torch.unique(index, return_inverse=True)
        sums = values.new_zeros(len(groups), values.shape[1]).index_add_(0, local, values)
        place = self._place[groups]
        held = place >= 0
        sums[held] += self._sums[place[held]]
        self._missing[groups] -= torch.bincount(local)
        done = self._missing[groups] == 0
        self._give_back(groups[done & held])
        self._take(groups[~done & ~held])
        self._sums[self._place[groups[~done]]] = sums[~done]
        order = self._grouping.last[groups[done]].argsort()
        ended, means = groups[done][order], sums[done][order]
        means /= self._grouping.counts[ended].unsqueeze(1)
        self._check_alive(ended, means)
        return ended, means

    def _give_back(self, groups: Tensor) -> None:
        self._taken -= len(groups)
        self._free[self._taken : self._taken + len(groups)] = self._place[groups]
        self._place[groups] = -1

    def _take(self, groups: Tensor) -> None:
        self._place[groups] = self._free[self._taken : self._taken + len(groups)]
        self._taken += len(groups)

    def _check_alive(self, groups: Tensor, means: Tensor) -> None:
        dead = (means == -torch.inf).all(-1)
        if bool(dead.any()):
            name = self._grouping.names[int(groups[first(dead)])]
            raise AuditError(
                f"{self._of.where} leaves no class a probability above 0 in the group {name!r} of "
                f"{self._grouping.column}: its rows rule out all of them; save logits, in which "
                "nothing is rounded to 0"
            )
