"""Transitions out of tensors, and as smoothing rates."""

import torch
from torch import Tensor

from softtargets.transition.base import AbstractTransition
from softtargets.transition.dense import DenseTransition


def as_transition(transition: AbstractTransition | Tensor) -> AbstractTransition:
    """Return a `(K, K)` tensor as a `DenseTransition`, a transition as it is, or raise."""
    if isinstance(transition, AbstractTransition):
        return transition
    if isinstance(transition, Tensor):
        return DenseTransition(transition)
    held = getattr(transition, "transition", None)
    raise TypeError(
        "`transition` must be a (K, K) tensor or a transition such as "
        f"`noise.SymmetricTransition(rate, num_classes)`, got {type(transition).__name__}"
        + ("" if held is None else "; pass its `.transition`")
    )


def equivalent_smoothing(transition: AbstractTransition | Tensor, tolerance: float = 1e-6) -> float:
    r"""Return the rate of the label smoothing that is the same matrix as this noise.

        T = (1 - a) I + (a / K) 1 1'        noise of rate rho:  a = rho K / (K - 1)

    In expectation, training on noisy labels is training on clean labels smoothed at a, and the
    backward correction is smoothing at -a / (1 - a). `SymmetricTransition.from_smoothing` goes
    back.

    Args:
        transition: `(K, K)` tensor or a transition.
        tolerance: how far an entry may be from the formula.

    Returns:
        The rate a in [0, K / (K - 1)].

    Raises:
        TypeError: `transition` is neither.
        ValueError: the noise is not symmetric, or no transition matrix.

    Example:
        >>> import softtargets as st
        >>> noise = st.noise.PairTransition(0.2, 2)
        >>> round(st.noise.equivalent_smoothing(noise), 6)
        0.4

    References:
        Lukasik et al., "Does Label Smoothing Mitigate Label Noise?", 2020, section 3.
    """
    transition = as_transition(transition)
    if transition.uniform_rate is not None:
        return transition.uniform_rate
    matrix, classes = transition.dense(), transition.num_classes
    rate = (classes - float(matrix.trace())) / (classes - 1)
    uniform = torch.full_like(matrix, rate / classes) + (1 - rate) * torch.eye(classes).to(matrix)
    distance = float((matrix - uniform).abs().max())
    if distance > tolerance:
        raise ValueError(
            "`transition` must be symmetric noise, (1 - a) I + (a / K) 1 1', to be a uniform "
            f"smoothing; an entry is {distance:.3g} away from the one with a = {rate:.4g}; "
            "`ClassMatrixSmoothing(matrix, rate=1.0)` smooths with any matrix, or raise "
            f"`tolerance` above {tolerance:g}"
        )
    return rate
