"""What a worker tells while it computes a run."""

from typing import NamedTuple


class Advanced(NamedTuple):
    """Some epochs are done; `epochs` counts them."""

    epochs: int


class Finished(NamedTuple):
    """The record is written."""


class Failed(NamedTuple):
    """The run cannot be computed.

    Attributes:
        message: why.
        trace: of an error that nobody is meant to mend; None for a `LabError`.
    """

    message: str
    trace: str | None


class Lost(NamedTuple):
    """The worker died; `why` as far as it is known."""

    why: str


Event = Advanced | Finished | Failed | Lost
