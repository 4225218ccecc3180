"""Cross-entropy of sequences: padding masked in every term, and what a mean is over."""

from typing import Literal

import torch
from torch import Tensor

from softtargets import checks
from softtargets.losses.arguments import as_target
from softtargets.losses.cross_entropy import cross_entropy
from softtargets.losses.reduction import check_reduction
from softtargets.losses.smoothed import check_smoothing
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.target import Target

Normalizer = Literal["token", "sequence", "sequence_mean"]


def sequence_cross_entropy(
    logits: Tensor,
    target: Tensor | Target,
    *,
    smoothing: AbstractSmoothing | float | None = None,
    padding_mask: Tensor | None = None,
    ignore_index: int = -100,
    normalizer: Normalizer | Tensor | float = "token",
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the cross-entropy of sequences; padding counts in no term and no divisor.

        l_bt = -sum_k q_btk log softmax(z_bt)_k                    0 at padding
        "token":          sum_bt l_bt / number of tokens
        "sequence":       sum_bt l_bt / number of sequences
        "sequence_mean":  mean_b (sum_t l_bt / number of tokens of b)

    `"token"` weighs every token alike (torch, Hugging Face, fairseq by default); `"sequence"` is
    fairseq's `--sentence-avg`, which weighs long sequences by their length; `"sequence_mean"`
    weighs every sequence alike. A number or tensor divides the sum: the tokens over all ranks and
    accumulation steps. Only sequences with a token count. With class weights the weighted mass of
    the labels takes the place of the number of tokens.

    fairseq since 2021 smooths over the K - 1 other classes:
    `smoothing=st.LabelSmoothing(rate, convention="K-1")`. Logits and labels are taken as aligned:
    shift those of a causal model first, `logits[:, :-1]` and `labels[:, 1:]`.

    Args:
        logits: `(B, L, V)`, or `(*batch, L, V)`, any float dtype.
        target: integer labels `(B, L)`, probabilities of the logits' shape, or a `Target`.
        smoothing: a rate in [0, 1], a policy, or None.
        padding_mask: `(B, L)` bool, True at padding, beside `ignore_index`.
        ignore_index: label that is ignored; the padding token's number where labels hold it.
        normalizer: what the mean is over.
        weight: `(V,)` class weights.

    Returns:
        A scalar in float32, float64 for float64 logits; 0 if there is no token.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, or a rate or label is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> logits, labels = torch.zeros(2, 3, 4), torch.tensor([[1, 2, 3], [1, -100, -100]])
        >>> st.sequence_cross_entropy(logits, labels, smoothing=0.1)
        tensor(1.3863)
        >>> st.sequence_cross_entropy(logits, labels, smoothing=0.1, normalizer="sequence")
        tensor(2.7726)

    References:
        Szegedy et al., 2015, for smoothing; Vaswani et al., "Attention Is All You Need", 2017, for
        its use with sequences.
    """
    _check(logits, normalizer)
    check_smoothing(smoothing)
    built = as_target(logits, target, class_dim=-1, ignore_index=ignore_index, validate=None)
    if padding_mask is not None:
        built = _without_padding(built, padding_mask)
    if not isinstance(normalizer, str):
        return cross_entropy(
            logits, built, smoothing=smoothing, weight=weight, class_dim=-1, normalizer=normalizer
        )
    if normalizer == "token":
        return cross_entropy(logits, built, smoothing=smoothing, weight=weight, class_dim=-1)
    losses = cross_entropy(
        logits, built, smoothing=smoothing, weight=weight, class_dim=-1, reduction="none"
    ).sum(-1)
    counted = (~built.given.ignored()).any(-1)
    if normalizer == "sequence_mean":
        wide = None if weight is None else weight.to(losses)
        tokens = built.given.mass(wide).sum(-1)
        losses = losses / torch.where(counted, tokens, 1)
    return losses.sum() / counted.sum().clamp(min=1)


def _check(logits: Tensor, normalizer: object) -> None:
    checks.check_floating(logits, "logits")
    if logits.dim() < 2:
        raise ValueError(
            f"`logits` must have shape (B, L, V), classes last, got {tuple(logits.shape)}"
        )
    if isinstance(normalizer, str):
        if normalizer not in ("token", "sequence", "sequence_mean"):
            raise ValueError(
                '`normalizer` must be "token", "sequence", "sequence_mean", a number or a tensor, '
                f"got {normalizer!r}"
            )
    elif isinstance(normalizer, Tensor | float | int):
        check_reduction("mean", normalizer)
    else:
        raise TypeError(
            '`normalizer` must be "token", "sequence", "sequence_mean", a number or a tensor, got '
            f"{type(normalizer).__name__}"
        )


def _without_padding(target: Target, padding_mask: Tensor) -> Target:
    if not isinstance(padding_mask, Tensor) or padding_mask.dtype != torch.bool:
        kind = padding_mask.dtype if isinstance(padding_mask, Tensor) else type(padding_mask)
        raise TypeError(f"`padding_mask` must be a bool tensor, True at padding, got {kind}")
    if padding_mask.shape != target.batch_shape:
        raise ValueError(
            f"`padding_mask` must have shape {tuple(target.batch_shape)}, got "
            f"{tuple(padding_mask.shape)}"
        )
    # By name: torch.compile takes `target * tensor` for an operation of its own.
    return target.__mul__((~padding_mask).to(target.dtype))


def unigram_prior(
    labels: Tensor, num_classes: int, *, ignore_index: int = -100, added: float = 1.0
) -> Tensor:
    r"""Return the frequencies of the labels, as a prior for `LabelSmoothing`.

        prior_k = (count_k + added) / sum_j (count_j + added)

    Args:
        labels: integers of any shape in 0 .. K-1, or `ignore_index`.
        num_classes: K.
        ignore_index: label that is not counted.
        added: >= 0 for every class, so that none has the probability 0.

    Returns:
        `(K,)` float32 on the labels' device; sums to 1.

    Raises:
        TypeError: `labels` does not hold integers.
        ValueError: a label is out of range, or there is nothing to count.

    Example:
        >>> import torch, softtargets as st
        >>> st.unigram_prior(torch.tensor([[0, 0, 1, -100]]), 3)
        tensor([0.5000, 0.3333, 0.1667])

    References:
        Szegedy et al., 2015, who smooth with the label prior; Pereyra et al., 2017, for unigram
        smoothing of sequences.
    """
    num_classes = checks.check_num_classes(num_classes)
    checks.check_labels_dtype(labels)
    added = checks.check_fraction(added, "added", 0.0, float("inf"))
    counted = labels.long()
    counted = counted[counted != ignore_index]
    checks.check_labels_in_range(counted, num_classes)
    counts = torch.bincount(counted, minlength=num_classes).double() + added
    total = counts.sum()
    if not total > 0:
        raise ValueError(
            "`labels` must hold a label that counts where `added` is 0; give `added=1.0`"
        )
    return (counts / total).float()
