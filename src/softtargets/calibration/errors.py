"""Calibration errors of probabilities over bins: top-label, its two signs, and class-wise."""

from torch import Tensor

from softtargets.calibration.binning import Binning, BinStatistics, Norm


def expected_calibration_error(
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
    """Top-label calibration error: predicted confidence against accuracy, over bins.

        l1 = sum_b w_b |g_b|      l2 = sqrt(sum_b w_b g_b^2)      max = max_b |g_b|

    with w_b the share of samples in bin b and g_b = accuracy - mean confidence there. The three
    are known as ECE, root-mean-square calibration error (RMSCE) and MCE. With equal
    width, bin b is (b / bins, (b + 1) / bins] in float64: an edge belongs to the bin below it, a
    confidence of 1 to the last bin. For two classes too the confidence is that of the *predicted*
    class, not P(class 1), which `binary_calibration_error` offers.

    The plain error of a perfectly calibrated model is well above 0 on small samples.
    `debiased=True` subtracts that: from the l2 error, squared, the variance a_b (1 - a_b) /
    (n_b - 1) of each bin's accuracy a_b (a bin of one sample uses its confidence c: c (1 - c)); a
    negative difference x is returned as -sqrt(-x). From the l1 error it subtracts the expected
    excess sum_b w_b (E|N(h_b, s_b^2)| - h_b), with s_b^2 = r_b (1 - r_b) / n_b, r_b the accuracy
    after adding one sample worth the mean confidence, and h_b = |g_b| shrunk by one factor for
    all bins so that sum w h^2 = max(0, sum w g^2 - sum w s^2); the result is floored at 0.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples (equal scores stay together).
        norm: "l1", "l2" or "max".
        debiased: subtract what sampling noise alone contributes; "l1" and "l2" only.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1]; the debiased l2 error may be negative.

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        >>> expected_calibration_error(probs, torch.tensor([0, 1]), bins=2)
        tensor(0.1500, dtype=torch.float64)

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
        Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS 2019 (debiasing).
    """
    statistics = BinStatistics.top_label(
        probs, labels, bins=bins, binning=binning, class_dim=class_dim, ignore_index=ignore_index
    )
    return statistics.calibration_error(norm=norm, debiased=debiased)


def overconfidence_error(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Tensor:
    """The part of the ECE from bins whose mean confidence exceeds their accuracy.

        sum_b w_b max(0, confidence_b - accuracy_b)

    With `underconfidence_error` it adds up to the l1 `expected_calibration_error` of the same
    bins; their difference is mean confidence - accuracy, whatever the bins. Both are biased
    upwards by noise as the ECE is; their difference is not.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs, labels = torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([1, 1])
        >>> overconfidence_error(probs, labels), underconfidence_error(probs, labels)
        (tensor(0.4500, dtype=torch.float64), tensor(0.2000, dtype=torch.float64))

    References:
        Thulasidasan et al., On Mixup Training, NeurIPS 2019 (which weighs the parts by confidence).
    """
    statistics = BinStatistics.top_label(
        probs, labels, bins=bins, binning=binning, class_dim=class_dim, ignore_index=ignore_index
    )
    return (-statistics.signed_gaps).clamp_min(0).sum()


def underconfidence_error(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    class_dim: int = 1,
    ignore_index: int = -100,
) -> Tensor:
    """The part of the ECE from bins whose accuracy exceeds their mean confidence.

        sum_b w_b max(0, accuracy_b - confidence_b)

    See `overconfidence_error`, the other part.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1].

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> underconfidence_error(torch.tensor([[0.6, 0.4]]), torch.tensor([0]))
        tensor(0.4000, dtype=torch.float64)
    """
    statistics = BinStatistics.top_label(
        probs, labels, bins=bins, binning=binning, class_dim=class_dim, ignore_index=ignore_index
    )
    return statistics.signed_gaps.clamp_min(0).sum()


def classwise_calibration_error(
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
    """Mean over classes of the binned |P(k) - frequency of label k| over *all* samples.

        l1 = 1/K sum_k sum_b w_kb |g_kb|      l2 = sqrt(1/K sum_k sum_b w_kb g_kb^2)

    with w_kb the share of all samples whose P(k) is in bin b, and g_kb the frequency of label k
    there minus the mean P(k); "max" is the largest |g_kb|. Every sample counts for every class,
    not only for the class of its label. Bins and debiasing are those of
    `expected_calibration_error`; the floor at 0 is applied to the mean. The errors of single
    classes are `BinStatistics.class_wise(probs, labels).calibration_error()`.

    Args:
        probs: `(N, K)`, or more dimensions, floating point, distributions over the classes.
        labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" with edges of its own for each class.
        norm: "l1", "l2" or "max".
        debiased: subtract what sampling noise alone contributes; "l1" and "l2" only.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.
        ignore_index: the label of positions to leave out.

    Returns:
        0-dim, float64, in [0, 1]; the debiased l2 error may be negative.

    Raises:
        ValueError: `probs` are not distributions, labels do not fit, or an unknown option.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        >>> classwise_calibration_error(probs, torch.tensor([0, 1]), bins=2)
        tensor(0.1500, dtype=torch.float64)

    References:
        Kull et al., Beyond temperature scaling, NeurIPS 2019.
        Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS 2019 (l2, "marginal").
    """
    statistics = BinStatistics.class_wise(
        probs, labels, bins=bins, binning=binning, class_dim=class_dim, ignore_index=ignore_index
    )
    errors = statistics.calibration_error(norm=norm, debiased=debiased, floor=False)
    return mean_error(errors, norm=norm, debiased=debiased)


def mean_error(errors: Tensor, *, norm: Norm, debiased: bool) -> Tensor:
    """The error of all groups together, from those of each; the floor comes last."""
    if norm == "max":
        return errors.amax()
    if norm == "l2":
        square = (errors.sign() * errors.square()).mean()
        return square.sign() * square.abs().sqrt()
    return errors.mean().clamp_min(0) if debiased else errors.mean()
