"""What changes during a run; all of it is in its checkpoint."""

import copy
from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch
from torch import nn

from softtargets.lab.averaging import AveragedModel
from softtargets.lab.changes import check_pictures
from softtargets.lab.data import DataSet
from softtargets.lab.data.augment import check_augmentation
from softtargets.lab.errors import LabError
from softtargets.lab.methods import METHODS
from softtargets.lab.networks import network
from softtargets.lab.optimisation import optimizer
from softtargets.lab.records import Epoch, StoredRun
from softtargets.lab.session import Session
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.task import Task

FORMAT = 1


@dataclass(slots=True, kw_only=True)
class State:
    """What a run is for, and what changes during it.

    Attributes:
        spec: of the run.
        task: what its method was built for.
        model: its network.
        criterion: the method's.
        optimizer: of the network's weights.
        scaler: of float16 gradients.
        averaged: the moving average of the weights, if there is one.
        best: the measured weights of the lowest validation NLL, where a run may stop early.
        history: one row per finished epoch.
        seconds: training time so far.
    """

    spec: RunSpec
    task: Task
    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None = None
    averaged: AveragedModel | None = None
    best: dict[str, Any] | None = None
    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def start(cls, spec: RunSpec, data: DataSet, task: Task, session: Session) -> "State":
        """Return the state before the first epoch.

        Args:
            spec: of the run.
            data: its data set.
            task: what the method is built for.
            session: where it is computed.

        Raises:
            LabError: the method cannot be built for the task, or is for other data, or the network
                cannot be built for them, or they cannot be augmented so.
        """
        check_augmentation(given(spec.augment, "none"), data.shape)
        if METHODS[spec.method].pictures:
            check_pictures(spec.method, data.shape)
        model = network(spec, data).to(session.device)
        try:
            criterion = METHODS[spec.method].build(task)
        except ValueError as error:
            raise LabError(
                f"{spec.method} cannot be trained on these labels: {error}; or leave it out of "
                "--methods"
            ) from error
        decay = given(spec.average, None)
        return cls(
            spec=spec,
            task=task,
            model=model,
            criterion=criterion.to(session.device),
            optimizer=optimizer(spec, model.parameters()),
            scaler=session.scaler(),
            averaged=None if decay is None else AveragedModel(model, decay),
        )

    @property
    def measured(self) -> nn.Module:
        """The network that is measured and kept: the average, where there is one."""
        return self.model if self.averaged is None else self.averaged.model

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        done = len(self.history)
        waited = done - 1 - self._lowest if done else 0
        return done >= self.spec.epochs or waited >= given(self.spec.patience, done + 1)

    @property
    def _lowest(self) -> int:
        """The epoch of the lowest validation NLL, the first of equals."""
        values = [epoch.validation_nll for epoch in self.history]
        return values.index(min(values))

    def add(self, epoch: Epoch) -> None:
        """Take the row of a finished epoch, and its weights if they are the best so far."""
        self.history.append(epoch)
        if self.spec.patience is not msgspec.UNSET and self._lowest == len(self.history) - 1:
            self.best = copy.deepcopy(self.measured.state_dict())

    def go_back(self) -> None:
        """Give the measured network its best weights, where the run may stop early."""
        if self.best is not None:
            self.measured.load_state_dict(self.best)

    def save(self) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {
            "format": FORMAT,
            "run": self.spec.run_id,
            "model": self.model.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "best": self.best,
            "history": [msgspec.structs.asdict(epoch) for epoch in self.history],
            "seconds": self.seconds,
        }

    def restore(self, saved: dict[str, Any] | None, folder: StoredRun[Any]) -> None:
        """Go on from a checkpoint.

        Args:
            saved: its content; None for none.
            folder: where it was.

        Raises:
            LabError: it is of another run, or of another version.
        """
        if saved is None:
            return
        try:
            if (saved["format"], saved["run"]) != (FORMAT, self.spec.run_id):
                raise ValueError("another format or run")
            self.model.load_state_dict(saved["model"])
            self.criterion.load_state_dict(saved["criterion"])
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.scaler is not None:
                self.scaler.load_state_dict(saved["scaler"])
            if self.averaged is not None:
                self.averaged.load_state_dict(saved["averaged"])
            self.best = saved["best"]
            self.history = [Epoch(**epoch) for epoch in saved["history"]]
            self.seconds = saved["seconds"]
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise folder.corrupt("checkpoint.pt is of another kind of run or version") from error
