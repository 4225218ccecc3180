"""Binary and multi-label predictions: how right are the probabilities of events?

Two classes have two calibrations, so none is guessed: the functions here say P(y = 1), or ask.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from softtargets.calibration.binning import Binning, BinStatistics, Norm
from softtargets.calibration.checks import check_bins
from softtargets.calibration.errors import mean_error
from softtargets.calibration.events import Events, label_events
from softtargets.calibration.smooth import smooth_error

Of = Literal["event", "prediction"]


def binary_calibration_error(
    probs: Tensor,
    labels: Tensor,
    *,
    of: Of,
    bins: int = 15,
    binning: Binning = "width",
    norm: Norm = "l1",
    debiased: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """Calibration error of P(y = 1), or of the confidence in the predicted one of two classes.

    `of="event"` bins P(y = 1) and compares it with the frequency of y = 1: the question of a
    forecast. `of="prediction"` bins max(P, 1 - P) and compares it with accuracy: the question of
    `expected_calibration_error` with both columns. They differ wherever errors on the two sides
    of 1/2 cancel, so there is no default.

    Args:
        probs: any shape, floating point in [0, 1]: P(y = 1). Of logits pass `logits.sigmoid()`.
        labels: the same shape, 0 or 1, integers or bool.
        of: "event" or "prediction" (P = 1/2 predicts 0).
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        norm: "l1", "l2" or "max"; see `expected_calibration_error`.
        debiased: subtract what sampling noise alone contributes; "l1" and "l2" only.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1]; the debiased l2 error may be negative.

    Raises:
        ValueError: `probs` outside [0, 1], labels that do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs, labels = torch.tensor([0.1, 0.1, 0.9, 0.9]), torch.tensor([0, 1, 1, 0])
        >>> binary_calibration_error(probs, labels, of="event")
        tensor(0.4000, dtype=torch.float64)
        >>> binary_calibration_error(probs[1:3], labels[1:3], of="event")
        tensor(0.5000, dtype=torch.float64)
        >>> binary_calibration_error(probs[1:3], labels[1:3], of="prediction")
        tensor(0.4000, dtype=torch.float64)
    """
    bins = check_bins(bins, binning)
    scores, outcomes = _read(probs, labels, of, ignore_index)
    statistics = BinStatistics.from_scores(scores, outcomes, bins=bins, binning=binning)
    return statistics.calibration_error(norm=norm, debiased=debiased)


def binary_smooth_calibration_error(
    probs: Tensor, labels: Tensor, *, of: Of, ignore_index: int = -100
) -> Tensor:
    """Smooth calibration error of P(y = 1), or of the confidence in the predicted class.

    See `smooth_calibration_error` for the definition and `binary_calibration_error` for `of`.

    Args:
        probs: any shape, floating point in [0, 1]: P(y = 1).
        labels: the same shape, 0 or 1, integers or bool.
        of: "event" or "prediction" (P = 1/2 predicts 0).
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` outside [0, 1], or labels that do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([0.1, 0.2])
        >>> binary_smooth_calibration_error(probs, torch.tensor([0, 0]), of="event")
        tensor(0.1500, dtype=torch.float64)
    """
    return smooth_error(*_read(probs, labels, of, ignore_index))


def multilabel_calibration_error(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    norm: Norm = "l1",
    debiased: bool = False,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Tensor:
    """Mean over labels of each label's own binary calibration error, `of="event"`.

    Labels do not exclude each other: each has a probability and an answer. A label that no sample
    has an answer for is left out of the mean. The mean is formed as in
    `classwise_calibration_error`.

    Args:
        probs: `(N, L)`, or more dimensions, floating point in [0, 1].
        labels: the same shape, 0 or 1, integers or bool.
        bins: number of bins, at least 1.
        binning: "width", or "mass" with edges of its own for each label.
        norm: "l1", "l2" or "max".
        debiased: subtract what sampling noise alone contributes; "l1" and "l2" only.
        class_dim: where the labels' dimension is.
        ignore_index: the answer of entries to leave out, which may differ by label.

    Returns:
        0-dim, float64, in [0, 1]; the debiased l2 error may be negative.

    Raises:
        ValueError: `probs` outside [0, 1], labels that do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.4], [0.9, 0.4]])
        >>> multilabel_calibration_error(probs, torch.tensor([[1, 1], [1, -100]]))
        tensor(0.3500, dtype=torch.float64)
    """
    bins = check_bins(bins, binning)
    errors = []
    for events in label_events(probs, labels, class_dim=class_dim, ignore_index=ignore_index):
        statistics = BinStatistics.from_scores(*events.read(), bins=bins, binning=binning)
        errors.append(statistics.calibration_error(norm=norm, debiased=debiased, floor=False))
    return mean_error(torch.stack(errors), norm=norm, debiased=debiased)


def multilabel_smooth_calibration_error(
    probs: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
) -> Tensor:
    """Mean over labels of each label's own smooth calibration error.

    Args:
        probs: `(N, L)`, or more dimensions, floating point in [0, 1].
        labels: the same shape, 0 or 1, integers or bool.
        class_dim: where the labels' dimension is.
        ignore_index: the answer of entries to leave out, which may differ by label.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` outside [0, 1], or labels that do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.4], [0.8, 0.2]])
        >>> multilabel_smooth_calibration_error(probs, torch.tensor([[1, 0], [1, 0]]))
        tensor(0.2250, dtype=torch.float64)
    """
    each = label_events(probs, labels, class_dim=class_dim, ignore_index=ignore_index)
    return torch.stack([smooth_error(*events.read()) for events in each]).mean()


def binary_brier_score(probs: Tensor, labels: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Mean of (P(y = 1) - y)^2 over all entries: binary, multi-label, or per pixel.

    Args:
        probs: any shape, floating point in [0, 1]: P(y = 1).
        labels: the same shape, 0 or 1, integers or bool.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` outside [0, 1], or labels that do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> binary_brier_score(torch.tensor([0.5, 1.0]), torch.tensor([1, 1]))
        tensor(0.1250, dtype=torch.float64)
    """
    events = Events.of(probs, labels, "probs", ignore_index=ignore_index)
    total = sum((scores - happened.double()).square().sum() for scores, happened in events.blocks())
    return torch.as_tensor(total / events.num_samples)


