"""Forward correction of label noise: the prediction passes through the noise, not the label."""

from typing import final

from torch import Tensor, nn

from softtargets.smoothing.backward_correction import BackwardCorrection
from softtargets.target import Target
from softtargets.transition import AbstractTransition, as_transition


@final
class ForwardCorrection(nn.Module):
    r"""Forward correction: the loss of the noisy label that the model's prediction would get.

        loss = -sum_k q_k log (T' softmax(z))_k         T[i, j] = P(noisy j | clean i)

    Minimal where softmax(z) is the distribution of the *clean* label, and bounded below, unlike
    the backward correction. Computed in log space: with T = I it is the cross-entropy, and a
    mistake keeps its gradient however sure it is. Given to a criterion as `correction=`; smoothing,
    soft targets, class weights and masks work as without it. Policies that look at the model's
    logits, and penalties, see them before the correction; `.eval()` switches it off.

    A noisy label that T never makes costs `inf`, as a masked label does, and is an error with
    `validate=True`; what smoothing spreads goes to the labels that it makes.

    Symmetric and pair noise (`noise.SymmetricTransition`, `noise.PairTransition`) need no matrix.
    Plain labels on a CPU need one noisy label's probability a sample; smoothing, soft targets,
    masks and GPUs need all K: several passes over the logits, with a matrix a product in float64.

    Args:
        transition: `(K, K)` tensor, taken without a gradient, or a transition.

    Attributes:
        matrix: `(K, K)` buffer where the transition is a matrix, else None.

    Raises:
        TypeError: `transition` is neither tensor nor transition.
        ValueError: the tensor is no transition matrix.

    Example:
        >>> import torch, softtargets as st
        >>> correction = st.ForwardCorrection(st.noise.SymmetricTransition(0.2, 3))
        >>> criterion = st.CrossEntropyLoss(correction=correction)
        >>> criterion(torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([0]))
        tensor(0.2546)

    References:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", 2017, theorem 2.
    """

    matrix: Tensor | None

    def __init__(self, transition: AbstractTransition | Tensor) -> None:
        super().__init__()
        self._transition = as_transition(transition)
        self.register_buffer("matrix", self._transition.table)

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return self._transition.num_classes

    @property
    def transition(self) -> AbstractTransition:
        """The transition, around the matrix as it was moved or restored."""
        return self._transition.holding(self.matrix)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        kind = self._transition
        return f"<{self.num_classes} x {self.num_classes}>" if kind.table is not None else f"{kind}"


Correction = ForwardCorrection | BackwardCorrection


def resolved(correction: Correction, target: Target) -> tuple[Target, AbstractTransition | None]:
    """Return the target in place of the given one, and the noise that predictions pass through.

    One of the two corrections changes the target, the other the prediction.
    """
    if isinstance(correction, BackwardCorrection):
        return correction.undone(target), None
    return target, correction.transition


def check_correction(correction: object, num_classes: int | None = None) -> None:
    """Raise unless this is a correction (of `num_classes`) or None."""
    if correction is None:
        return
    if not isinstance(correction, ForwardCorrection | BackwardCorrection):
        raise TypeError(
            "`correction` must be a `ForwardCorrection` or a `BackwardCorrection`, got "
            f"{type(correction).__name__}; wrap a transition matrix in one of them"
        )
    if num_classes is not None and correction.num_classes != num_classes:
        raise ValueError(
            f"`correction` must be of the logits' {num_classes} classes, got "
            f"{correction.num_classes}; estimate the transition for this task"
        )
