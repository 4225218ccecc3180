"""One prediction of several: logits averaged over groups, such as the images of a burst."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.calibration.checks import (
    check_integers,
    check_label_shape,
    check_logit_rows,
    check_range,
    first,
)
from softtargets.calibration.samples import without_ignored

_BLOCK_ELEMENTS = 2**18  # rows are read in blocks of this many numbers
_DIGITS = 53  # of a float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AggregatedLogits:
    """What `aggregate` returns, one row per group in the order in which groups first appear.

    Args:
        logits: `(G, K)`, float64: the mean of the members' logits.
        labels: `(G,)`, int64: the label of the members, `ignore_index` where none has one; None if
            no labels were given.
        groups: what each group is called.
        counts: `(G,)`, int64: its members.
        inverse: `(N,)`, int64: the group of each row, so that `logits[inverse]` is again one row
            per prediction.
    """

    logits: Tensor
    labels: Tensor | None
    groups: tuple[Hashable, ...]
    counts: Tensor
    inverse: Tensor

    def __len__(self) -> int:
        return len(self.groups)


def aggregate(
    logits: Tensor,
    groups: Tensor | Iterable[Hashable],
    labels: Tensor | None = None,
    *,
    ignore_index: int = -100,
) -> AggregatedLogits:
    """Average the logits of what shows the same thing: the images of a burst, views, crops.

        z_g = 1 / n_g * sum_{i in g} z_i

    Its softmax is the geometric mean of the members' probabilities, normalised. It is often right
    more often than single predictions, and calibrated otherwise: fit a temperature on averaged
    logits, not on single ones.

    Of probabilities pass the logarithm, `probs.log()`: it differs from the logits by a constant per
    row, which the softmax takes away. A class that one member masks with -inf, which is the
    logarithm of a probability of 0, is -inf in the mean whatever the others say.

    Sums are exact to about 2^-70 of their largest term and the same in every order of the rows
    (Demmel and Nguyen).

    Args:
        logits: `(N, K)`, floating point; -inf masks a class. Maps and sequences have to be
            flattened to rows first.
        groups: `(N,)`, a tensor of integers, or N numbers, strings or tuples in any order; members
            of a group need not follow each other.
        labels: `(N,)`, integers in 0 .. K - 1, the same in all of a group. They never change the
            logits: members without a label are averaged like the others.
        ignore_index: the label of rows that have none.

    Returns:
        An `AggregatedLogits`, on the device of the logits, without gradients.

    Raises:
        ValueError: NaN, +inf, labels that differ within a group, groups without a name, a group
            all of whose classes are masked, or shapes that do not fit.
        TypeError: a wrong dtype, or names that are not hashable.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 2.0]])
        >>> burst = aggregate(logits, ["fox", "hare", "fox"], torch.tensor([0, 1, 0]))
        >>> burst.logits
        tensor([[1.5000, 1.0000],
                [0.0000, 3.0000]], dtype=torch.float64)
        >>> burst.groups, burst.counts, burst.labels
        (('fox', 'hare'), tensor([2, 1]), tensor([0, 1]))
        >>> burst.logits.softmax(-1)[burst.inverse].shape
        torch.Size([3, 2])

    References:
        Dussert et al., Being confident in confidence scores: calibration in deep learning models
        for camera trap image sequences, Remote Sensing in Ecology and Conservation 2024.
        Demmel and Nguyen, Fast reproducible floating-point summation, ARITH 2013.
    """
    check_logit_rows(logits)
    logits = logits.detach()
    names, inverse = _numbered(groups, len(logits))
    inverse = inverse.to(logits.device)
    counts = torch.bincount(inverse, minlength=len(names))
    group_labels = None
    if labels is not None:
        group_labels = _group_labels(logits, labels, names, inverse, ignore_index)
    means = _means(logits, inverse, counts)
    dead = (means == -torch.inf).all(-1)
    if bool(dead.any()):
        raise ValueError(
            f"`logits` must leave a class alive in each group, of {names[first(dead)]!r} the "
            "members mask all; if these are logarithms of probabilities that were rounded to 0, "
            "pass the model's logits"
        )
    return AggregatedLogits(
        logits=means, labels=group_labels, groups=names, counts=counts, inverse=inverse
    )


def _numbered(
    groups: Tensor | Iterable[Hashable], num_rows: int
) -> tuple[tuple[Hashable, ...], Tensor]:
    """Names in order of first appearance, and the number of each row's."""
    if isinstance(groups, Tensor):
        if groups.is_floating_point() or groups.is_complex():
            raise TypeError(f"`groups` must hold integers or names, got {groups.dtype}; round them")
        if groups.shape != (num_rows,):
            raise _wrong_length(str(tuple(groups.shape)), num_rows)
    elif isinstance(groups, str | bytes):
        raise TypeError("`groups` must hold one name per row, got a single string; pass a list")
    # Plain values: elements of a tensor would each be a group of its own.
    listed = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if not isinstance(listed, list) or len(listed) != num_rows:
        raise _wrong_length(f"{len(listed) if isinstance(listed, list) else 'one'}", num_rows)
    for row, name in enumerate(listed):
        _check_name(name, row)
    known: dict[Hashable, int] = {}
    inverse = [known.setdefault(name, len(known)) for name in listed]
    return tuple(known), torch.tensor(inverse, dtype=torch.int64)


