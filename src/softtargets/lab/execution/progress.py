"""What a caller is told while runs are computed."""

from collections.abc import Callable
from dataclasses import dataclass

from softtargets.lab.kinds import AnySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a caller is told; every call may be ignored, and all come from the caller's thread.

    Attributes:
        planned: the runs that are still to be computed, and the number already there.
        epoch: a run and how many of its epochs are done.
        finished: a run whose record is there now, and whether another process computed it.
        note: a sentence about runs or workers.
    """

    planned: Callable[[list[AnySpec], int], None] = lambda specs, done: None
    epoch: Callable[[AnySpec, int], None] = lambda spec, epoch: None
    finished: Callable[[AnySpec, bool], None] = lambda spec, elsewhere: None
    note: Callable[[str], None] = lambda text: None
