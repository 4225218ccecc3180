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
    classes = torch.arange(num_classes, device=masks.device).reshape(1, -1, 1, 1)
    void = (masks == ignore_index).unsqueeze(1)
    regions = [
        _rim((given.unsqueeze(1) == classes) & ~void, void, width) for given in (masks, predicted)
    ]
    pixels = (-2, -1)
    both = (regions[0] & regions[1]).sum(pixels)
    return torch.stack([both, (regions[0] | regions[1]).sum(pixels)], -1)


def _rim(region: Tensor, void: Tensor, width: int) -> Tensor:
    """Return the pixels of regions `(N, K, H, W)` that are at most `width` from the outside."""
    outside = functional.pad((~(region | void)).float(), (width,) * 4, value=1.0)
    return region & (_highest(outside, width) > 0)


def near_boundary(masks: Tensor, ignore_index: int, width: int) -> Tensor:
    """Return `(N, H, W)` bool: pixels with a class that have another one at most `width` away.

    Distance is the larger of that in rows and that in columns; void is no class.

    Args:
        masks: `(N, H, W)` classes, or `ignore_index`.
        ignore_index: value of void pixels.
        width: in pixels.
    """
    void = masks == ignore_index
    values = masks.float().unsqueeze(1)
    apart = void.unsqueeze(1)
    padding = (width,) * 4
    low = functional.pad(values.masked_fill(apart, -torch.inf), padding, value=-torch.inf)
    high = functional.pad((-values).masked_fill(apart, -torch.inf), padding, value=-torch.inf)
    # Lowest and highest class of the neighbourhood, in which there is one at least: the own.
    different = _highest(low, width) != -_highest(high, width)
    return different.squeeze(1) & ~void


def _highest(padded: Tensor, width: int) -> Tensor:
    """Return the highest value of each square of `2 * width + 1`; rows first, then columns."""
    size = 2 * width + 1
    rows = functional.max_pool2d(padded, (1, size), stride=1)
    return functional.max_pool2d(rows, (size, 1), stride=1)
