"""One pass of a case: what is timed, and what is made ready outside of the timed section."""

import torch
from torch import Tensor

from softtargets.bench.case import Built
from softtargets.bench.problem import Inputs


class Step:
    """A case on its inputs, ready to be run again and again.

    `prepare()` writes the inputs afresh into memory that the cases share and that stays, as the
    output of an operation (no leaf), so that a loss may overwrite it; `run()` is a forward and a
    backward pass, or whatever else the case is. The gradient is given back at the end of `run()`:
    a case that allocates one pays for fresh memory every time, as it does in training.

    Args:
        built: the case.
        inputs: of which it was built.
        room: memory for the inputs, see `make_room`; shared by the steps of a problem.
    """

    def __init__(self, built: Built, inputs: Inputs, room: tuple[Tensor, ...]) -> None:
        self.built = built
        self.inputs = inputs
        self.room = room
        self.tensors: tuple[Tensor, ...] = ()

    def prepare(self) -> None:
        """Put the inputs in place."""
        pairs = zip(self.room, self.inputs.tensors, strict=True)
        self.tensors = tuple(place.detach().copy_(tensor) for place, tensor in pairs)

    def run(self) -> None:
        """Run once; call `prepare()` before each time."""
        if self.built.target is None:
            with torch.no_grad():
                self.built.function(*self.tensors, self.built.labels)
            return
        loss = self.built.function(*self.tensors, self.built.labels)
        torch.autograd.grad(loss, self.tensors)


def make_room(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return memory for the inputs, touched, so that no step pays for its first use."""
    return tuple(tensor.detach().clone() for tensor in inputs.tensors)
