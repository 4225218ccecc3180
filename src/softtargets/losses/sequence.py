"""Cross-entropy of sequences: padding masked in every term, and what a mean is over."""

from dataclasses import replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.engine import LossOptions
from softtargets.losses.arguments import as_target, check_weight
from softtargets.losses.evaluation import Settings, evaluate
from softtargets.losses.reduction import check_finite, check_reduction
from softtargets.losses.smoothed import check_smoothing
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.smoothing.schedule import step_schedules
from softtargets.smoothing.uniform import LabelSmoothing
from softtargets.target import Target
from softtargets.terms import AbstractTerm, DenseRows, Entries, TableRows, Uniform

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
    validate: bool | None = None,
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
        padding_mask: `(B, L)` bool, True at padding, beside `ignore_index`; labels and
            probabilities there may be anything, NaN too.
        ignore_index: label that is ignored; the padding token's number where labels hold it.
        normalizer: what the mean is over.
        weight: `(V,)` class weights.
        validate: check values, see `LossOptions`.

    Returns:
        A scalar in float32, float64 for float64 logits; 0 if there is no token.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes do not fit, a rate or label is out of range, or a mean's divisor is not
            positive.

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
    check_smoothing(smoothing)
    return _loss(
        logits,
        target,
        smoothing,
        {},
        padding_mask=padding_mask,
        ignore_index=ignore_index,
        normalizer=normalizer,
        weight=weight,
        options=LossOptions(validate=validate),
    )


def _loss(
    logits: Tensor,
    target: Tensor | Target,
    smoothing: AbstractSmoothing | float | None,
    context: dict[str, Any],
    *,
    padding_mask: Tensor | None,
    ignore_index: int,
    normalizer: Normalizer | Tensor | float,
    weight: Tensor | None,
    options: LossOptions,
) -> Tensor:
    """Return the loss; `context` is what a policy is told beside the logits."""
    _check_logits(logits)
    _check_normalizer(normalizer, options.validate)
    if padding_mask is not None:
        _check_padding(padding_mask, logits)
        target = _without_padding(target, padding_mask, logits)
    built = as_target(
        logits, target, class_dim=-1, ignore_index=ignore_index, validate=options.validate
    )
    if padding_mask is not None:
        # By name: torch.compile takes `target * tensor` for an operation of its own.
        built = built.__mul__((~padding_mask).to(built.dtype))
    by_sequence = isinstance(normalizer, str) and normalizer != "token"
    settings = Settings(
        weight=weight,
        ignore_index=-100,
        reduction="none" if by_sequence else "mean",
        class_dim=-1,
        penalty=None,
        class_mask=None,
        normalizer=None if isinstance(normalizer, str) else normalizer,
        options=options,
    )
    result = evaluate(logits, built, smoothing, context, settings)
    if not by_sequence:
        return result.reduced(settings)
    losses, tokens = result.losses.sum(-1), result.logsumexp != -torch.inf
    tokens = tokens & ~result.given.ignored()
    counted = tokens.any(-1)
    if normalizer == "sequence_mean":
        masses = torch.where(tokens, result.shares, 0).sum(-1).to(losses.dtype)
        _check_divisors(masses, counted, options.validate, weight)
        losses = losses / torch.where(counted, masses, 1)
    return losses.sum() / counted.sum().clamp(min=1)


def _check_divisors(
    masses: Tensor, counted: Tensor, validate: bool | None, weight: Tensor | None
) -> None:
    if not checks.should_validate(validate, masses):
        return
    wrong = counted & ~((masses > 0) & (masses < torch.inf))
    if bool(wrong.any()):
        check_finite(weight)
        first = tuple(int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            "the mean of a sequence divides by the weighted mass of its labels, which must be > 0, "
            f'got {float(masses[first])} at {first}; use `normalizer="token"`, or ignore its '
            "positions"
        )


def _check_logits(logits: Tensor) -> None:
    checks.check_floating(logits, "logits")
    if logits.dim() < 2:
        raise ValueError(
            f"`logits` must have shape (B, L, V), classes last, got {tuple(logits.shape)}"
        )


def _check_normalizer(normalizer: object, validate: bool | None) -> None:
    if isinstance(normalizer, str):
        if normalizer not in ("token", "sequence", "sequence_mean"):
            raise ValueError(
                '`normalizer` must be "token", "sequence", "sequence_mean", a number or a tensor, '
                f"got {normalizer!r}"
            )
    elif isinstance(normalizer, Tensor) or checks.is_number(normalizer):
        check_reduction("mean", normalizer, validate)
    else:
        raise TypeError(
            '`normalizer` must be "token", "sequence", "sequence_mean", a number or a tensor, got '
            f"{type(normalizer).__name__}"
        )


def _check_padding(padding_mask: Tensor, logits: Tensor) -> None:
    if not isinstance(padding_mask, Tensor) or padding_mask.dtype != torch.bool:
        kind = padding_mask.dtype if isinstance(padding_mask, Tensor) else type(padding_mask)
        raise TypeError(
            f"`padding_mask` must be a bool tensor, True at padding, got {kind}; of a mask that is "
            "1 at tokens pass `attention_mask == 0`"
        )
    if padding_mask.shape != logits.shape[:-1]:
        raise ValueError(
            f"`padding_mask` must have shape {tuple(logits.shape[:-1])}, got "
            f"{tuple(padding_mask.shape)}"
        )


