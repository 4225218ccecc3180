"""The options of `softtargets compare` that say how models are trained, and the launch of ranks."""

import logging
import sys
import uuid
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from softtargets.cli.parameters import Count, whole
from softtargets.lab.options import Training

_Perhaps = Annotated[int | None, Parameter(converter=whole)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Training):
    """The same, with whole numbers that the command line does not round."""

    batch_size: Count = 64
    warm_up: Count = 0
    accumulate: Count = 1
    patience: _Perhaps = None
    measured: _Perhaps = None
    ranks: Count = 1


def launch(ranks: int) -> int:
    """Run this command line once more in several processes and return the first bad exit status.

    Args:
        ranks: how many processes.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("", ".agent.server.api"):
        logging.getLogger("torch.distributed.elastic" + name).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "softtargets", *sys.argv[1:])
    except ChildFailedError as error:
        return error.get_first_failure()[1].exitcode
    except SignalException as error:  # the first process has said so
        return 128 + int(error.sigval)
    return 0
