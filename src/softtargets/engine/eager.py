"""The eager engine: the closed form, block by block, on any device.

Besides the logits there is one N x K tensor, the gradient, and none in evaluation.
"""

from typing import final

import torch
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
            block = formula.masked_logits(call.logits[key], _at(call.class_mask, key))
            target = call.target[key] if key else call.target
            watching = observer
            if call.transition is not None:
                if observer is not None:
                    observer(key, block, torch.softmax(block, -1))
                block, watching = formula.noisy_logits(block, target, call.transition), None
            part = blocks.values(key, block, target, call.weight, watching, memory)
            parts.append(part.values)
            masked |= part.masked
        whole = parts[0] if len(parts) == 1 else _assembled(parts, keys, call)
        return Forward(whole.losses, whole.logsumexp, (whole.mass,), masked)

    def gradient_(self, out: Tensor, call: Call, forward: Forward, incoming: Tensor) -> None:
        """Write the gradient block by block."""
        (mass,) = forward.kept
        for key in blocks.keys(call.logits):
            block, mask = call.logits[key], _at(call.class_mask, key)
            direct = mask is None and block.dtype == forward.logsumexp.dtype
            direct &= call.transition is None
            block = formula.masked_logits(block, mask)
            grad = out[key] if direct else block
            target = call.target[key] if key else call.target
            saved = (forward.logsumexp[key], mass[key], incoming[key])
            if call.transition is None:
                blocks.gradient_(grad, block, target, call.weight, saved, forward.masked)
            else:
                with torch.enable_grad():
                    source = block.detach().requires_grad_()
                    noisy = formula.noisy_logits(source, target, call.transition)
                grad = torch.empty_like(block)
                blocks.gradient_(grad, noisy.detach(), target, call.weight, saved, forward.masked)
                (grad,) = torch.autograd.grad(noisy, source, grad)
            if mask is not None:
                grad.masked_fill_(~mask, 0)
            if not direct:
                out[key] = grad


def _at(class_mask: Tensor | None, key: blocks.Key) -> Tensor | None:
    return None if class_mask is None else class_mask[key]


def _assembled(parts: list[formula.Values], keys: list[blocks.Key], call: Call) -> formula.Values:
    """The values of all blocks in tensors of the batch shape."""
    shape = call.logits.shape[:-1]
    whole = formula.Values(*(value.new_empty(shape) for value in parts[0]))
    for key, part in zip(keys, parts, strict=True):
        for value, block in zip(whole, part, strict=True):
            value[key] = block
    return whole
