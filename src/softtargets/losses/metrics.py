"""Loss, NLL and accuracy of a training batch from one pass over its logits."""

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from softtargets.arithmetic import predicted
from softtargets.engine import LossOptions, check_options
from softtargets.losses.evaluation import Settings, evaluate
from softtargets.losses.penalties import AbstractPenalty
from softtargets.losses.reduction import Reduction
from softtargets.smoothing.base import AbstractSmoothing
from softtargets.target import Target
from softtargets.terms import DenseRows

if TYPE_CHECKING:
    from softtargets.losses.correction import Correction


class LossWithMetrics(NamedTuple):
    """What a training step wants to print; all but `loss` are detached scalars.

    Attributes:
        loss: as `cross_entropy` returns it.
        nll: mean negative log-likelihood of the targets before smoothing, without class weights
            and penalty, in nats; over the counted examples, 0 if there are none.
        accuracy: share of the counted examples whose largest logit is at the target's largest
            class, 0 if there are none.
        samples: how many examples count, int64: neither ignored nor without a living class.
    """

    loss: Tensor
    nll: Tensor
    accuracy: Tensor
    samples: Tensor


class _Watch:
    """Sees every block of logits: `<g, z>` of the target as given, and who is right."""

    given: Target
    dots: Tensor
    right: Tensor

    def begin(self, given: Target, dtype: torch.dtype) -> Self:
        """Make room for a batch and return the observer."""
        self.given = given
        self.dots = torch.empty(given.batch_shape, dtype=dtype, device=given.device)
        self.right = torch.empty_like(self.dots, dtype=torch.bool)
        return self

    def __call__(self, key: tuple[slice, ...], logits: Tensor, probs: Tensor) -> None:
        # No decorator: torch.compile does not see through one of `__call__`.
        with torch.no_grad():
            part = self.given[key] if key else self.given
            alive = logits != -torch.inf
            self.dots[key] = part.dot(logits, None, alive).to(self.dots.dtype)
            labels = _main_class(part)
            rows, each = (x.reshape(-1, x.shape[-1]) for x in (logits, probs))
            right = predicted(rows, each, labels.reshape(-1))
            self.right[key] = right.reshape(labels.shape)


def _main_class(target: Target) -> Tensor:
    """The class with the most of each target, `(*batch)`."""
    if not target.others and target.entries.classes.shape[-1] == 1:
        return target.entries.classes[..., 0]
    if target.terms and isinstance(target.terms[0], DenseRows) and len(target.terms) == 1:
        return target.terms[0].values.argmax(-1)
    return target.dense().argmax(-1)


def cross_entropy_with_metrics(
    logits: Tensor,
    target: Tensor | Target,
    *,
    smoothing: AbstractSmoothing | float | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    class_dim: int = 1,
    correction: "Correction | None" = None,
    penalty: AbstractPenalty | None = None,
    class_mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
    options: LossOptions | None = None,
    inputs: Any = None,
    teacher_logits: Tensor | None = None,
    index: Tensor | None = None,
) -> LossWithMetrics:
    r"""Return `cross_entropy` with the NLL and the accuracy, from the same pass.

        nll      = sum_n -sum_k g_nk log softmax(z_n)_k / sum_n sum_k g_nk     g = before smoothing
        accuracy = mean of [argmax_k z_nk = argmax_k g_nk]

    A smoothed training loss cannot be compared between methods and stalls at the entropy of its
    targets; the NLL can, and does not.

    Args:
        logits: see `cross_entropy`, as all arguments.
        target: a smoothed `Target` counts as it was before for NLL and accuracy.
        smoothing: a rate, a policy, or None; a criterion's is `criterion.smoothing`. A policy
            smooths in whatever mode it is: pass None for a validation loss.
        weight: class weights of the loss.
        ignore_index: label without loss, NLL and accuracy.
        reduction: of the loss; the others are means.
        class_dim: the class dimension.
        correction: of the loss; NLL and accuracy are of the model's own prediction.
        penalty: added to the loss.
        class_mask: False for masked classes.
        normalizer: of the loss's mean.
        options: see `LossOptions`.
        inputs: for the policy, see `CrossEntropyLoss`, as the next two.
        teacher_logits: of the logits' shape.
        index: the samples' numbers in the data set.

    Returns:
        `LossWithMetrics`.

    Raises:
        TypeError: see `cross_entropy`.
        ValueError: see `cross_entropy`.

    Example:
        >>> import torch, softtargets as st
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 1.0], [9.0, 9.0, 9.0]])
        >>> labels = torch.tensor([0, 2, -100])
        >>> result = st.cross_entropy_with_metrics(logits, labels, smoothing=0.1)
        >>> result.accuracy, result.samples
        (tensor(0.5000), tensor(2))
    """
    settings = Settings(
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        class_dim=class_dim,
        penalty=penalty,
        correction=correction,
        class_mask=class_mask,
        normalizer=normalizer,
        options=check_options(options),
    )
    watch = _Watch()
    context = {"inputs": inputs, "teacher_logits": teacher_logits, "index": index}
    result = evaluate(logits, target, smoothing, context, settings, watch.begin)
    loss, given = result.reduced(settings), result.given
    with torch.no_grad():
        counted = (result.logsumexp != -torch.inf) & ~given.ignored()
        mass = torch.where(counted, given.mass(), 0)
        nll = torch.where(counted, mass * result.logsumexp - watch.dots, 0).sum()
        samples, total = counted.sum(), mass.sum()
        nll = nll / torch.where(total == 0, 1, total)
        right = (watch.right & counted).sum().to(nll.dtype) / samples.clamp(min=1)
    return LossWithMetrics(loss, nll, right, samples)