def binary_negative_log_likelihood(
    logits: Tensor, labels: Tensor, *, ignore_index: int = -100
) -> Tensor:
    """Mean of -log P(y) with P(y = 1) = sigmoid(logit), over all entries, in float64.

    Of probabilities pass `probs.logit()`.

    Args:
        logits: any shape, floating point without NaN.
        labels: the same shape, 0 or 1, integers or bool.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, inf].

    Raises:
        ValueError: a NaN, or labels that do not fit.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> binary_negative_log_likelihood(torch.zeros(2), torch.tensor([1, 0]))
        tensor(0.6931, dtype=torch.float64)
    """
    events = Events.of(logits, labels, "logits", ignore_index=ignore_index)
    zero = torch.zeros((), dtype=torch.float64, device=logits.device)
    total = sum(
        torch.logaddexp(zero, torch.where(happened, -scores, scores)).sum()
        for scores, happened in events.blocks()
    )
    return torch.as_tensor(total / events.num_samples)


def _read(probs: Tensor, labels: Tensor, of: Of, ignore_index: int) -> tuple[Tensor, Tensor]:
    if of not in get_args(Of):
        raise ValueError(
            f'`of` must be "event", for P(y = 1), or "prediction", for the predicted class, got '
            f"{of!r}"
        )
    scores, outcomes = Events.of(probs, labels, "probs", ignore_index=ignore_index).read()
    if of == "event":
        return scores, outcomes
    positive = scores > 0.5
    return torch.where(positive, scores, 1 - scores), outcomes == positive
