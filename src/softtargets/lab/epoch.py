"""One epoch of training: batches in an order of their own, each computed once by every rank."""

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from msgspec import UNSET
from torch import Tensor, nn

from softtargets.lab import seeds
from softtargets.lab.averaging import AveragedModel
from softtargets.lab.criteria import PeriodicOnline
from softtargets.lab.data import Split, augment
from softtargets.lab.errors import LabError
from softtargets.lab.methods import METHODS
from softtargets.lab.optimisation import learning_rate
from softtargets.lab.session import DivergedError, Session
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.task import Teacher
from softtargets.smoothing import OnlineLabelSmoothing
from softtargets.smoothing.schedule import step_schedules
from softtargets.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """What an epoch of a run works with.

    Attributes:
        spec: of the run.
        session: where it is computed.
        split: the training part of the data.
        labels: `(N,)`, as given to training, on the session's device.
        num_classes: K.
        model: to train; with several processes, one that averages gradients.
        criterion: the method's.
        optimizer: of the model's weights.
        scaler: of float16 gradients.
        averaged: the moving average of the weights, if there is one.
        teacher: for methods that need one, on the session's device.
    """

    spec: RunSpec
    session: Session
    split: Split
    labels: Tensor
    num_classes: int
    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None
    averaged: AveragedModel | None
    teacher: Teacher | None

    def epoch(self, number: int) -> float:
        """Train for one epoch and return the mean loss against the method's targets.

        What a layer draws by itself, as dropout does, is a function of seed, epoch and rank too.

        Args:
            number: of the epoch, from 0.

        Raises:
            DivergedError: the loss is not finite.
        """
        seed = self.spec.seed
        order = torch.randperm(len(self.labels), generator=seeds.generator("order", seed, number))
        batches = torch.split(order, self.spec.batch_size)
        draws = _Draws(
            changes=seeds.generator("mixing", seed, number),
            augmentation=seeds.generator("augmentation", seed, number),
        )
        own = seeds.generator("layers", seed, number, self.session.rank).initial_seed()
        self.model.train()
        self.criterion.train()
        losses = []
        devices = [self.session.device] if self.session.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(own)
            for step, batch in enumerate(batches):
                rate = learning_rate(self.spec, number, step, len(batches))
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                losses.append(self._step(batch, draws))
        total = self._total(losses, batches)
        if not math.isfinite(total):
            raise DivergedError("the training loss is not finite")
        end_epoch(self.criterion)
        return total / len(self.labels)

    def _step(self, batch: Tensor, draws: "_Draws") -> Tensor:
        """Take a step and return this process's share of the batch's mean loss."""
        inputs, target, said = self._drawn(batch, draws)
        count = math.ceil(len(batch) * given(self.spec.accumulate, 1) / self.spec.batch_size)
        parts = self.session.parts(len(batch), count)
        self.optimizer.zero_grad()
        losses = [
            self._backward(inputs[part], target[part], None if said is None else said[part], share)
            for part, share in self._synchronised(parts, len(batch))
        ]
        self._update()
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _drawn(
        self, batch: Tensor, draws: "_Draws"
    ) -> tuple[Tensor, Tensor | Target, Tensor | None]:
        """Return inputs, target and a teacher's logits of a whole batch, the same in each rank."""
        inputs = self.split.take(batch).to(self.session.device, non_blocking=True)
        if self.spec.augment is not UNSET:
            inputs = augment(self.spec.augment, inputs, draws.augmentation)
        said = self._said(batch, inputs)
        target: Tensor | Target = self.labels[batch]
        change = METHODS[self.spec.method].change
        if change is not None:
            whole = Target.from_labels(self.labels[batch], self.num_classes)
            inputs, target = change(inputs, whole, self.spec.parameters, draws.changes)
        return inputs, target, said

    def _said(self, batch: Tensor, inputs: Tensor) -> Tensor | None:
        """Return what the teacher says of the inputs as the model sees them."""
        if self.teacher is None:
            return None
        if self.spec.augment is UNSET:
            return self.teacher.logits[batch]
        assert self.teacher.model is not None
        with torch.no_grad():
            said: Tensor = self.teacher.model.eval()(inputs)
        return said

    def _synchronised(self, parts: list[slice], samples: int) -> Iterable[tuple[slice, float]]:
        """Yield parts with their shares of the batch; ranks exchange gradients in the last."""
        for part in parts:
            share = (part.stop - part.start) / samples
            with self._alone() if part is not parts[-1] else nullcontext():
                yield part, share

    def _alone(self) -> AbstractContextManager[Any]:
        if isinstance(self.model, nn.parallel.DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def _backward(
        self, inputs: Tensor, target: Tensor | Target, said: Tensor | None, share: float
    ) -> Tensor:
        """Add the gradients of a part of a batch and return its share of the mean loss."""
        logits = self._forward(inputs)
        arguments = {} if said is None else {"teacher_logits": said}
        # With nothing to compute, a rank only takes part in the exchange of gradients.
        loss: Tensor = self.criterion(logits, target, **arguments) if share else logits.sum()
        if share != 1:
            loss = loss * share
        # Gradients are averaged over ranks, each of which has the gradient of its share.
        scaled = loss if self.session.ranks == 1 else loss * self.session.ranks
        if self.scaler is not None:
            scaled = self.scaler.scale(scaled)
        scaled.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _forward(self, inputs: Tensor) -> Tensor:
        try:
            with self.session.autocast():
                logits: Tensor = self.model(inputs)
        except ValueError as error:
            if len(inputs) != 1:
                raise
            raise LabError(
                f"batch normalisation cannot learn from a part of one sample ({error}); choose "
                "another --batch-size, so that the last batch of an epoch is larger"
            ) from error
        return logits.float()

    def _update(self) -> None:
        if self.spec.clip is not UNSET:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.averaged is not None:
            self.averaged.update(self.model)

    def _total(self, losses: list[Tensor], batches: tuple[Tensor, ...]) -> float:
        """Return the sum over all samples; nothing waits for a loss before the epoch is over."""
        total = 0.0
        for loss, batch in zip(torch.stack(losses).tolist(), batches, strict=True):
            total += loss * len(batch)
        return float(self.session.total(torch.tensor(total, dtype=torch.float64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draws:
    """The generators of an epoch; each is used for one thing, batch after batch."""

    changes: torch.Generator
    augmentation: torch.Generator


def end_epoch(criterion: nn.Module) -> None:
    """Tell a criterion that an epoch is over: what learns, learns, and schedules go on.

    Args:
        criterion: or any module that holds policies; collective if one of them learns online.
    """
    for module in criterion.modules():
        if isinstance(module, OnlineLabelSmoothing) and not isinstance(criterion, PeriodicOnline):
            module.end_epoch()
    step_schedules(criterion)
