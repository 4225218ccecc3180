"""What a case is: a loss, the labels it is called with, the target it must equal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from softtargets.bench.problem import Inputs

RATE = 0.1

# Called with the tensors of the problem and labels.
Function = Callable[..., Tensor]
# Dense float64 target rows, for a selection of the batch.
Rows = Callable[[slice], Tensor]


class Unavailable(Exception):
    """A case cannot be run here; the message says why."""


class Built(NamedTuple):
    """A case made for some inputs.

    Attributes:
        function: from the tensors of the problem and labels to the mean loss.
        labels: what it is called with.
        target: the dense target in float64 that the gate compares with; None for what is no loss.
    """

    function: Function
    labels: Tensor
    target: Rows | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of a table of results.

    Attributes:
        title: what the reader sees.
        build: makes it for some inputs, or raises `Unavailable`.
        compiled: it goes through torch.compile, whose failures to compile are reasons to skip it.
    """

    title: str
    build: Callable[[Inputs], Built]
    compiled: bool = False
