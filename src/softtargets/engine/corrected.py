"""The engine of forward correction: block by block, each block's gradient by autograd.

Besides the logits there is one N x K tensor, the gradient, as in the eager engine.
"""

from typing import final

import torch
from torch import Tensor

from softtargets.engine import blocks, formula
from softtargets.engine.frame import AbstractEngine, Call, Forward
from softtargets.engine.observer import Observer


@final
class CorrectedEngine(AbstractEngine):
    """See the module. Observers see the logits before the correction."""

    def forward(self, call: Call, observer: Observer | None) -> Forward:
        """Return the values of all blocks."""
        keys, parts = blocks.keys(call.logits), []
        for key in keys:
            block = formula.masked_logits(call.logits[key], blocks.at(call.class_mask, key))
            if observer is not None:
                observer(key, block, torch.softmax(block, -1))
            parts.append(_values(block, call, key))
        whole = blocks.assembled(parts, keys, call.logits.shape[:-1])
        return Forward(whole.losses, whole.logsumexp, ())

    def gradient_(self, out: Tensor, call: Call, forward: Forward, incoming: Tensor) -> None:
        """Write the gradient block by block."""
        for key in blocks.keys(call.logits):
            mask = blocks.at(call.class_mask, key)
            with torch.enable_grad():
                source = call.logits[key].detach().requires_grad_()
                losses = _values(formula.masked_logits(source, mask), call, key).losses
            (out[key],) = torch.autograd.grad(losses, source, incoming[key])


def _values(block: Tensor, call: Call, key: blocks.Key) -> formula.Values:
    assert call.transition is not None
    target = blocks.at(call.target, key)
    return formula.noisy_values(block, target, call.weight, call.transition)
