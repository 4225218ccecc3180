"""The synthetic benchmark of instance-based label smoothing, its networks trained together.

Start with `run`; `surface` is the grid of one method's two parameters.
"""

from softtargets.lab.synthetic.benchmark import run, surface
from softtargets.lab.synthetic.networks import Networks, Schooling, train
from softtargets.lab.synthetic.record import SyntheticRecord, read_record, write_record
from softtargets.lab.synthetic.trials import METHODS, Trial, trials

__all__ = [
    "METHODS",
    "Networks",
    "Schooling",
    "SyntheticRecord",
    "Trial",
    "read_record",
    "run",
    "surface",
    "train",
    "trials",
    "write_record",
]
