"""The exponential moving average of a model's weights."""

import copy
from typing import Any

import torch
from torch import nn


class AveragedModel:
    r"""A copy of a model whose weights are a moving average of the model's.

        average <- d average + (1 - d) weights    d = min(decay, (1 + t) / (10 + t)), t-th update

    so that the initial weights are soon forgotten. Buffers, such as the statistics of batch
    normalisation, are the model's own.

    Args:
        model: as it is before the first step.
        decay: in (0, 1).

    Attributes:
        model: the copy.
        updates: t.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(11.0)
        >>> averaged = AveragedModel(model, 0.9)
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(0.0)
        >>> averaged.update(model)
        >>> averaged.model.weight.item()  # 11 (1 + 1) / (10 + 1)
        2.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's weights into the average.

        Args:
            model: after a step.
        """
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(
            list(self.model.parameters()), list(model.parameters()), weight=1 - decay
        )
        for ours, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            ours.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, buffers and t."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.updates = int(state["updates"])
