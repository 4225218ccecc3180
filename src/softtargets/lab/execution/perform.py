"""A run for somebody in another process: how it ended, in a form that can be sent."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softtargets.lab.errors import LabError
from softtargets.lab.execution.events import Failed, Finished
from softtargets.lab.kinds import AnySpec, kind_of


def outcome(
    spec: AnySpec, data: Any, root: Path, on_epoch: Callable[[int], None]
) -> Finished | Failed:
    """Perform a run, and return how it ended.

    Args:
        spec: see `softtargets.lab.kinds.AbstractKind.perform`, as are the others.
        data: its data set.
        root: the folder that holds the runs.
        on_epoch: an error of the connection that it raises passes through.
    """
    try:
        kind_of(spec).perform(spec, data, root, on_epoch)
    except LabError as error:
        return Failed(str(error), None)
    except ConnectionError:
        raise
    except Exception as error:
        return Failed(str(error), traceback.format_exc())
    return Finished()