def _without_padding(
    target: Tensor | Target, padding_mask: Tensor, logits: Tensor
) -> Tensor | Target:
    """Return the target with zeros for what it holds at padding, which may be anything."""
    if isinstance(target, Target):
        return _cleaned(target, padding_mask) if target.batch_shape == logits.shape[:-1] else target
    if isinstance(target, Tensor) and target.shape == logits.shape:
        return target.masked_fill(padding_mask.unsqueeze(-1), 0)
    if isinstance(target, Tensor) and target.shape == padding_mask.shape:
        return target.masked_fill(padding_mask, 0)
    return target


def _cleaned(target: Target, padding_mask: Tensor) -> Target:
    entries, *others = (_without(term, padding_mask) for term in (target.entries, *target.others))
    assert isinstance(entries, Entries)
    origin = None if target.origin is None else _cleaned(target.origin, padding_mask)
    return replace(target, entries=entries, others=tuple(others), origin=origin)


def _without(term: AbstractTerm, padding_mask: Tensor) -> AbstractTerm:
    padded = padding_mask.unsqueeze(-1)
    if isinstance(term, Entries | TableRows):
        return replace(term, weights=term.weights.masked_fill(padded, 0))
    if isinstance(term, Uniform):
        return replace(term, weights=term.weights.masked_fill(padding_mask, 0))
    assert isinstance(term, DenseRows)
    through = term.through
    if through is not None:
        through = through[0].masked_fill(padded, 0), through[1]
    weights = term.weights.masked_fill(padding_mask, 0)
    return replace(
        term, values=term.values.masked_fill(padded, 0), weights=weights, through=through
    )


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


@final
class SequenceCrossEntropyLoss(nn.Module):
    r"""Cross-entropy of sequences as a module; see `sequence_cross_entropy`, which has the formula.

    In `.eval()` smoothing is off and the loss is the NLL (class weights and the mean stay), so
    validation losses can be compared between methods; a `Target` that was smoothed before counts
    as given. Policies that learn keep their state in this module's `state_dict()`.

    Args:
        smoothing: a rate in [0, 1], a policy, or None.
        ignore_index: see `sequence_cross_entropy`.
        normalizer: see `sequence_cross_entropy`.
        weight: `(V,)` class weights.
        validate: see `sequence_cross_entropy`.

    Example:
        >>> import torch, softtargets as st
        >>> criterion = st.SequenceCrossEntropyLoss(0.1, normalizer="sequence")
        >>> logits, labels = torch.zeros(2, 3, 4), torch.tensor([[1, 2, 3], [1, -100, -100]])
        >>> criterion(logits, labels)
        tensor(2.7726)
    """

    weight: Tensor | None

    def __init__(
        self,
        smoothing: AbstractSmoothing | float | None = None,
        *,
        ignore_index: int = -100,
        normalizer: Normalizer | float = "token",
        weight: Tensor | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        check_smoothing(smoothing)
        self.options = LossOptions(validate=validate)
        _check_normalizer(normalizer, validate)
        check_weight(weight)
        if smoothing is None or isinstance(smoothing, AbstractSmoothing):
            self.smoothing: AbstractSmoothing | None = smoothing
        else:
            self.smoothing = LabelSmoothing(smoothing)
        self.ignore_index = ignore_index
        self.normalizer: Normalizer | float = normalizer
        self.register_buffer("weight", weight)

    def forward(
        self,
        logits: Tensor,
        target: Tensor | Target,
        *,
        padding_mask: Tensor | None = None,
        inputs: Any = None,
        teacher_logits: Tensor | None = None,
        index: Tensor | None = None,
        normalizer: Normalizer | Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss.

        Args:
            logits: see `sequence_cross_entropy`.
            target: see `sequence_cross_entropy`.
            padding_mask: see `sequence_cross_entropy`.
            inputs: for a policy with a teacher of its own.
            teacher_logits: for a policy that needs them, of the logits' layout.
            index: for a policy that needs it.
            normalizer: replaces the module's: the number of tokens over all ranks, for instance.
        """
        if not self.training and isinstance(target, Target):
            target = target.given
        return _loss(
            logits,
            target,
            self.smoothing if self.training else None,
            {"teacher_logits": teacher_logits, "inputs": inputs, "index": index},
            padding_mask=padding_mask,
            ignore_index=self.ignore_index,
            normalizer=self.normalizer if normalizer is None else normalizer,
            weight=self.weight,
            options=self.options,
        )

    def step(self) -> None:
        """Advance every `Schedule` in the policy by one."""
        step_schedules(self)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        weight = "" if self.weight is None else f", weight=({len(self.weight)},)"
        return f"normalizer={self.normalizer!r}, ignore_index={self.ignore_index}{weight}"
