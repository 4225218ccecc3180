"""What methods do to a batch before the model sees it: inputs and targets are changed together."""

from collections.abc import Callable

import torch
from torch import Tensor

from softtargets.lab.errors import LabError
from softtargets.lab.models.pictures import channels_last
from softtargets.lab.spec import Parameters
from softtargets.mixing import mixup
from softtargets.mollification import Kind, mollify
from softtargets.target import Target

#: From inputs `(B, *shape)`, their target, a method's parameters and a generator on the CPU.
Change = Callable[[Tensor, Target, Parameters, torch.Generator], tuple[Tensor, Target]]


def mixed(
    inputs: Tensor, target: Target, parameters: Parameters, generator: torch.Generator
) -> tuple[Tensor, Target]:
    """MixUp, one share for the batch."""
    made = mixup(inputs, target, alpha=parameters["alpha"], generator=generator)
    return made.inputs, made.target


def mollified(*kinds: Kind) -> Change:
    """Return mollification by these kinds; blur goes along rows and columns, wherever they are."""

    def change(
        inputs: Tensor, target: Target, parameters: Parameters, generator: torch.Generator
    ) -> tuple[Tensor, Target]:
        last = "blur" in kinds and channels_last(tuple(inputs.shape[1:]))
        given = inputs.movedim(-1, 1) if last else inputs
        beta = parameters["beta"]
        made = mollify(given, target, kinds=kinds, beta=beta, generator=generator)
        return made.inputs.movedim(1, -1) if last else made.inputs, made.target

    return change


def check_pictures(method: str, shape: tuple[int, ...]) -> None:
    """Raise `LabError` unless samples are pictures.

    Args:
        method: that is for pictures alone.
        shape: of a sample.
    """
    if len(shape) not in (2, 3):
        raise LabError(
            f"{method} is for pictures, of shape (H, W), (C, H, W) or (H, W, C), got samples of "
            f"shape {shape}; leave it out of --methods"
        )
