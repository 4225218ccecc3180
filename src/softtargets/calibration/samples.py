"""Predictions in any layout, read as rows of classes in blocks, ignored positions left out.

Nothing is copied whole: `(N, K, H, W)` and `(B, T, V)` are seen through views, and what has to
be flattened, widened or selected is a block of bounded size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softtargets.batching import blocks
from softtargets.calibration.checks import (
    Kind,
    are_distributions,
    check_floating,
    check_integers,
    check_not_empty,
    check_range,
    flaw_of,
    raise_flaw,
    refuse_distributions,
)
from softtargets.checks import check_integer

_BLOCK_ELEMENTS = 2**18  # rows are read in blocks of this many numbers: they fit a core's cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Checked predictions and labels; `of` makes them.

    Args:
        scores: `(*positions, K)`, a view of the user's tensor.
        labels: `(*positions)`, int64.
        kind: what the scores are: "probs", "logits", or "scores" of which only the order counts.
        ignored: `(*positions)`, bool: positions to leave out; None if there are none.
        num_samples: positions that count, at least 1.
    """

    scores: Tensor
    labels: Tensor
    kind: Kind
    ignored: Tensor | None
    num_samples: int

    @classmethod
    def of(
        cls,
        scores: Tensor,
        labels: Tensor,
        kind: Kind,
        *,
        class_dim: int = 1,
        ignore_index: int = -100,
    ) -> "Samples":
        """Check shapes, dtypes and labels; the values of the scores are checked as they are read.

        Raises:
            ValueError: shapes or labels do not fit, or no sample is left.
            TypeError: a wrong dtype.
        """
        view = class_last(scores, class_dim, kind)
        check_not_empty(view, kind)
        check_integers(labels)
        if labels.shape != view.shape[:-1]:
            raise ValueError(_wrong_shape(scores, labels, kind, class_dim))
        labels, ignored = without_ignored(labels, ignore_index)
        way_out = f"mark what has no label with `ignore_index`, {ignore_index}"
        check_range(labels, view.shape[-1], way_out, ignored)
        count = labels.numel() if ignored is None else int((~ignored).sum())
        return cls(scores=view, labels=labels, kind=kind, ignored=ignored, num_samples=count)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.scores.shape[-1]

    def row_blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks `(n, K)` of rows, their values checked, with `(n,)` labels, in order.

        Raises:
            ValueError: a row breaks a rule of its kind; the position is named.
        """
        suspicious = self.kind == "logits"
        for index in blocks(self.scores.shape, _BLOCK_ELEMENTS):
            rows, labels = self.scores[index].flatten(0, -2), self.labels[index].flatten()
            if self.ignored is not None:
                kept = ~self.ignored[index].flatten()
                rows, labels = rows[kept], labels[kept]
            if not len(rows):
                continue
            flaw = flaw_of(self.kind, rows)
            if flaw is not None:
                raise_flaw(flaw, self._place(index, flaw.row))
            suspicious = suspicious and are_distributions(rows)
            yield rows, labels
        if suspicious:
            refuse_distributions()

    def select(self, values: Tensor) -> Tensor:
        """`(N,)`: the values, one per position, of the samples that count, in order."""
        return values.flatten() if self.ignored is None else values[~self.ignored]

    def units(self) -> Tensor:
        """`(N,)`: the entry of the first dimension each sample belongs to, numbered without gaps.

        Entries without a sample that counts have no number.
        """
        return units_of(self.labels.shape, self.ignored)

    def check_values(self) -> None:
        """Read all rows once, so that bad values raise."""
        for _ in self.row_blocks():
            pass

    def top_label(self) -> tuple[Tensor, Tensor]:
        """`(N,)` float64 probability of the predicted class, and `(N,)` whether it is the label.

        Raises:
            ValueError: the rows are not distributions.
        """
        parts = [top_label_scores(rows, labels) for rows, labels in self.row_blocks()]
        scores, outcomes = zip(*parts, strict=True)
        return torch.cat(scores), torch.cat(outcomes)

    def _place(self, index: tuple[Any, ...], row: int) -> str:
        positions = torch.arange(self.labels.numel(), device=self.labels.device)
        positions = positions.view(self.labels.shape)[index]
        if self.ignored is not None:
            positions = positions[~self.ignored[index]]
        position = positions.flatten()[row]
        if self.labels.ndim == 1:
            return f"row {int(position)}"
        return f"position {tuple(int(i) for i in torch.unravel_index(position, self.labels.shape))}"


def class_last(scores: Tensor, class_dim: int, name: str) -> Tensor:
    """A detached view with the classes last, or raise.

    Raises:
        ValueError: fewer than two dimensions, or `class_dim` is none of them.
        TypeError: not floating point.
    """
    check_floating(scores, name)
    if scores.ndim < 2:
        raise ValueError(
            f"`{name}` must have shape (N, K), or more dimensions with the classes at `class_dim`, "
            f"got {tuple(scores.shape)}; two classes need both columns, or the binary form"
        )
    if not -scores.ndim <= class_dim < scores.ndim:
        raise ValueError(
            f"`class_dim` must be a dimension of `{name}`, which has {scores.ndim}, got {class_dim}"
        )
    return scores.detach().movedim(class_dim, -1)


def units_of(shape: torch.Size, ignored: Tensor | None) -> Tensor:
    """`(N,)`, on the CPU: of each position that counts the entry of the first dimension."""
    entry = torch.arange(shape[0])
    if len(shape) > 1:
        entry = entry.repeat_interleave(shape[1:].numel())
    if ignored is None:
        return entry
    units: Tensor = torch.unique_consecutive(entry[~ignored.flatten().cpu()], return_inverse=True)[
        1
    ]
    return units


def without_ignored(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor | None]:
    """Labels in int64 and which of them are ignored, None if none is.

    Raises:
        ValueError: all are ignored.
        TypeError: `ignore_index` is no integer.
    """
    ignore_index = check_integer(ignore_index, "ignore_index")
    labels = labels.long()  # in narrow dtypes -100 would wrap around to a class
    ignored = labels == ignore_index
    if not bool(ignored.any()):
        return labels, None
    if bool(ignored.all()):
        raise ValueError(
            f"`labels` must hold at least one label, all {labels.numel()} are `ignore_index`, "
            f"{ignore_index}"
        )
    return labels, ignored


def top_label_scores(probs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """`(n,)` float64 probability of the predicted class, and `(n,)` whether it is the label.

    The first of several equal maxima is the prediction. Above one half there is only one, which
    saves the search for its place.
    """
    highest = probs.detach().amax(-1)
    at_label = probs.detach().gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    outcomes = at_label == highest
    doubtful = (outcomes & (highest < 0.52)).nonzero().squeeze(-1)
    if len(doubtful):
        outcomes[doubtful] = probs[doubtful].argmax(-1) == labels[doubtful]
    # A row may exceed 1 by the rounding of its dtype.
    return highest.double().clamp_max(1), outcomes


def _wrong_shape(scores: Tensor, labels: Tensor, kind: Kind, class_dim: int) -> str:
    shape = list(scores.shape)
    del shape[class_dim]
    wanted = f"({shape[0]},)" if len(shape) == 1 else str(tuple(shape))
    if scores.ndim == 2 and class_dim in (1, -1):
        rule = f"one per row of `{kind}`"
    else:
        rule = f"that of `{kind}` without the classes in dimension {class_dim}"
    way_out = "" if scores.ndim == 2 else "; `class_dim=-1` if the classes are last"
    return f"`labels` must have shape {wanted}, {rule}, got {tuple(labels.shape)}{way_out}"
