"""Checks of predictions and labels, each raising with name, rule, value and way out."""

import torch
from torch import Tensor

from softtargets import checks


def check_bins(bins: int, binning: str) -> int:
    """Return `bins` as an int if it is a positive integer and `binning` is known, or raise."""
    bins = checks.check_integer(bins, "bins")
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, got {bins}; 15 is customary")
    if binning not in ("width", "mass"):
        raise ValueError(f'`binning` must be "width" or "mass", got {binning!r}')
    return bins


def check_scores(scores: Tensor, labels: Tensor, name: str = "scores") -> None:
    """Raise unless `scores` is a NaN-free (N, K) and `labels` N integers in 0 .. K - 1."""
    _check_matrix(scores, name)
    _check_labels(labels, scores, name)
    if bool(scores.isnan().any()):
        raise ValueError(
            f"`{name}` must hold no NaN, got one in row {_first(scores.isnan().any(-1))}; "
            "find out where the model produced it"
        )


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise unless every row of `logits` has a softmax (-inf masks a class) and labels fit."""
    check_scores(logits, labels, "logits")
    if bool((logits == torch.inf).any()):
        raise ValueError(
            "`logits` must be finite or -inf, got inf in row "
            f"{_first((logits == torch.inf).any(-1))}; compute them in a wider dtype"
        )
    dead = (logits == -torch.inf).all(-1)
    if bool(dead.any()):
        raise ValueError(
            f"`logits` must leave a class alive in each row, row {_first(dead)} is all -inf; "
            "drop that sample"
        )
    if logits.shape[1] > 1 and _are_distributions(logits):
        raise ValueError(
            "`logits` must be logits, but every row is a distribution (entries in [0, 1], sum 1); "
            "of probabilities pass the logarithm, `probs.log()`"
        )


def _are_distributions(scores: Tensor) -> bool:
    """Whether rows could be nothing but probabilities; a refusal, never another reading."""
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        return False
    tolerance = max(1e-4, 2 * torch.finfo(scores.dtype).eps)
    return bool(((scores.sum(-1, dtype=torch.float64) - 1).abs() <= tolerance).all())


def check_probs(probs: Tensor, labels: Tensor) -> None:
    """Raise, naming the first bad row, unless rows are distributions and the labels fit."""
    _check_matrix(probs, "probs")
    _check_labels(labels, probs, "probs")
    probs = probs.detach()
    way_out = "if these are logits, apply softmax to them first"
    outside = ~((probs >= 0) & probs.isfinite())
    if bool(outside.any()):
        row = _first(outside.any(-1))
        value = float(probs[row][outside[row]][0])
        raise ValueError(
            f"`probs` must have entries in [0, 1], got {value:g} in row {row}; {way_out}"
        )
    tolerance = max(1e-4, 2 * torch.finfo(probs.dtype).eps)
    total = probs.sum(-1, dtype=torch.float64)
    wrong = (total - 1).abs() > tolerance
    if bool(wrong.any()):
        row = _first(wrong)
        raise ValueError(
            f"`probs` must have rows that sum to 1 (within {tolerance:.2g} for {probs.dtype}), "
            f"row {row} sums to {float(total[row]):.6g}; {way_out}"
        )


def _check_matrix(scores: Tensor, name: str) -> None:
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(
            f"`{name}` must be a floating point tensor, got {kind}; `torch.from_numpy` makes one "
            "of an array"
        )
    if scores.ndim != 2:
        raise ValueError(
            f"`{name}` must have shape (N, K), got {tuple(scores.shape)}; move the classes last "
            "and flatten the rest; two classes need both columns"
        )
    if scores.numel() == 0:
        raise ValueError(
            f"`{name}` must hold at least one sample and one class, got shape "
            f"{tuple(scores.shape)}; collect predictions before measuring"
        )


def _check_labels(labels: Tensor, scores: Tensor, name: str) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"`labels` must be a tensor of integers, got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"`labels` must hold integers, got {labels.dtype}; use `.argmax(-1)` of one-hot rows "
            "or `.long()`"
        )
    num_samples, num_classes = scores.shape
    if labels.shape != (num_samples,):
        raise ValueError(
            f"`labels` must have shape ({num_samples},), one per row of `{name}`, got "
            f"{tuple(labels.shape)}"
        )
    wrong = (labels < 0) | (labels >= num_classes)
    if bool(wrong.any()):
        row = _first(wrong)
        raise ValueError(
            f"`labels` must be in 0 .. {num_classes - 1}, got {int(labels[row])} at {row}; "
            "drop samples without a label before measuring"
        )


def _first(wrong: Tensor) -> int:
    return int(wrong.nonzero()[0])
