"""Where runs are computed: in this process, in others of this machine, or on a Ray cluster."""

import re
from dataclasses import dataclass
from typing import Literal

from softtargets.lab.errors import LabError
from softtargets.lab.execution.pool import AbstractPool, InlinePool, Work

MOST_PROCESSES = 1024
_RAY_PORT = 10001


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where runs are computed.

    Attributes:
        kind: of the workers.
        processes: how many; for kind "processes".
        address: `ray://HOST:PORT` of a cluster, or None for one of Ray's own choice; for "ray".
    """

    kind: Literal["inline", "processes", "ray"]
    processes: int = 1
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return what is meant by "inline", "processes:N", "ray" or "ray://HOST:PORT".

        Raises:
            LabError: something else.

        Example:
            >>> Place.parse("processes:2")
            Place(kind='processes', processes=2, address=None)
        """
        if text == "inline":
            return cls(kind="inline")
        if text == "ray":
            return cls(kind="ray")
        if match := re.fullmatch(r"processes:(\d{1,6})", text):
            count = int(match[1])
            if not 1 <= count <= MOST_PROCESSES:
                raise LabError(f"--on processes:N takes 1 to {MOST_PROCESSES}, got {count}")
            return cls(kind="processes", processes=count)
        if match := re.fullmatch(r"ray://([^/:\s]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?", text):
            return cls(kind="ray", address=f"ray://{match[1]}:{match[2] or _RAY_PORT}")
        raise LabError(f"unknown --on {text}: choose inline, processes:N, ray, or ray://HOST:PORT")

    def pool(self, work: Work, most: int) -> AbstractPool:
        """Start workers.

        Args:
            work: what they compute on.
            most: how many can be of use.

        Raises:
            LabError: there is no Ray, or none at the address.
        """
        if self.kind == "inline":
            return InlinePool(work)
        if self.kind == "processes":
            from softtargets.lab.execution.processes import ProcessPool

            return ProcessPool(work, min(self.processes, most))
        from softtargets.lab.execution.on_ray import RayPool

        return RayPool(work, self.address, most)
