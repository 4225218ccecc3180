"""The eager engine: the closed form, block by block, on any device.

Besides the logits there is one N x K tensor, the gradient, and none in evaluation.
"""

from typing import final

from torch import Tensor

from softtargets.engine import blocks, formula
from softtargets.engine.frame import AbstractEngine, Call, Forward
from softtargets.engine.observer import Observer


@final
class EagerEngine(AbstractEngine):
    """See the module."""

    def forward(self, call: Call, observer: Observer | None) -> Forward:
        """Return the values of all blocks."""
        keys, parts, masked = blocks.keys(call.logits), [], False
        memory = blocks.scratch(call.logits)
        for key in keys:
            logits, target = blocks.at(call.logits, key), blocks.at(call.target, key)
            block = formula.masked_logits(logits, blocks.at(call.class_mask, key))
            part = blocks.values(key, block, target, call.weight, observer, memory)
            parts.append(part.values)
            masked |= part.masked
        whole = blocks.assembled(parts, keys, call.logits.shape[:-1])
        return Forward(whole.losses, whole.logsumexp, (whole.mass,), masked)

    def gradient_(self, out: Tensor, call: Call, forward: Forward, incoming: Tensor) -> None:
        """Write the gradient block by block."""
        (mass,) = forward.kept
        for key in blocks.keys(call.logits):
            block, mask = blocks.at(call.logits, key), blocks.at(call.class_mask, key)
            direct = mask is None and block.dtype == forward.logsumexp.dtype
            block = formula.masked_logits(block, mask)
            grad = blocks.at(out, key) if direct else block
            target = blocks.at(call.target, key)
            saved = (
                blocks.at(forward.logsumexp, key),
                blocks.at(mass, key),
                blocks.at(incoming, key),
            )
            blocks.gradient_(grad, block, target, call.weight, saved, forward.masked)
            if mask is not None:
                grad.masked_fill_(~mask, 0)
            if not direct:
                out[key] = grad
