"""Calibration errors of probabilities over bins: top-label and class-wise."""

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
) -> Tensor:
    """Top-label calibration error: predicted confidence against accuracy, over bins.

        l1 = sum_b w_b |g_b|      l2 = sqrt(sum_b w_b g_b^2)      max = max_b |g_b|

    with w_b the share of samples in bin b and g_b = accuracy - mean confidence there. With equal
    width, bin b is (b / bins, (b + 1) / bins] in float64: an edge belongs to the bin below it, a
    confidence of 1 to the last bin. For two classes too the confidence is that of the *predicted*
    class, not P(class 1).

    The plain error of a perfectly calibrated model is well above 0 on small samples.
    `debiased=True` subtracts that: from the l2 error, squared, the variance a_b (1 - a_b) /
    (n_b - 1) of each bin's accuracy a_b (a bin of one sample uses its confidence c: c (1 - c)); a
    negative difference x is returned as -sqrt(-x). From the l1 error it subtracts the expected
    excess sum_b w_b (E|N(h_b, s_b^2)| - h_b), with s_b^2 = r_b (1 - r_b) / n_b, r_b the accuracy
    after adding one sample worth the mean confidence, and h_b = |g_b| shrunk by one factor for
    all bins so that sum w h^2 = max(0, sum w g^2 - sum w s^2); the result is floored at 0.

    Args:
        probs: `(N, K)`, floating point, rows are distributions.
        labels: `(N,)`, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" for bins of equally many samples (equal scores stay together).
        norm: "l1", "l2" or "max".
        debiased: subtract what sampling noise alone contributes; "l1" and "l2" only.

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
    statistics = BinStatistics.top_label(probs, labels, bins=bins, binning=binning)
    return statistics.calibration_error(norm=norm, debiased=debiased)


def classwise_calibration_error(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    debiased: bool = False,
) -> Tensor:
    """Mean over classes of the binned |P(k) - frequency of label k| over *all* samples.

        1/K sum_k sum_b n_kb / N |frequency of label k in bin - mean P(k) in bin|

    Every sample counts for every class, not only for the class of its label. Bins and debiasing
    are those of `expected_calibration_error`; the floor at 0 is applied to the mean.

    Args:
        probs: `(N, K)`, floating point, rows are distributions.
        labels: `(N,)`, integers in 0 .. K - 1.
        bins: number of bins, at least 1.
        binning: "width", or "mass" with edges of its own for each class.
        debiased: subtract what sampling noise alone contributes.

    Returns:
        0-dim, float64, in [0, 1].

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
    """
    statistics = BinStatistics.class_wise(probs, labels, bins=bins, binning=binning)
    error = statistics.calibration_error(debiased=debiased, floor=False).mean()
    return error.clamp_min(0) if debiased else error
