"""Selective prediction: how many errors are left when the least sure samples are set aside?

Where several samples have the same score, every value here is its expectation over their random
order: the order in which samples come never matters.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.calibration.checks import check_floating, first
from softtargets.calibration.samples import Samples
from softtargets.checks import check_number


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskCoverageCurve:
    """One point per distinct score, M of them, highest first; all tensors `(M,)`, float64.

    Args:
        coverage: share of samples whose score is at least `threshold`.
        risk: share of errors among them.
        threshold: the score.
    """

    coverage: Tensor
    risk: Tensor
    threshold: Tensor


def risk_coverage_curve(
    probs: Tensor,
    labels: Tensor,
    *,
    scores: Tensor | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> RiskCoverageCurve:
    """Error rate among the samples a model is surest of, for every share of samples kept.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        scores: the shape of the labels, floating point, higher is surer; None: the highest
            probability. `logit_norm_score` is another one.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        A `RiskCoverageCurve`.

    Raises:
        ValueError: `probs` are not distributions, labels or scores do not fit, or a NaN.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> curve = risk_coverage_curve(probs, torch.tensor([0, 1, 1, 1]))
        >>> curve.coverage.tolist(), curve.risk.tolist()
        ([0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.3333333333333333, 0.25])

    References:
        El-Yaniv and Wiener, On the foundations of noise-free selective classification, 2010.
    """
    groups = _Groups.of(*_scores_and_errors(probs, labels, scores, class_dim, ignore_index))
    kept = groups.counts.cumsum(0)
    return RiskCoverageCurve(
        coverage=kept.double() / kept[-1],
        risk=groups.errors.cumsum(0) / kept,
        threshold=groups.scores,
    )


def area_under_risk_coverage(
    probs: Tensor,
    labels: Tensor,
    *,
    scores: Tensor | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Tensor:
    """AURC: the error rate of the n surest samples, averaged over n = 1 .. N. Lower is better.

        AURC = 1/N sum_n (errors among the n highest scores) / n

    Only the order of the scores counts. A perfect order of the same errors does not reach 0, and
    fewer errors lower the area whatever the order: `excess_area_under_risk_coverage` measures the
    order alone.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        scores: the shape of the labels, floating point, higher is surer; None: the highest
            probability.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` are not distributions, labels or scores do not fit, or a NaN.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> area_under_risk_coverage(probs, torch.tensor([0, 1, 1, 1]))
        tensor(0.2708, dtype=torch.float64)

    References:
        Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural
        classifiers, ICLR 2019.
    """
    return area(*_scores_and_errors(probs, labels, scores, class_dim, ignore_index))


def excess_area_under_risk_coverage(
    probs: Tensor,
    labels: Tensor,
    *,
    scores: Tensor | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Tensor:
    """E-AURC: the AURC minus that of the best order of the same errors, all of them last.

    0 says that every error is less sure than every right answer. The best area is
    1/N sum_{n > N - E} (n - N + E) / n for E errors.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        scores: the shape of the labels, floating point, higher is surer; None: the highest
            probability.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1).

    Raises:
        ValueError: `probs` are not distributions, labels or scores do not fit, or a NaN.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> excess_area_under_risk_coverage(probs, torch.tensor([0, 1, 1, 1]))
        tensor(0.2083, dtype=torch.float64)

    References:
        Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural
        classifiers, ICLR 2019.
    """
    order, errors = _scores_and_errors(probs, labels, scores, class_dim, ignore_index)
    best = area(-errors.double(), errors)
    return (area(order, errors) - best).clamp_min(0)


def risk_at_coverage(
    probs: Tensor,
    labels: Tensor,
    *,
    coverage: float,
    scores: Tensor | None = None,
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Tensor:
    """Error rate when the surest share of the samples is answered and the rest set aside.

    The samples answered are the ceil(coverage N) of highest score.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        coverage: in (0, 1].
        scores: the shape of the labels, floating point, higher is surer; None: the highest
            probability.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `coverage` outside (0, 1], `probs` are not distributions, labels or scores do
            not fit, or a NaN.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> risk_at_coverage(probs, torch.tensor([0, 1, 1, 1]), coverage=0.5)
        tensor(0.5000, dtype=torch.float64)

    References:
        Geifman and El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017.
    """
    coverage = check_number(coverage, "coverage")
    if not 0 < coverage <= 1:
        raise ValueError(
            f"`coverage` must be in (0, 1], got {coverage}; 0.8 answers the surest 80 %"
        )
    expected = risks(*_scores_and_errors(probs, labels, scores, class_dim, ignore_index))
    # 0.7 * 10 is a little more than 7.
    answered = math.ceil(coverage * len(expected) * (1 - 1e-12))
    return expected[answered - 1]


def area(scores: Tensor, errors: Tensor) -> Tensor:
    """AURC of `(N,)` scores and errors."""
    return risks(scores, errors).mean()


def risks(scores: Tensor, errors: Tensor) -> Tensor:
    """`(N,)`: expected error rate of the n highest of `(N,)` scores, n = 1 .. N."""
    groups = _Groups.of(scores, errors)
    rates = groups.errors / groups.counts
    # Summing whole errors before a group keeps the sums exact: within, the rate is added n times.
    last = groups.counts.cumsum(0)
    start = (last - groups.counts).repeat_interleave(groups.counts)
    before = (groups.errors.cumsum(0) - groups.errors).repeat_interleave(groups.counts)
    answered = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64)
    expected = before + (answered - start) * rates.repeat_interleave(groups.counts)
    return expected / answered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Groups:
    """Samples of equal score, highest first: scores, counts (int64) and errors (float64)."""

    scores: Tensor
    counts: Tensor
    errors: Tensor

    @classmethod
    def of(cls, scores: Tensor, errors: Tensor) -> "_Groups":
        ordered, order = scores.sort(descending=True)
        values, group, counts = torch.unique_consecutive(
            ordered, return_inverse=True, return_counts=True
        )
        sums = torch.zeros(len(values), dtype=torch.float64, device=scores.device)
        sums.index_add_(0, group, errors[order].double())
        return cls(scores=values.double(), counts=counts, errors=sums)


def _scores_and_errors(
    probs: Tensor, labels: Tensor, scores: Tensor | None, class_dim: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    samples = Samples.of(probs, labels, "probs", class_dim=class_dim, ignore_index=ignore_index)
    chosen = None if scores is None else selected_scores(scores, samples)
    highest, right = samples.top_label()
    return highest if chosen is None else chosen, ~right


def selected_scores(scores: Tensor, samples: Samples) -> Tensor:
    """`(N,)`: the scores of the samples that count, or raise.

    Raises:
        ValueError: another shape than that of the labels, or a NaN.
        TypeError: not floating point.
    """
    check_floating(scores, "scores")
    if scores.shape != samples.labels.shape:
        raise ValueError(
            f"`scores` must have the shape of `labels`, {tuple(samples.labels.shape)}, got "
            f"{tuple(scores.shape)}"
        )
    chosen = samples.select(scores.detach())
    if bool(chosen.isnan().any()):
        raise ValueError(
            f"`scores` must hold no NaN, got one for sample {first(chosen.isnan())} of those that "
            "count; find out why it has no score"
        )
    return chosen
