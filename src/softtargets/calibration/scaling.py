"""What every scaling of logits has in common: fitted once, applied anywhere, saved exactly."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn


class Fit(NamedTuple):
    """What a fit found.

    Args:
        temperature: the single temperature.
        at_bound: whether a parameter is an end of its range.
        improved: whether the NLL of the fitting data fell.
        scale: `(K,)`, float64, on the CPU; None: the single temperature is all there is.
        bias: `(K,)`, float64, on the CPU, or None.
        refused: whether scale and bias do no more than the single temperature.
    """

    temperature: float
    at_bound: bool
    improved: bool
    scale: Tensor | None = None
    bias: Tensor | None = None
    refused: bool = False


class AbstractScaling(nn.Module, ABC):
    """A map of logits to better calibrated ones, fitted on a validation split.

    A module without parameters to train: it can stand behind a model in `nn.Sequential`, pickles,
    and its `state_dict()` holds the fit in full precision whatever `.half()` did to the model.

    Attributes:
        temperature: the single temperature T that minimises the NLL; 1 if none lowers it.
        underconfident: whether T < 1.
        at_bound: whether a parameter is an end of its range.
        improved: whether the NLL of the fitting data fell.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fit: Fit | None = None

    @abstractmethod
    def fit(self, logits: Tensor, labels: Tensor) -> Self:
        """Find the parameters on validation logits, never on the ones they will be judged by.

        Args:
            logits: `(N, K)`, floating point; -inf masks a class, but not a label's.
            labels: `(N,)`, integers in 0 .. K - 1.
        """

    @abstractmethod
    def forward(self, logits: Tensor) -> Tensor:
        """Return scaled logits `(..., K)`: same shape and dtype, differentiable."""

    @property
    def temperature(self) -> float:
        """The single temperature T; 1 if no other value lowered the NLL."""
        return self._fitted().temperature

    @property
    def underconfident(self) -> bool:
        """Whether T < 1: the model should have been surer than it was.

        Usual after label smoothing. Where `at_bound` holds too, T says little.
        """
        return self.temperature < 1

    @property
    def at_bound(self) -> bool:
        """Whether a parameter is an end of its range, so that the split does not determine it.

        A validation split without a single error pulls T to 0, a useless model to infinity.
        """
        return self._fitted().at_bound

    @property
    def improved(self) -> bool:
        """Whether the NLL of the split it was fitted on is below that of the logits as given."""
        return self._fitted().improved

    def get_extra_state(self) -> dict[str, Any] | None:
        """Return the fit as plain numbers and tensors."""
        return None if self._fit is None else self._fit._asdict()

    def set_extra_state(self, state: dict[str, Any] | None) -> None:
        """Restore what `get_extra_state` returned."""
        self._fit = None if state is None else Fit(**state)

    def extra_repr(self) -> str:
        """Return what was fitted, for `repr`."""
        if self._fit is None:
            return "not fitted"
        parts = [f"temperature={self.temperature:.4g}"]
        parts += [name for name in ("underconfident", "at_bound") if getattr(self, name)]
        parts += ["refused: the single temperature stays"] if self._fit.refused else []
        return ", ".join(parts)

    def _fitted(self) -> Fit:
        if self._fit is None:
            raise RuntimeError(
                f"`{type(self).__name__}` must be fitted before use; call `.fit(logits, labels)` "
                "with a validation split"
            )
        return self._fit


def scaled(logits: Tensor, fit: Fit) -> Tensor:
    """Apply a fit to `(..., K)` logits; half precision is computed in float32.

    Raises:
        ValueError: another number of classes than at the fit.
    """
    if fit.scale is None:
        return logits / fit.temperature
    if logits.shape[-1:] != fit.scale.shape:
        raise ValueError(
            f"`logits` must have {len(fit.scale)} classes in their last dimension, as at the fit, "
            f"got shape {tuple(logits.shape)}"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    wide = logits.to(dtype) * fit.scale.to(logits.device, dtype)
    if fit.bias is not None:
        wide = wide + fit.bias.to(logits.device, dtype)
    return wide.to(logits.dtype)