def _wrong_length(found: str, num_rows: int) -> ValueError:
    return ValueError(
        f"`groups` must have shape ({num_rows},), one name per row of `logits`, got {found}"
    )


def _check_name(name: object, row: int) -> None:
    if isinstance(name, Tensor) or not isinstance(name, Hashable):
        raise TypeError(
            f"`groups` must hold numbers, strings or tuples, got {type(name).__name__} in row "
            f"{row}; pass a tensor whole, and turn lists into tuples"
        )
    if name is None or name != name:  # NaN, as tables mark what is missing
        raise ValueError(
            f"`groups` must name a group in each row, got {name} in row {row}; give a row that "
            "belongs to none a name of its own"
        )


def _group_labels(
    logits: Tensor,
    labels: Tensor,
    names: tuple[Hashable, ...],
    inverse: Tensor,
    ignore_index: int,
) -> Tensor:
    """`(G,)`: the one label of each group, `ignore_index` where no member has one."""
    check_integers(labels)
    check_label_shape(labels, logits, "logits")
    labels, ignored = without_ignored(labels.to(logits.device), ignore_index)
    check_range(labels, logits.shape[1], "mark what has no label with `ignore_index`", ignored)
    rows = torch.arange(len(labels), device=labels.device)
    if ignored is not None:
        rows = rows[~ignored]
    none = len(labels)
    speaker = torch.full((len(names),), none, device=labels.device)
    speaker.scatter_reduce_(0, inverse[rows], rows, "amin")
    found = torch.cat([labels, labels.new_tensor([ignore_index])])[speaker]
    wrong = labels[rows] != found[inverse[rows]]
    if bool(wrong.any()):
        row = int(rows[first(wrong)])
        group = int(inverse[row])
        raise ValueError(
            f"`labels` must be the same in all of a group, {names[group]!r} has "
            f"{int(found[group])} in row {int(speaker[group])} and {int(labels[row])} in row "
            f"{row}; split the group, or mark the label that does not count with `ignore_index`"
        )
    return found


def _means(logits: Tensor, inverse: Tensor, counts: Tensor) -> Tensor:
    """`(G, K)`, float64.

    Each number is cut into two parts on fixed grids, chosen so that the sum of all parts on a grid
    is exact. So neither the order of the rows nor that of a device's threads changes a bit.
    """
    largest = torch.zeros(len(counts), logits.shape[1], dtype=torch.float64, device=logits.device)
    for rows, index in _row_blocks(logits, inverse):
        largest.scatter_reduce_(0, index.unsqueeze(1).expand_as(rows), rows.abs(), "amax")
    dead = largest == torch.inf
    scale = _power_of_two(largest.masked_fill_(dead, 0))
    bits = (int(counts.max()) - 1).bit_length()
    coarse = bits + 2
    grids = [1.5 * 2.0**coarse, 1.5 * 2.0 ** (coarse - _DIGITS + bits + 2)]
    sums = [torch.zeros_like(scale) for _ in grids]
    for rows, index in _row_blocks(logits, inverse):
        rest = rows.masked_fill_(rows == -torch.inf, 0).div_(scale[index])
        for grid, total in zip(grids, sums, strict=True):
            part = (rest + grid) - grid
            total.index_add_(0, index, part)
            rest = rest - part
    means = (sums[0] + sums[1]).div_(counts.unsqueeze(1)).mul_(scale)
    return means.masked_fill_(dead, -torch.inf)


def _row_blocks(logits: Tensor, inverse: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of rows in float64, copied, with their groups."""
    size = max(1, _BLOCK_ELEMENTS // logits.shape[1])
    for start in range(0, len(logits), size):
        rows = logits[start : start + size].to(torch.float64, copy=True)
        yield rows, inverse[start : start + size]


def _power_of_two(values: Tensor) -> Tensor:
    """The largest power of two that is not above each value, 1 for 0; exact."""
    mantissa, _ = torch.frexp(values)
    return torch.where(values == 0, 1.0, values / (2 * mantissa))
