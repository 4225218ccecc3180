"""What methods do to a batch before the model sees it: inputs and targets are changed together."""

from collections.abc import Callable

import torch
from torch import Tensor

from softtargets.lab.errors import LabError
from softtargets.lab.models.pictures import channels_last
from softtargets.lab.spec import Parameters
from softtargets.mixing import cutmix, mixup
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


def along_rows_and_columns(change: Change) -> Change:
    """Return a change of pictures that is given rows and columns last, wherever they are."""

    def moved(
        inputs: Tensor, target: Target, parameters: Parameters, generator: torch.Generator
    ) -> tuple[Tensor, Target]:
        if not channels_last(tuple(inputs.shape[1:])):
            return change(inputs, target, parameters, generator)
        made, changed = change(inputs.movedim(-1, 1), target, parameters, generator)
        return made.movedim(1, -1), changed

    return moved


@along_rows_and_columns
def cut(
    inputs: Tensor, target: Target, parameters: Parameters, generator: torch.Generator
) -> tuple[Tensor, Target]:
    """CutMix, one box for the batch."""
    made = cutmix(inputs, target, alpha=parameters["alpha"], generator=generator)
    return made.inputs, made.target


def mollified(*kinds: Kind) -> Change:
    """Return mollification by these kinds."""

    def change(
        inputs: Tensor, target: Target, parameters: Parameters, generator: torch.Generator
    ) -> tuple[Tensor, Target]:
        beta = parameters["beta"]
        made = mollify(inputs, target, kinds=kinds, beta=beta, generator=generator)
        return made.inputs, made.target

    return along_rows_and_columns(change) if "blur" in kinds else change


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
