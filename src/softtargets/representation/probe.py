"""A linear classifier on frozen features, to see what else they are good for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets import checks
from softtargets.representation.checks import check_labelled, check_labels, check_matrix

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 3))
_MOST_STEPS = 1000
_CURVATURE = 0.1  # of the NLL by a logit, roughly; it conditions the search and moves no minimum
_GAP = 1e-9  # how far above its minimum the objective may stay


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearProbe:
    """A fitted `linear_probe`; call `logits` or `accuracy` with test features.

    Args:
        weight: `(K, D)`, float64: for features as they came.
        bias: `(K,)`, float64.
        penalty: the λ chosen.
        at_bound: whether it is the least or the largest of those tried, so that one beyond might be
            better.
        converged: whether the chosen fit reached its minimum.
        validation_nll: mean NLL of the validation part, by which it was chosen.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    at_bound: bool
    converged: bool
    validation_nll: float

    def logits(self, features: Tensor) -> Tensor:
        """Return `(N, K)`, float64, for features `(N, D)`."""
        check_matrix(features, "features", "(N, D)")
        if features.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"`features` must have {self.weight.shape[1]} columns, as in the fit, got "
                f"{features.shape[1]}; take them from the same layer"
            )
        return features.detach().double() @ self.weight.T + self.bias

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Return the share of samples whose largest logit is their label's."""
        predicted = self.logits(features).argmax(-1)
        check_labels(labels, features, "features")
        return float((predicted == labels).double().mean())


def linear_probe(
    features: Tensor,
    labels: Tensor,
    validation_features: Tensor,
    validation_labels: Tensor,
    *,
    penalties: Sequence[float] = PENALTIES,
) -> LinearProbe:
    """Multinomial logistic regression on features, its L2 penalty chosen on validation samples.

    The features are centred and divided by one number, so that their mean square is 1; for each λ
    of `penalties`, the largest first, the objective is minimised from where the last one ended:

        mean NLL of softmax(W x + b) + (λ/2) ‖W‖²        x = (h - mean h) / rms(‖h - mean h‖)

    and the λ of least validation NLL is kept. Because x is the same for features that were moved,
    rotated or multiplied by a number, so is the probe: models are compared by what their features
    hold, not by their scale. The bias is not penalised. L-BFGS in float64 and in the directions of
    the features' principal components, from zeros: nothing is random.

    Args:
        features: `(N, D)`, floating point.
        labels: `(N,)`, integers in 0 .. K - 1, each at least once.
        validation_features: `(M, D)`; other samples than those of the test.
        validation_labels: `(M,)`.
        penalties: the λ to try, above 0.

    Returns:
        A `LinearProbe`.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, features that are all
            equal, a class without training samples, or a penalty that is not above 0.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> labels = torch.arange(300) % 3
        >>> features = torch.eye(3)[labels] + 0.3 * torch.randn(300, 3, generator=generator)
        >>> probe = linear_probe(features[:100], labels[:100], features[100:200], labels[100:200])
        >>> probe.at_bound, probe.converged
        (False, True)
        >>> round(probe.accuracy(features[200:], labels[200:]), 2)
        0.95

    References:
        Kornblith, Shlens and Le, Do Better ImageNet Models Transfer Better?, CVPR 2019, whose
        protocol this is but for the scaling of features and the choice by NLL.
    """
    num_classes = _check(features, labels, validation_features, validation_labels)
    tried = _check_penalties(penalties)
    rows, held_out = features.detach().double(), validation_features.detach().double()
    centre = rows.mean(0)
    scale = float((rows - centre).square().sum(-1).mean().sqrt())
    if not scale > 0:
        raise ValueError("`features` must differ, got equal rows; a probe has nothing to go by")
    rows, held_out = (rows - centre) / scale, (held_out - centre) / scale
    # In the directions of the principal components the objective is nearly separable.
    variances, axes = torch.linalg.eigh(rows.T @ rows / len(rows))
    rows, held_out = rows @ axes, held_out @ axes
    parameters = rows.new_zeros(num_classes, rows.shape[1] + 1)
    best: LinearProbe | None = None
    for penalty in tried:
        parameters, converged = _fitted(rows, labels.long(), penalty, parameters, variances)
        nll = float(_nll(parameters, held_out, validation_labels.long()))
        if best is None or nll < best.validation_nll:
            weight = parameters[:, :-1] @ axes.T / scale
            best = LinearProbe(
                weight=weight,
                bias=parameters[:, -1] - weight @ centre,
                penalty=penalty,
                at_bound=penalty in (tried[0], tried[-1]),
                converged=converged,
                validation_nll=nll,
            )
    assert best is not None
    return best


def _fitted(
    rows: Tensor, labels: Tensor, penalty: float, start: Tensor, variances: Tensor
) -> tuple[Tensor, bool]:
    """The `(K, D + 1)` weights and biases of the least objective, and whether it was reached."""
    lengths = (_CURVATURE * variances.clamp(min=0) + penalty).rsqrt()
    lengths = torch.cat([lengths, lengths.new_full((1,), _CURVATURE**-0.5)])
    # The objective is above its minimum by at most |gradient|² / 2 penalty.
    tolerance = float(lengths.min()) * math.sqrt(2 * penalty * _GAP / start.numel())
    scaled = (start / lengths).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [scaled],
        max_iter=_MOST_STEPS,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        parameters = scaled * lengths
        value = _nll(parameters, rows, labels) + penalty / 2 * parameters[:, :-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(objective)  # type: ignore[no-untyped-call]
        objective()
    assert scaled.grad is not None
    return scaled.detach() * lengths, bool(scaled.grad.abs().max() <= tolerance)


def _nll(parameters: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    logits = rows @ parameters[:, :-1].T + parameters[:, -1]
    return torch.nn.functional.cross_entropy(logits, labels)


def _check(
    features: Tensor, labels: Tensor, validation_features: Tensor, validation_labels: Tensor
) -> int:
    """Check the samples of both parts and return K."""
    check_matrix(features, "features", "(N, D)")
    check_labels(labels, features, "features")
    check_matrix(validation_features, "validation_features", "(M, D)")
    check_labels(validation_labels, validation_features, "validation_features")
    if features.shape[1] != validation_features.shape[1]:
        raise ValueError(
            f"`validation_features` must have the {features.shape[1]} columns of `features`, got "
            f"{validation_features.shape[1]}; take them from the same layer"
        )
    for each in (labels, validation_labels):
        check_labelled(each)
    num_classes = 1 + max(int(labels.max()), int(validation_labels.max()))
    missing = (labels.long().bincount(minlength=num_classes) == 0).nonzero()
    if len(missing):
        raise ValueError(
            f"`labels` must hold each class of 0 .. {num_classes - 1}, class {int(missing[0])} has "
            "no sample; number the classes there are, as `labels.unique(return_inverse=True)` does"
        )
    if num_classes < 2:
        raise ValueError("`labels` must hold at least two classes, got one; pass others too")
    return num_classes


def _check_penalties(penalties: Sequence[float]) -> list[float]:
    """The penalties, the largest first."""
    tried = sorted((checks.check_number(each, "penalties") for each in penalties), reverse=True)
    if not tried or not all(0 < each < math.inf for each in tried):
        raise ValueError(
            f"`penalties` must be one or more finite numbers above 0, got {list(penalties)}; 1e-8 "
            "is next to none"
        )
    return tried
