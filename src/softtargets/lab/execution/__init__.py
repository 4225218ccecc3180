"""Execution of studies: a study is a function that returns specs; `compute` makes the records.

In this process, in several of this machine, or on a Ray cluster; the records are the same.
"""

from softtargets.lab.execution.progress import Progress
from softtargets.lab.execution.schedule import compute

__all__ = ["Progress", "compute"]
