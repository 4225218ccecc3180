"""What a batch of predictions adds to sums of fixed size, from one pass over its rows."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.checks import check_bins, check_integers
from softtargets.calibration.class_counts import ClassCounts
from softtargets.calibration.samples import Samples, class_last
from softtargets.checks import check_num_classes

# Confidences are ranked by their log odds: bins of width 1/128 from -16 to 40, the ends open.
LOWEST_LOG_ODDS, RANKS_PER_UNIT, NUM_RANKS = -16, 128, 128 * 56


@dataclass(frozen=True, slots=True, kw_only=True)
class SumOptions:
    """What is counted and where labels and classes are.

    Args:
        num_classes: K.
        bins: number of equal-width bins.
        class_wise: count every class into bins too.
        class_dim: where the classes are.
        ignore_index: the label of positions to leave out.
    """

    num_classes: int
    bins: int
    class_wise: bool
    class_dim: int
    ignore_index: int

    def __post_init__(self) -> None:
        check_num_classes(self.num_classes)
        check_bins(self.bins, "width")


class Sums(NamedTuple):
    """Sums over samples, all float64: those of two sets of samples add up.

    Args:
        totals: `(4,)`: number of samples, right predictions, -log P(label), squared errors.
        top_label: `(3, bins)`: counts, confidences and right predictions by confidence.
        ranked: `(2, ranks)`: counts and wrong predictions by log odds of the confidence.
        by_class: `(3, K, bins)`: counts, probabilities and occurrences of every class by
            probability; without classes where they are not counted.
    """

    totals: Tensor
    top_label: Tensor
    ranked: Tensor
    by_class: Tensor


def no_sums(options: SumOptions) -> Sums:
    """The sums of no samples."""
    classes = options.num_classes if options.class_wise else 0
    shapes = ((4,), (3, options.bins), (2, NUM_RANKS), (3, classes, options.bins))
    return Sums(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))


def added(a: Sums, b: Sums) -> Sums:
    """The sums of both sets of samples, on the device of `b`."""
    return Sums(*(x.to(y.device) + y for x, y in zip(a, b, strict=True)))


def sums_of(
    options: SumOptions, scores: Tensor, labels: Tensor, kind: Literal["probs", "logits"]
) -> Sums:
    """The sums of a batch; those of no samples if it is empty or all of it is ignored.

    Half precision is computed in float32, other rows in their own dtype; sums are float64.

    Raises:
        ValueError: scores or labels break a rule of their kind.
        TypeError: a wrong dtype.
    """
    check_integers(labels)
    if bool((labels.long() == options.ignore_index).all()):
        return no_sums(options)
    if class_last(scores, options.class_dim, kind).shape[-1] != options.num_classes:
        raise ValueError(
            f"`{kind}` must have {options.num_classes} classes in dimension {options.class_dim}, "
            f"got shape {tuple(scores.shape)}"
        )
    samples = Samples.of(
        scores, labels, kind, class_dim=options.class_dim, ignore_index=options.ignore_index
    )
    device, parts = samples.scores.device, []
    classes = ClassCounts(options.num_classes, options.bins, device) if options.class_wise else None
    for rows, y in samples.row_blocks():
        wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
        probs = torch.softmax(wide, -1) if kind == "logits" else wide
        parts.append(_per_sample(wide, probs, y, kind))
        if classes is not None:
            classes.add(probs, y)
    confidence, right, loss, squared = torch.cat(parts, 1)
    bins = BinStatistics.from_scores(confidence, right, bins=options.bins)
    place = (torch.logit(confidence) - LOWEST_LOG_ODDS) * RANKS_PER_UNIT
    rank = place.clamp(0, NUM_RANKS - 1).long()
    ranked = confidence.new_zeros(2, NUM_RANKS)
    ranked[0].index_add_(0, rank, torch.ones_like(right))
    ranked[1].index_add_(0, rank, 1 - right)
    return Sums(
        totals=torch.stack([torch.ones_like(right).sum(), right.sum(), loss.sum(), squared.sum()]),
        top_label=torch.stack([bins.counts.double(), bins.confidence_sums, bins.outcome_sums]),
        ranked=ranked,
        by_class=no_sums(options).by_class.to(device) if classes is None else classes.result(),
    )


def _per_sample(wide: Tensor, probs: Tensor, labels: Tensor, kind: str) -> Tensor:
    """`(4, n)`, float64: confidence, whether the prediction is right, -log P(label), squares."""
    highest = wide.amax(-1)
    at_label = wide.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    right = at_label == highest
    if kind == "logits":
        confidence = probs.amax(-1).double()
        loss = (highest - at_label).double() - confidence.log()
        label_probs = torch.exp(-loss)
    else:
        confidence, label_probs = highest.double(), at_label.double()
        loss = -label_probs.log()
    squares = torch.linalg.vector_norm(probs, dim=-1).double().square()
    # The first of several equal maxima is the prediction. Two of them would make half the squares.
    doubtful = (right & (squares > 1.999 * confidence.square())).nonzero().squeeze(-1)
    if len(doubtful):
        # Rows by `index_select`: on a CPU an index in brackets takes five times as long.
        others = wide.index_select(0, doubtful)
        others.scatter_(-1, labels[doubtful].unsqueeze(-1), -torch.inf)
        tied = doubtful[others.amax(-1) == highest[doubtful]]
        right[tied] = wide[tied].argmax(-1) == labels[tied]
    squared = (squares - 2 * label_probs + 1).clamp_min(0)
    return torch.stack([confidence.clamp_max(1), right.double(), loss, squared])
