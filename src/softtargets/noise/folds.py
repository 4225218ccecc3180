"""Predictions for every sample by a model that has not seen it."""

from collections.abc import Callable

import torch
from torch import Tensor

from softtargets import checks
from softtargets.noise.transition_checks import (
    check_class_counts,
    distributions,
)

Predict = Callable[[Tensor], Tensor]
Fit = Callable[[Tensor, Tensor], Predict]


def out_of_fold_probs(
    fit: Fit,
    inputs: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    folds: int = 5,
    generator: torch.Generator,
) -> Tensor:
    """Predict every sample once, by a model trained on the other folds.

    A model's answers on its own training samples repeat their labels, noise included. The folds
    are stratified: the samples of a class are shuffled and dealt out in turn, so that per class and
    in all no fold has more than one sample more than another.

    Args:
        fit: `fit(inputs, labels) -> predict` trains a new model; `predict(inputs) -> probs` gives
            `(n, K)` probabilities, floating point, and is called once with one fold.
        inputs: `(N, ...)`, samples first.
        labels: `(N,)` noisy labels in 0 .. K-1, of every class at least `folds`.
        num_classes: K, at least 2.
        folds: number of models, at least 2.
        generator: on the CPU; deals out the samples. What `fit` draws is its own affair.

    Returns:
        `(N, K)` float64 probabilities in the order of the samples, on the device of `labels`.

    Raises:
        TypeError: `fit` or what it returns cannot be called, or a wrong dtype.
        ValueError: shapes, labels or folds do not fit, a class has fewer samples than folds, or
            predictions are no distributions.

    Example:
        >>> import torch, softtargets as st
        >>> def fit(inputs, labels):
        ...     centres = torch.stack([inputs[labels == k].mean(0) for k in range(2)])
        ...     return lambda inputs: (-torch.cdist(inputs, centres)).softmax(-1)
        >>> labels = torch.arange(2).repeat(50)
        >>> inputs = 3.0 * torch.eye(2)[labels] + torch.randn(100, 2)
        >>> generator = torch.Generator().manual_seed(0)
        >>> st.noise.out_of_fold_probs(fit, inputs, labels, 2, generator=generator).shape
        torch.Size([100, 2])

    References:
        Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", 1974.
    """
    checks.check_cpu_generator(generator)
    labels = _check(fit, inputs, labels, num_classes, folds)
    fold = _dealt(labels, num_classes, folds, generator)
    probs = torch.empty(len(labels), num_classes, dtype=torch.float64, device=labels.device)
    for number in range(folds):
        held = fold == number
        train, test = (~held).to(inputs.device), held.to(inputs.device)
        predict = fit(inputs[train], labels[~held])
        if not callable(predict):
            raise TypeError(
                "`fit` must return a callable that predicts, got "
                f"{type(predict).__name__}; return `lambda inputs: model(inputs).softmax(-1)`"
            )
        answer = predict(inputs[test])
        probs[held] = _check_answer(answer, int(held.sum()), num_classes, number).to(probs.device)
    return probs


def _dealt(labels: Tensor, num_classes: int, folds: int, generator: torch.Generator) -> Tensor:
    """`(N,)`: the fold of each sample."""
    shuffled = torch.randperm(len(labels), generator=generator).to(labels.device)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    fold = torch.empty_like(labels)
    fold[by_class] = torch.arange(len(labels), device=labels.device) % folds
    return fold


def _check(fit: Fit, inputs: Tensor, labels: Tensor, num_classes: int, folds: int) -> Tensor:
    if not callable(fit):
        raise TypeError(
            f"`fit` must be callable as fit(inputs, labels), got {type(fit).__name__}; pass a "
            "function that trains a new model"
        )
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"`inputs` must be a tensor, got {type(inputs).__name__}; pass sample numbers, "
            "`torch.arange(N)`, and look the samples up in `fit` and `predict`"
        )
    if isinstance(folds, bool) or not isinstance(folds, int):
        raise TypeError(f"`folds` must be an integer, got {type(folds).__name__}")
    if folds < 2:
        raise ValueError(f"`folds` must be at least 2, got {folds}; 5 is customary")
    checks.check_labels_dtype(labels)
    checks.check_two_classes(checks.check_num_classes(num_classes), "a transition matrix")
    if labels.ndim != 1 or inputs.ndim == 0 or len(inputs) != len(labels):
        raise ValueError(
            "`inputs` must have shape (N, ...) and `labels` (N,), got "
            f"{tuple(inputs.shape)} and {tuple(labels.shape)}; put the samples first"
        )
    outside = (labels < 0) | (labels >= num_classes)
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        raise ValueError(
            f"`labels` must be in 0 .. {num_classes - 1}, got {int(labels[first])} at {first}; "
            "drop samples without a label"
        )
    labels = labels.long()
    check_class_counts(labels, num_classes, folds, "take fewer `folds`, or leave the class out")
    return labels


def _check_answer(answer: Tensor, num_samples: int, num_classes: int, number: int) -> Tensor:
    name = f"predict(inputs) of fold {number}"
    checks.check_floating(answer, name, "; return probabilities")
    if answer.shape != (num_samples, num_classes):
        raise ValueError(
            f"`{name}` must have shape ({num_samples}, {num_classes}), one row per input, got "
            f"{tuple(answer.shape)}; predict all inputs, in their order"
        )
    return distributions(answer, name)
