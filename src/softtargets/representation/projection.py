"""The penultimate layer seen in the plane through three classes' templates."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.representation.checks import (
    check_classes,
    check_finite,
    check_floating,
    check_labels,
    check_matrix,
)

_CLASSES = 3
_SLACK = 4  # how many roundings of the templates a side or a height of the triangle must exceed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PenultimateProjection:
    """M samples of three classes, and the classes' templates, in the plane through the latter.

    Args:
        coordinates: `(M, 2)`, float64: the samples.
        templates: `(3, 2)`, float64: the classes' templates; the first is the origin, the second is
            to its right and the third above them.
        classes: the three classes, in the order of `templates`.
        labels: `(M,)`, int64: the class of each sample.
        index: `(M,)`, int64: its row in `features`.
    """

    coordinates: Tensor
    templates: Tensor
    classes: tuple[int, int, int]
    labels: Tensor
    index: Tensor

    @property
    def sides(self) -> Tensor:
        """`(3,)`, float64: distances of templates 1 to 2, 1 to 3 and 2 to 3, biases included."""
        return torch.pdist(self.templates)


def penultimate_projection(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    classes: Sequence[int] | Tensor,
    labels: Tensor,
) -> PenultimateProjection:
    """Project samples of three classes onto the plane through these classes' templates.

    The last layer's logits are z_k = w_k · h + b_k = w̃_k · h̃ with the template w̃_k = [w_k; b_k]
    and h̃ = [h; 1]:

        A = [w̃_2 - w̃_1, w̃_3 - w̃_1]      Q R = A, the diagonal of R positive
        coordinates = (h̃ - w̃_1) Q        templates = (w̃_k - w̃_1) Q

    The plane depends on the classes and the layer alone, so that training and validation samples of
    a model can be laid over each other; the signs are fixed, so that pictures of several models
    compare. Rotating the features (and the weights with them) changes nothing. A constant added to
    all biases, which changes no prediction, moves all samples together; the templates and the
    samples' distances to each other stay.

    Args:
        features: `(N, D)`, floating point: inputs of the last layer, for any samples.
        weight: `(K, D)`, floating point: its weight.
        bias: `(K,)`, its bias; None: it has none.
        classes: three different classes.
        labels: `(N,)`, integers; samples of other classes (or ignored ones) are left out.

    Returns:
        A `PenultimateProjection`, float64.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, classes that are not three,
            not different, not there or without samples, or templates on one line.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> features = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
        >>> seen = penultimate_projection(features, weight, None, (0, 1, 2), torch.arange(3))
        >>> seen.templates
        tensor([[0.0000, 0.0000],
                [1.4142, 0.0000],
                [0.7071, 1.2247]], dtype=torch.float64)
        >>> seen.coordinates  # the same triangle, twice as large
        tensor([[-0.7071, -0.4082],
                [ 2.1213, -0.4082],
                [ 0.7071,  2.0412]], dtype=torch.float64)
        >>> seen.sides
        tensor([1.4142, 1.4142, 1.4142], dtype=torch.float64)

    References:
        Müller, Kornblith and Hinton, When Does Label Smoothing Help?, NeurIPS 2019, Figure 1.
    """
    check_matrix(weight, "weight", "(K, D)")
    check_matrix(features, "features", "(N, D)")
    _check_layer(features, weight, bias)
    check_labels(labels, features, "features")
    chosen = _check_classes(classes, len(weight), labels)
    layer = weight if bias is None else torch.cat([weight, bias.to(weight.dtype)[:, None]], -1)
    templates = layer.detach()[list(chosen)].double()
    basis, triangle = _plane(templates, chosen, torch.finfo(weight.dtype).eps)
    kept = torch.isin(labels, torch.tensor(chosen, device=labels.device))
    index = kept.nonzero().squeeze(-1)
    rows = features.detach()[index].double()
    if bias is not None:
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], -1)
    return PenultimateProjection(
        coordinates=(rows - templates[0]) @ basis,
        templates=triangle,
        classes=chosen,
        labels=labels[index].long(),
        index=index,
    )


def _plane(templates: Tensor, classes: tuple[int, int, int], eps: float) -> tuple[Tensor, Tensor]:
    """`(D + 1, 2)`, the plane's two directions, and `(3, 2)`, the templates in it."""
    orthogonal, triangular = torch.linalg.qr((templates[1:] - templates[0]).T)
    if len(triangular) == 2:
        lengths = triangular.diagonal()
        least = _SLACK * eps * float(templates.norm(dim=-1).max())
        if bool((lengths.abs() > least).all()):
            signs = lengths.sign()
            triangle = torch.cat([triangular.new_zeros(1, 2), triangular.T * signs])
            return orthogonal * signs, triangle
    raise ValueError(
        f"`classes` must have templates that span a plane, those of {classes} lie on one line (of "
        f"{len(templates[0])} dimensions); choose other classes, or train the model"
    )


def _check_layer(features: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"`features` must have the {weight.shape[1]} columns of `weight`, got "
            f"{features.shape[1]}; pass what goes into the last layer"
        )
    if bias is None:
        return
    check_floating(bias, "bias")
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"`bias` must have shape ({len(weight)},), one per row of `weight`, got "
            f"{tuple(bias.shape)}; None says that there is none"
        )
    check_finite(bias, "bias")


def _check_classes(
    classes: Sequence[int] | Tensor, num_classes: int, labels: Tensor
) -> tuple[int, int, int]:
    if len(classes) != _CLASSES:
        raise ValueError(
            f"`classes` must be three classes, got {len(classes)}; a plane has room for no more"
        )
    first, second, third = check_classes(classes)
    chosen = (first, second, third)
    if len(set(chosen)) != _CLASSES:
        raise ValueError(f"`classes` must be three different classes, got {chosen}")
    if max(chosen) >= num_classes:
        raise ValueError(
            f"`classes` must be in 0 .. {num_classes - 1}, got {max(chosen)}; `weight` has one row "
            "per class"
        )
    for each in chosen:
        if not bool((labels == each).any()):
            raise ValueError(
                f"`labels` must hold every class of `classes`, class {each} has no sample; pass "
                "more samples or choose another class"
            )
    return chosen
