"""Injecting label noise that depends on the sample, with a local generator."""

import torch
from torch import Tensor

from softtargets import checks
from softtargets.noise.drawing import NoisyLabels, checked_labels, checked_rate, flip, pick_by_class

_DEVIATION = 0.1  # of the rates of single samples, before truncation
_LARGEST = 1e100  # so that no projection overflows


def instance_dependent(
    features: Tensor,
    labels: Tensor,
    rate: float,
    num_classes: int,
    *,
    generator: torch.Generator,
    exact: bool = False,
    ignore_index: int = -100,
) -> NoisyLabels:
    r"""Flip labels by what the samples look like: alike samples of a class flip to one class.

        q_i ~ N(rate, 0.1^2), truncated to [rate - r, rate + r], r = min(rate, 1 - rate)
        W_c ~ N(0, 1), one S x K matrix per class
        P(noisy = j | x_i, y_i) = q_i softmax over j != y_i of (x_i W_{y_i})[j]
        P(noisy = y_i | x_i, y_i) = 1 - q_i

    The paper truncates to [0, 1], which moves the average rate away from `rate` (to 0.206 for 0.2,
    to 0.08 for 0); here it is `rate`. Features are taken as they are: the longer a vector, the
    surer the class to which it flips. Standardised features, or normalised pixels, are the
    paper's; divide by their norm for softer choices.

    Flips are the same on every machine as long as no draw falls within rounding (about 1e-12) of
    the edge between two classes: sums of products differ that much between machines.

    Args:
        features: `(N, ...)` floating point, finite; trailing dimensions are flattened to S.
        labels: `(N,)` integers in 0 .. K-1, or `ignore_index`.
        rate: average probability of a flip, in [0, 1].
        num_classes: K, at least 2.
        generator: see `symmetric`.
        exact: see `symmetric`; samples with a large q_i are the likelier ones.
        ignore_index: see `symmetric`.

    Returns:
        `NoisyLabels`, on the device of `labels`.

    Raises:
        TypeError: see `symmetric`; features that are not floating point.
        ValueError: see `symmetric`; features that are not finite or not one row per label.

    Example:
        >>> import torch, softtargets as st
        >>> generator = torch.Generator().manual_seed(0)
        >>> features = torch.randn(500, 8, generator=generator)
        >>> labels = torch.arange(5).repeat(100)
        >>> noisy = st.noise.instance_dependent(features, labels, 0.3, 5, generator=generator)
        >>> round(noisy.flipped.double().mean().item(), 2)
        0.3

    References:
        Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label Noise", 2020.
    """
    num_classes = checks.check_num_classes(num_classes)
    checks.check_two_classes(num_classes, "noise")
    rate = checked_rate(rate)
    rows = _checked_rows(features, labels)
    clean = checked_labels(labels, num_classes, generator, ignore_index)

    def weights(own: int, positions: Tensor) -> Tensor:
        scores = rows[positions].double() @ _normal(rows.shape[1], num_classes, generator)
        scores[:, own] = -torch.inf
        return scores.softmax(-1).cumsum(-1)

    def destinations() -> Tensor:
        return pick_by_class(clean, weights, generator)

    chances = _sample_rates(len(rows), rate, generator)
    rates = [rate] * num_classes
    return flip(clean, rates, destinations, generator=generator, exact=exact, chances=chances)


def _checked_rows(features: Tensor, labels: Tensor) -> Tensor:
    """Return the features as `(N, S)` on the CPU, or raise."""
    checks.check_labels_dtype(labels)
    checks.check_floating(features, "features", "; convert it with `.float()`")
    if labels.dim() != 1 or features.dim() < 2 or len(features) != len(labels):
        raise ValueError(
            "`features` must have shape (N, ...), one row for each of N labels, got "
            f"{tuple(features.shape)} and labels of shape {tuple(labels.shape)}; for label maps "
            "flatten both"
        )
    rows = features.detach().flatten(1).cpu()
    wrong = ~(rows.abs() <= min(_LARGEST, torch.finfo(rows.dtype).max))
    if bool(wrong.any()):
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"`features` must be finite and at most {_LARGEST:g} in size, got "
            f"{float(rows[row, column]):g} in row {row}; leave such samples out, or clamp"
        )
    return rows


def _sample_rates(count: int, rate: float, generator: torch.Generator) -> Tensor:
    """Draw `count` numbers by the truncated normal, whose mean is `rate` by symmetry."""
    reach = min(rate, 1 - rate)
    end = torch.tensor(reach / _DEVIATION, dtype=torch.float64)
    low, high = torch.special.ndtr(-end), torch.special.ndtr(end)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    rates: Tensor = rate + _DEVIATION * torch.special.ndtri(low + drawn * (high - low))
    return rates.clamp(rate - reach, rate + reach)


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw a standard normal matrix from the uniform stream."""
    drawn = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    normal: Tensor = torch.special.ndtri(drawn.clamp_min(2.0**-54))
    return normal
