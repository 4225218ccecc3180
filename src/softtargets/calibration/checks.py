"""Checks of predictions and labels, each raising with name, rule, value and way out."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softtargets import checks

Kind = Literal["probs", "logits", "scores"]

_BLOCK_ELEMENTS = 2**20  # values are checked in blocks of this many


class Flaw(NamedTuple):
    """The first bad row of some predictions, and a sentence with `{place}` where it is named."""

    row: int
    text: str


def check_bins(bins: int, binning: str) -> int:
    """Return `bins` as an int if it is a positive integer and `binning` is known, or raise."""
    bins = checks.check_integer(bins, "bins")
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, got {bins}; 15 is customary")
    if binning not in ("width", "mass"):
        raise ValueError(f'`binning` must be "width" or "mass", got {binning!r}')
    return bins


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise unless every row of `logits` has a softmax (-inf masks a class) and labels fit."""
    _check_matrix(logits, labels, "logits")
    _check_logit_values(logits)


def check_logit_rows(logits: Tensor) -> None:
    """Raise unless `logits` is `(N, K)` and every row has a softmax (-inf masks a class)."""
    _check_rows(logits, "logits")
    _check_logit_values(logits)


def _check_logit_values(logits: Tensor) -> None:
    suspicious = True
    size = max(1, _BLOCK_ELEMENTS // logits.shape[1])
    for start in range(0, len(logits), size):
        rows = logits.detach()[start : start + size]
        flaw = flaw_of("logits", rows)
        if flaw is not None:
            raise_flaw(flaw, f"row {start + flaw.row}")
        suspicious = suspicious and are_distributions(rows)
    if suspicious:
        refuse_distributions()


def raise_flaw(flaw: Flaw | None, place: str | None = None) -> None:
    """Raise for a flaw, if there is one; `place` says where its row is in the user's tensor."""
    if flaw is not None:
        raise ValueError(flaw.text.format(place=place or f"row {flaw.row}"))


def flaw_of(kind: Kind, rows: Tensor) -> Flaw | None:
    """What is wrong with the values of `(n, K)` rows, if anything."""
    if kind == "probs":
        return _flaw_of_probs(rows)
    # The maximum of a row is finite only without NaN, without inf and with a living class.
    if bool(rows.amax(-1).isfinite().all()):
        return None
    if bool(rows.isnan().any()):
        row = first(rows.isnan().any(-1))
        text = f"`{kind}` must hold no NaN, got one in {{place}}; find out where the model made it"
        return Flaw(row, text)
    return _flaw_of_logits(rows) if kind == "logits" else None


def are_distributions(rows: Tensor) -> bool:
    """Whether rows could be nothing but probabilities; a refusal, never another reading."""
    if rows.shape[-1] == 1 or not bool(((rows >= 0) & (rows <= 1)).all()):
        return False
    return bool(((_totals(rows) - 1).abs() <= _tolerance(rows.dtype)).all())


def refuse_distributions() -> None:
    """Raise for logits all of whose rows are distributions."""
    raise ValueError(
        "`logits` must be logits, but every row is a distribution (entries in [0, 1], sum 1); "
        "of probabilities pass the logarithm, `probs.log()`"
    )


def check_floating(values: Tensor, name: str) -> None:
    """Raise unless `values` is a floating point tensor."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(
            f"`{name}` must be a floating point tensor, got {kind}; `torch.from_numpy` makes one "
            "of an array"
        )


def check_integers(labels: Tensor) -> None:
    """Raise unless `labels` is a tensor of integers."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"`labels` must be a tensor of integers, got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"`labels` must hold integers, got {labels.dtype}; use `.argmax(-1)` of one-hot rows "
            "or `.long()`"
        )


def check_range(labels: Tensor, num_classes: int, way_out: str, ignored: Tensor | None) -> None:
    """Raise unless the labels that are not ignored are in 0 .. num_classes - 1."""
    wrong = (labels < 0) | (labels >= num_classes)
    if ignored is not None:
        wrong &= ~ignored
    if bool(wrong.any()):
        place = [int(i) for i in wrong.nonzero()[0]]
        raise ValueError(
            f"`labels` must be in 0 .. {num_classes - 1}, got {int(labels[tuple(place)])} at "
            f"{place[0] if len(place) == 1 else tuple(place)}; {way_out}"
        )


def check_not_empty(scores: Tensor, name: str) -> None:
    """Raise unless there is something to measure."""
    if scores.numel() == 0:
        raise ValueError(
            f"`{name}` must hold at least one sample and one class, got shape "
            f"{tuple(scores.shape)}; collect predictions before measuring"
        )


def first(wrong: Tensor) -> int:
    """Index of the first True."""
    return int(wrong.nonzero()[0])


def check_label_shape(labels: Tensor, scores: Tensor, name: str) -> None:
    """Raise unless there is one label per row of the scores called `name`."""
    if labels.shape != scores.shape[:1]:
        raise ValueError(
            f"`labels` must have shape ({len(scores)},), one per row of `{name}`, got "
            f"{tuple(labels.shape)}"
        )


def _check_matrix(scores: Tensor, labels: Tensor, name: str) -> None:
    _check_rows(scores, name)
    check_integers(labels)
    check_label_shape(labels, scores, name)
    way_out = "drop samples without a label before measuring"
    check_range(labels.long(), scores.shape[1], way_out, None)


def _check_rows(scores: Tensor, name: str) -> None:
    check_floating(scores, name)
    if scores.ndim != 2:
        raise ValueError(
            f"`{name}` must have shape (N, K), got {tuple(scores.shape)}; move the classes last "
            "and flatten the rest; two classes need both columns"
        )
    check_not_empty(scores, name)


def _flaw_of_probs(rows: Tensor) -> Flaw | None:
    tolerance = _tolerance(rows.dtype)
    total = _totals(rows)
    # A NaN makes the sum NaN, and infinity makes it infinite or NaN.
    right = (total - 1).abs() <= tolerance
    if bool(rows.amin() >= 0) and bool(right.all()):
        return None
    way_out = "if these are logits, apply softmax to them first"
    outside = ~((rows >= 0) & rows.isfinite())
    if bool(outside.any()):
        row = first(outside.any(-1))
        value = float(rows[row][outside[row]][0])
        text = f"`probs` must have entries in [0, 1], got {value:g} in {{place}}; {way_out}"
        return Flaw(row, text)
    row = first(~right)
    text = (
        f"`probs` must have rows that sum to 1 (within {tolerance:.2g} for {rows.dtype}), "
        f"{{place}} sums to {float(total[row]):.6g}; {way_out}"
    )
    return Flaw(row, text)


def _flaw_of_logits(rows: Tensor) -> Flaw | None:
    infinite = rows == torch.inf
    if bool(infinite.any()):
        text = "`logits` must be finite or -inf, got inf in {place}; compute them in a wider dtype"
        return Flaw(first(infinite.any(-1)), text)
    dead = (rows == -torch.inf).all(-1)
    if bool(dead.any()):
        text = (
            "`logits` must leave a class alive in each row, {place} is all -inf; drop that sample"
        )
        return Flaw(first(dead), text)
    return None


def _totals(rows: Tensor) -> Tensor:
    """Row sums; float32 is wide enough for a tolerance of 1e-4 and twice as fast."""
    return rows.sum(-1, dtype=torch.promote_types(rows.dtype, torch.float32))


def _tolerance(dtype: torch.dtype) -> float:
    return max(1e-4, 2 * torch.finfo(dtype).eps)
