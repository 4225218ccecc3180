"""What is measured of label maps: overlap of regions, overlap of boundaries, where boundaries are.

Everything is counted image by image, so that images can be resampled whole afterwards.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

# Of the diagonal of an image, as in the paper on boundary IoU.
SHARE_OF_DIAGONAL = 0.02


def boundary_width(height: int, width: int) -> int:
    """Return 2 % of an image's diagonal in whole pixels, at least 1.

    Example:
        >>> boundary_width(180, 240), boundary_width(12, 16)
        (6, 1)
    """
    return max(1, round(SHARE_OF_DIAGONAL * math.hypot(height, width)))


def confusion(predicted: Tensor, masks: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Return `(N, K, K)` int64: pixels by image, class and predicted class.

    Args:
        predicted: `(N, H, W)` classes.
        masks: `(N, H, W)` classes, or `ignore_index` for pixels that are not counted.
        num_classes: K.
        ignore_index: value of void pixels.
    """
    images = torch.arange(len(masks), device=masks.device).reshape(-1, 1, 1).expand(masks.shape)
    counted = masks != ignore_index
    cells = (images * num_classes + masks.long()) * num_classes + predicted.long()
    size = len(masks) * num_classes**2
    return torch.bincount(cells[counted], minlength=size).view(-1, num_classes, num_classes)


def overlaps(matrices: Tensor) -> Tensor:
    """Return `(*, K, 2)`: pixels in the intersection and in the union of class and prediction.

    Args:
        matrices: `(*, K, K)` from `confusion`, or sums of such.
    """
    both = matrices.diagonal(dim1=-2, dim2=-1)
    return torch.stack([both, matrices.sum(-1) + matrices.sum(-2) - both], -1)


def intersection_over_union(counts: Tensor) -> Tensor:
    """Return `(*, K)` float64: intersection over union, NaN for classes that are in neither.

    Args:
        counts: `(*, K, 2)` of all images together, from `overlaps` or `boundary_overlaps`.

    Example:
        >>> intersection_over_union(torch.tensor([[1, 4], [3, 3], [0, 0]]))
        tensor([0.2500, 1.0000,    nan], dtype=torch.float64)
    """
    both, either = counts.double().unbind(-1)
    return both / either


def mean_over_classes(values: Tensor) -> Tensor:
    """Return the mean of `(*, K)` over the classes that have a value."""
    return values.nanmean(-1)


def boundary_overlaps(
    predicted: Tensor, masks: Tensor, num_classes: int, ignore_index: int, width: int
) -> Tensor:
    r"""Return `(N, K, 2)` int64: what boundary IoU is the ratio of, by image and class.

        intersection = |G_d and P_d|    union = |G_d or P_d|

    G_d: pixels of the class that are at most d from one that is not, in rows or columns; P_d the
    same of the prediction. What is beyond the image is not of the class, as in the authors'
    program; void pixels may be of any class, so that they make no boundary, and are not counted.

    Args:
        predicted: `(N, H, W)` classes.
        masks: `(N, H, W)` classes, or `ignore_index`.
        num_classes: K.
        ignore_index: value of void pixels.
        width: d, in pixels.

    References:
        Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR
        2021.
    """
    void = masks == ignore_index
    found = [_rim(given, void, width) for given in (masks, predicted)]
    chosen = [*found, found[0] & found[1] & (masks == predicted)]
    given, said, both = (
        _by_class(labels, where, num_classes)
        for labels, where in zip((masks, predicted, masks), chosen, strict=True)
    )
    return torch.stack([both, given + said - both], -1)


def _rim(labels: Tensor, void: Tensor, width: int) -> Tensor:
    """Return the pixels of `(N, H, W)` at most `width` from another label or from the outside."""
    height, length = labels.shape[-2:]
    rows, columns = (torch.arange(side, device=labels.device) for side in (height, length))
    edge = [(at < width) | (at >= len(at) - width) for at in (rows, columns)]
    return (_near_other(labels, void, width) | edge[0].unsqueeze(-1) | edge[1]) & ~void


def _by_class(labels: Tensor, chosen: Tensor, num_classes: int) -> Tensor:
    """Return `(N, K)` int64: chosen pixels by image and label."""
    images = torch.arange(len(labels), device=labels.device).view(-1, 1, 1) * num_classes
    cells = (images + labels.long())[chosen]
    return torch.bincount(cells, minlength=len(labels) * num_classes).view(-1, num_classes)


def near_boundary(masks: Tensor, ignore_index: int, width: int) -> Tensor:
    """Return `(N, H, W)` bool: pixels with a class that have another one at most `width` away.

    Distance is the larger of that in rows and that in columns; void is no class.

    Args:
        masks: `(N, H, W)` classes, or `ignore_index`.
        ignore_index: value of void pixels.
        width: in pixels.
    """
    return _near_other(masks, masks == ignore_index, width)


def _near_other(labels: Tensor, void: Tensor, width: int) -> Tensor:
    """Return the pixels with a label that have another one at most `width` away; void has none."""
    values = labels.float()
    # Lowest and highest label of the neighbourhood, in which there is one at least: the own.
    low, high = (
        functional.pad(each.masked_fill(void, -torch.inf), (width,) * 4, value=-torch.inf)
        for each in (-values, values)
    )
    return (_highest(high, width) != -_highest(low, width)) & ~void


def _highest(padded: Tensor, width: int) -> Tensor:
    """Return the highest value of each square of `2 * width + 1`; rows first, then columns."""
    size = 2 * width + 1
    rows = functional.max_pool2d(padded, (1, size), stride=1)
    return functional.max_pool2d(rows, (size, 1), stride=1)
