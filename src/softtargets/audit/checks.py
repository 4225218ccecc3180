"""Checks of what is read, block by block; the first bad row is named."""

from collections.abc import Iterator
from contextlib import closing

from torch import Tensor

from softtargets.audit.errors import AuditError
from softtargets.audit.predictions import Block, Predictions
from softtargets.calibration.checks import are_distributions, first, flaw_of


class Checked:
    """The blocks of predictions, checked; iterating reads the file once.

    Yields `(scores, labels)`: scores `(b, K)` in the stored type, labels `(b,)` int64.

    Args:
        predictions: what a file holds.

    Raises:
        AuditError: NaN, infinities, rows that do not sum to 1, labels that are no classes, no rows,
            labels of one class only, or logits that are probabilities; while iterating.
    """

    def __init__(self, predictions: Predictions) -> None:
        self._of = predictions
        self._row = 0
        self._classes_seen: set[int] = set()
        self._like_probs = True

    def __iter__(self) -> Iterator[Block]:
        with closing(self._of.read()) as blocks:
            for scores, labels in blocks:
                self._check_scores(scores)
                whole = self._whole_labels(labels)
                self._row += len(scores)
                if len(self._classes_seen) < 2:
                    self._classes_seen |= {int(whole.min()), int(whole.max())}
                yield scores, whole
        self._check_end()

    def _check_scores(self, scores: Tensor) -> None:
        kind = self._of.kind
        flaw = flaw_of(kind, scores)
        if flaw is not None:
            rule = flaw.text.format(place=self._of.place_of(self._row + flaw.row)).split("; ")[0]
            way_out = "mend or drop that sample"
            if kind == "probs":
                rounded = "save more digits, or " if "sum to 1" in rule else ""
                way_out = f"{rounded}if these are logits, say --logits {self._of.key}"
            raise self._error(f"{rule.removeprefix(f'`{kind}` ')}; {way_out}")
        self._like_probs = self._like_probs and kind == "logits" and are_distributions(scores)

    def _whole_labels(self, labels: Tensor) -> Tensor:
        num_classes = self._of.num_classes
        wrong = ~((labels >= 0) & (labels < num_classes))
        if labels.is_floating_point():
            wrong |= labels != labels.floor()
        if not bool(wrong.any()):
            return labels.long()
        row = first(wrong)
        value = labels[row].item()
        raise AuditError(
            f"{self._of.labels} must hold whole numbers in 0 .. {num_classes - 1}, got "
            f"{value:.6g} in row {self._row + row}; drop rows without a label"
        )

    def _check_end(self) -> None:
        if self._row == 0:
            raise self._error("holds no rows")
        if len(self._classes_seen) < 2:
            raise self._error(
                f"has one class only: every label is {next(iter(self._classes_seen))}; calibration "
                "needs samples of several classes"
            )
        if self._like_probs:
            raise self._error(
                "is declared as logits, but every row is a distribution (entries in [0, 1], sum 1);"
                f" say --probs {self._of.key}"
            )

    def _error(self, text: str) -> AuditError:
        return AuditError(f"{self._of.where} {text}")
