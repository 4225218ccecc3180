"""Checks of what is read, block by block; the first bad row is named."""

import torch
from torch import Tensor

from softtargets.audit.errors import AuditError
from softtargets.audit.predictions import Block, Predictions


class Checked:
    """The blocks of predictions, checked; iterating reads the file once.

    Yields `(scores, labels)`: scores `(b, K)` in the stored type, labels `(b,)` int64.

    Args:
        predictions: what a file holds.

    Raises:
        AuditError: NaN, infinities, rows that do not sum to 1, labels that are no classes, no rows,
            one class only, or logits that are probabilities; while iterating.
    """

    def __init__(self, predictions: Predictions) -> None:
        self._of = predictions
        self._row = 0
        self._classes_seen: set[int] = set()
        self._like_probs = True
        if predictions.num_classes < 2:
            raise AuditError(
                f"{predictions.where} must have at least 2 classes, got {predictions.num_classes}; "
                "two classes need both columns"
            )

    def __iter__(self) -> "Checked":
        self._blocks = self._of.read()
        return self

    def __next__(self) -> Block:
        try:
            scores, labels = next(self._blocks)
        except StopIteration:
            self._check_end()
            raise
        if self._of.kind == "probs":
            self._check_probs(scores)
        else:
            self._check_logits(scores)
        whole = self._whole_labels(labels)
        self._row += len(scores)
        if len(self._classes_seen) < 2:
            self._classes_seen |= {int(whole.min()), int(whole.max())}
        return scores, whole

    def _check_probs(self, probs: Tensor) -> None:
        tolerance = sum_tolerance(probs.dtype)
        total = probs.sum(-1, dtype=torch.float64)
        # NaN fails the first comparison, infinity the second.
        if bool((probs.amin(-1) >= 0).all()) and bool(((total - 1).abs() <= tolerance).all()):
            return
        way_out = f"; if these are logits, say --logits {self._of.key}"
        outside = ~((probs >= 0) & probs.isfinite())
        if bool(outside.any()):
            row = _first(outside.any(-1))
            value = float(probs[row][outside[row]][0])
            raise self._error(f"has {value:g} in row {self._row + row}, not in [0, 1]{way_out}")
        row = _first((total - 1).abs() > tolerance)
        raise self._error(
            f"must have rows that sum to 1 (within {tolerance:.2g}), row {self._row + row} sums to "
            f"{float(total[row]):.6g}{way_out}"
        )

    def _check_logits(self, logits: Tensor) -> None:
        highest = logits.amax(-1)  # NaN where there is one
        bad = ~highest.isfinite()
        if bool(bad.any()):
            row = _first(bad)
            value = float(highest[row])
            if value == -torch.inf:
                raise self._error(
                    f"has nothing but -inf in row {self._row + row}; drop that sample"
                )
            raise self._error(f"has {value:g} in row {self._row + row}; drop or mend that sample")
        if self._like_probs:
            total = logits.sum(-1, dtype=torch.float64)
            near = (total - 1).abs() <= sum_tolerance(logits.dtype)
            self._like_probs = bool(near.all() and (logits.amin(-1) >= 0).all())

    def _whole_labels(self, labels: Tensor) -> Tensor:
        num_classes = self._of.num_classes
        wrong = ~((labels >= 0) & (labels < num_classes))
        if labels.is_floating_point():
            wrong |= labels != labels.floor()
        if not bool(wrong.any()):
            return labels.long()
        row = _first(wrong)
        value = labels[row].item()
        raise AuditError(
            f"{self._of.where}: labels must be whole numbers in 0 .. {num_classes - 1}, got "
            f"{value:.6g} in row {self._row + row}; drop samples without a label"
        )

    def _check_end(self) -> None:
        if self._row == 0:
            raise self._error("holds no rows")
        if len(self._classes_seen) < 2:
            raise self._error(
                f"has one class only: every label is {next(iter(self._classes_seen))}; calibration "
                "needs samples of several classes"
            )
        if self._of.kind == "logits" and self._like_probs:
            raise self._error(
                "is declared as logits, but every row is a distribution (entries in [0, 1], sum 1);"
                f" say --probs {self._of.key}"
            )

    def _error(self, text: str) -> AuditError:
        return AuditError(f"{self._of.where} {text}")


def sum_tolerance(dtype: torch.dtype) -> float:
    """Return how far from 1 a row of probabilities may sum."""
    return max(1e-4, 2 * torch.finfo(dtype).eps)


def _first(wrong: Tensor) -> int:
    return int(wrong.nonzero()[0])
