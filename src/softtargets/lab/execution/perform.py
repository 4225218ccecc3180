"""The unit of work, wherever it is done: one run, its teacher read from the folder beside it."""

import traceback
from collections.abc import Callable
from pathlib import Path

from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.execution.events import Failed, Finished
from softtargets.lab.measuring import predict
from softtargets.lab.networks import network
from softtargets.lab.records import RunFolder
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.task import Teacher
from softtargets.lab.train import run


def perform(spec: RunSpec, data: DataSet, root: Path, on_epoch: Callable[[int], None]) -> None:
    """Compute a run, from its last checkpoint if there is one, and write its record.

    Args:
        spec: what to run.
        data: its data set.
        root: the folder that holds the runs, a finished teacher among them if the spec has one.
        on_epoch: called with the number of finished epochs, first with those of the checkpoint.

    Raises:
        LabError: the run cannot be computed, or a folder cannot be read or written.
    """
    teacher = None if spec.teacher is None else _teacher(RunFolder(root, spec.teacher), data)
    run(spec, data, RunFolder(root, spec.run_id), teacher, on_epoch)


def outcome(
    spec: RunSpec, data: DataSet, root: Path, on_epoch: Callable[[int], None]
) -> Finished | Failed:
    """Perform a run for somebody in another process, and return how it ended.

    Args:
        spec: see `perform`, as are the others.
        data: its data set.
        root: the folder that holds the runs.
        on_epoch: an error of the connection that it raises passes through.
    """
    try:
        perform(spec, data, root, on_epoch)
    except LabError as error:
        return Failed(str(error), None)
    except ConnectionError:
        raise
    except Exception as error:
        return Failed(str(error), traceback.format_exc())
    return Finished()


def _teacher(folder: RunFolder, data: DataSet) -> Teacher:
    """Rebuild the teacher and let it see the training data once, as they are."""
    record = folder.record()
    model = network(record.spec, data)
    try:
        model.load_state_dict(folder.model_state())
    except RuntimeError as error:
        raise folder.corrupt("model.pt does not fit the data") from error
    logits = predict(model.to(given(record.spec.device, "cpu")), data.train)
    return Teacher(logits=logits, temperature=record.temperature, model=model)
