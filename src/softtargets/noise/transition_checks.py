"""The checks of what a transition matrix is estimated from."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor

from softtargets import checks

Method = Literal["anchor", "confident", "dual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Checked arguments of an estimate, without the ignored samples.

    Attributes:
        probs: `(N, K)` float64, rows sum to 1.
        labels: `(N,)` int64 on the same device, None where the method does without.
        method: how the matrix is made of them.
        quantile: of the anchors, in [0, 1]; 1 is the largest.
    """

    probs: Tensor
    labels: Tensor | None
    method: Method
    quantile: float


def check_evidence(
    probs: Tensor,
    labels: Tensor | None,
    method: Method,
    quantile: float | None,
    ignore_index: int,
) -> Evidence:
    """Return the evidence in float64, or raise with name, rule, value and way out."""
    if method not in get_args(Method):
        known = ", ".join(f'"{name}"' for name in get_args(Method))
        raise ValueError(f"`method` must be one of {known}, got {method!r}")
    if labels is None and method != "anchor":
        raise ValueError(
            f'`labels` must be given for method "{method}", which counts them, got None; pass the '
            'noisy labels, or use method="anchor"'
        )
    checked = _check_quantile(quantile, method)
    _check_shape(probs)
    if labels is not None:
        labels = _check_labels(labels, probs).to(probs.device)
        counted = labels != ignore_index
        probs, labels = probs[counted], labels[counted]
    num_samples, num_classes = probs.shape
    checks.check_two_classes(num_classes, "a transition matrix")
    if num_samples < num_classes:
        raise ValueError(
            f"`probs` must hold at least as many samples as classes, got {num_samples} samples "
            f"that are not ignored and {num_classes} classes; predict more samples"
        )
    if labels is not None:
        checks.check_labels_in_range(labels, num_classes)
        check_class_counts(labels, num_classes, 1, "leave the class out of `probs`")
        if quantile is not None:
            least = num_samples - anchor_place(checked, num_samples)
            way_out = f"the anchor is the {least}. largest probability, take a larger `quantile`"
            check_class_counts(labels, num_classes, least, way_out)
    return Evidence(
        probs=distributions(probs, "probs"), labels=labels, method=method, quantile=checked
    )


def anchor_place(quantile: float, num_samples: int) -> int:
    """Return which of the ascending probabilities of a class, from 0 on, is that of its anchor."""
    return min(math.floor(quantile * (num_samples - 1) + 1e-9), num_samples - 1)


def distributions(probs: Tensor, name: str) -> Tensor:
    """Return `(N, K)` probabilities in float64, rows divided by their sum, or raise."""
    probs = probs.detach()
    unfinished = ~probs.isfinite().all(-1)
    if bool(unfinished.any()):
        raise ValueError(
            f"`{name}` must be finite, got NaN or infinity in row {int(unfinished.nonzero()[0])}; "
            "find out where the model produced it"
        )
    tolerance = max(1e-4, 2 * torch.finfo(probs.dtype).eps)
    rows = probs.double()
    total, least = rows.sum(-1), rows.amin(-1)
    wrong = ((total - 1).abs() > tolerance) | (least < 0)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"`{name}` must hold distributions (entries >= 0, rows summing to 1 within "
            f"{tolerance:.2g}), row {row} sums to {float(total[row]):.6g} with minimum "
            f"{float(least[row]):.6g}; apply softmax to logits first"
        )
    return rows / total.unsqueeze(-1)


def check_class_counts(labels: Tensor, num_classes: int, least: int, way_out: str) -> None:
    """Raise, naming the first such class, where a class has fewer than `least` samples."""
    counts = torch.bincount(labels, minlength=num_classes)
    few = (counts < least).nonzero().flatten()
    if len(few):
        first = int(few[0])
        raise ValueError(
            f"`labels` must hold at least {least} of every class 0 .. {num_classes - 1}, got "
            f"{int(counts[first])} of class {first}; {way_out}"
        )


def check_draws(draws: int, level: float) -> None:
    """Raise unless `draws` is an integer and each tail of the interval holds one of them."""
    if isinstance(level, bool) or not isinstance(level, Real):
        raise TypeError(f"`level` must be a number, got {type(level).__name__}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be above 0 and below 1, got {level}; 0.95 is customary")
    if isinstance(draws, bool) or not isinstance(draws, int):
        raise TypeError(f"`draws` must be an integer, got {type(draws).__name__}")
    tail = (1 - level) / 2
    if draws * tail < 1 - 1e-9:
        raise ValueError(
            f"`draws` must put a draw into each tail of the interval, at least "
            f"{math.ceil((1 - 1e-9) / tail)} for level {level}, got {draws}; 1000 is customary"
        )


def _check_shape(probs: Tensor) -> None:
    checks.check_floating(probs, "probs", "; `torch.from_numpy` makes one of an array")
    if probs.ndim != 2:
        raise ValueError(
            f"`probs` must have shape (N, K), got {tuple(probs.shape)}; move the classes last and "
            "flatten the rest; two classes need both columns"
        )


def _check_labels(labels: Tensor, probs: Tensor) -> Tensor:
    checks.check_labels_dtype(labels)
    if labels.shape != probs.shape[:1]:
        raise ValueError(
            f"`labels` must have shape ({len(probs)},), one per row of `probs`, got "
            f"{tuple(labels.shape)}; flatten both in the same order"
        )
    return labels.long()


def _check_quantile(quantile: float | None, method: Method) -> float:
    if quantile is None:
        return 1.0
    if method == "confident":
        raise ValueError(
            '`quantile` must be None for method "confident", which has no anchors, got '
            f'{quantile}; it belongs to "anchor" and "dual"'
        )
    way_out = "; it is a share, no percentage: 97 % is 0.97"
    return checks.check_fraction(quantile, "quantile", way_out=way_out)
