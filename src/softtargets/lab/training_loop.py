"""The loop of tasks beside classification: epochs, a checkpoint after each, a record at the end.

As in `softtargets.lab.train`, nothing random has state: what an epoch draws is a function of the
seed and its number, so that a run that was killed goes on to the same numbers.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from softtargets.lab import seeds
from softtargets.lab.epoch import end_epoch
from softtargets.lab.errors import LabError
from softtargets.lab.kinds import AnySpec
from softtargets.lab.records import StoredRun, pack_state, sha256
from softtargets.lab.session import DivergedError

FORMAT = 1

Row = dict[str, float]


class AbstractTraining(ABC):
    """What a run trains, and how it is measured.

    Attributes:
        spec: of the run.
        model: to train.
        criterion: the method's; `end_epoch` is called on what learns in it.
        optimizer: of the model's weights.
    """

    spec: AnySpec
    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer

    @abstractmethod
    def epoch(self, number: int) -> float:
        """Train for one epoch and return the mean loss.

        What is drawn must be a function of the spec's seed and the number; torch's own generator
        is seeded so by the caller.

        Args:
            number: of the epoch, from 0.
        """

    @abstractmethod
    def validate(self) -> Row:
        """Return what is measured on the validation data after an epoch, `validation_nll` too."""

    @abstractmethod
    def finish(self, history: list[Row], seconds: float, model_hash: str) -> tuple[Any, bytes]:
        """Measure the model on the test data; return the record, unsealed, and its arrays.

        Args:
            history: a row for each epoch.
            seconds: training took.
            model_hash: of the weights, for the record.

        Raises:
            DivergedError: the model says nothing finite of the test data.
        """


class WarmedUp(Protocol):
    """What the learning rate of a run depends on."""

    @property
    def epochs(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def warm_up(self) -> float: ...


def learning_rate(spec: WarmedUp, passed: float) -> float:
    r"""Return the learning rate after some epochs, a fraction counted.

        r = peak * (s + e) / (w + e)                      while s < w, with e = 0.001
        r = peak * (1 + cos(pi (s - w) / (1 - w))) / 2    then

    with s the share of the run that has passed and w the share in which the rate rises.

    Args:
        spec: of the run.
        passed: epochs so far.
    """
    share, rising = passed / spec.epochs, spec.warm_up
    if share < rising:
        return spec.learning_rate * (share + 1e-3) / (rising + 1e-3)
    return spec.learning_rate * (1 + math.cos(math.pi * (share - rising) / (1 - rising))) / 2


def train(
    training: AbstractTraining, folder: StoredRun[Any], on_epoch: Callable[[int], None]
) -> None:
    """Compute a run, from its last checkpoint if there is one, and write its record.

    Args:
        training: of the run, as at its start.
        folder: where it is kept.
        on_epoch: called with the number of finished epochs, first with those of the checkpoint.

    Raises:
        LabError: training diverged, or the folder cannot be read or written.
    """
    spec = training.spec
    history, seconds = restored(training, folder)
    on_epoch(len(history))
    try:
        while len(history) < spec.epochs:
            began = time.perf_counter()
            history.append(_epoch(training, len(history)))
            seconds += time.perf_counter() - began
            folder.save_checkpoint(_saved(training, history, seconds))
            on_epoch(len(history))
        training.model.eval()
        weights = pack_state(training.model.state_dict())
        record, arrays = training.finish(history, seconds, sha256(weights))
    except DivergedError as error:
        folder.discard_checkpoint()
        raise LabError(
            f"{spec.run_id} diverged after {len(history)} of {spec.epochs} epochs: {error}; "
            "the same command would do so again, and nothing of this run is kept: lower "
            f"--learning-rate, or leave {spec.method} out of --methods"
        ) from error
    folder.finish(record, arrays, weights)


def restored(training: AbstractTraining, folder: StoredRun[Any]) -> tuple[list[Row], float]:
    """Put a run's last checkpoint in place, if there is one; return its history and seconds.

    Args:
        training: of the run, as at its start.
        folder: where it is kept.

    Raises:
        LabError: the checkpoint is of another run or version, or damaged.
    """
    saved = folder.checkpoint()
    if saved is None:
        return [], 0.0
    try:
        if (saved["format"], saved["run"]) != (FORMAT, training.spec.run_id):
            raise ValueError("another format or run")
        training.model.load_state_dict(saved["model"])
        training.criterion.load_state_dict(saved["criterion"])
        training.optimizer.load_state_dict(saved["optimizer"])
        return list(saved["history"]), float(saved["seconds"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise folder.corrupt("checkpoint.pt is of another kind of run or version") from error


def _epoch(training: AbstractTraining, number: int) -> Row:
    training.model.train()
    training.criterion.train()
    layers = seeds.generator("layers", training.spec.seed, number, 0).initial_seed()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(layers)
        loss = training.epoch(number)
    if not math.isfinite(loss):
        raise DivergedError("the training loss is not finite")
    end_epoch(training.criterion)
    training.model.eval()
    row = {"loss": loss, **training.validate()}
    if not all(map(math.isfinite, row.values())):
        raise DivergedError("what is measured on the validation data is not finite")
    return row


def _saved(training: AbstractTraining, history: list[Row], seconds: float) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": training.spec.run_id,
        "model": training.model.state_dict(),
        "criterion": training.criterion.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "history": history,
        "seconds": seconds,
    }
