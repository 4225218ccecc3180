"""The arms of an experiment: a method, the settings it may choose from, and the runs it takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from softtargets.claims.budgets import Budget, Scene, SceneName
from softtargets.claims.sources import MissingDataError, Sources
from softtargets.lab.kinds import AnySpec, kind_named
from softtargets.lab.records import RunRecord
from softtargets.lab.spec import RunSpec

Found = Mapping[str, Any]
_BATCH_SIZE = next(
    each.default for each in msgspec.structs.fields(RunSpec) if each.name == "batch_size"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One setting of a method.

    Attributes:
        parameters: of the method.
        fields: other fields of a `RunSpec`, as the weight decay.
        period: for online smoothing, a share of an epoch from one matrix to the next.
    """

    parameters: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    period: float | None = None

    def __str__(self) -> str:
        settings = {**self.parameters, **self.fields}
        if self.period is not None:
            settings["period"] = self.period
        return ", ".join(f"{name} {value}" for name, value in settings.items()) or "as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A method on a scene.

    Where there are several tries, each is run with the budget's tuning seeds, and the one with the
    best validation data is run with the seeds that are judged.

    Attributes:
        name: unique in its claim.
        method: a name in `softtargets.lab.methods.METHODS`.
        tries: settings; the first ones where a budget allows fewer.
        scene: what it is trained on.
        by: what a try is chosen by: accuracy, ties by NLL, or NLL, of the validation data in the
            last epoch and on average over the tuning seeds.
        sweep: run every try with the seeds that are judged, not the chosen one alone.
        teacher: for methods that have one, an arm of one try.
        noise: rate at which training labels are flipped to another class.
        share: of the scene's epochs.
        student: whether the network is the scene's for students.
    """

    name: str
    method: str
    tries: tuple[Try, ...] = (Try(),)
    scene: SceneName = "confident"
    by: Literal["accuracy", "nll"] = "accuracy"
    sweep: bool = False
    teacher: "Arm | None" = None
    noise: float = 0.0
    share: float = 1.0
    student: bool = False

    def offered(self, budget: Budget) -> tuple[Try, ...]:
        """Return the tries that the budget allows."""
        return self.tries[: budget.tries]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Says which runs an arm takes.

    Attributes:
        budget: what may be spent.
        sources: of the data.
    """

    budget: Budget
    sources: Sources

    def scene(self, arm: Arm) -> Scene:
        """Return what an arm is trained on.

        Raises:
            MissingDataError: the budget has no such scene.
        """
        scene = self.budget.scenes.get(arm.scene)
        if scene is None:
            raise MissingDataError(f"the budget {self.budget.name} has no data for it")
        return scene

    def seeds(self, arm: Arm) -> tuple[int, ...]:
        """Return the seeds of the runs of an arm that are judged."""
        return self.budget.seeds[: self.scene(arm).seeds]

    def spec(self, arm: Arm, attempt: Try, seed: int) -> AnySpec:
        """Return the spec of one run.

        Raises:
            MissingDataError: the data are not there, or the budget has no such scene.
        """
        scene = self.scene(arm)
        if scene.kind == RunSpec.kind:
            return self._classifier(arm, attempt, seed)
        source, data = self.sources.located(scene.data, scene.kind)
        found: AnySpec = kind_named(scene.kind).spec(
            data=source,
            data_hash=data.digest,
            method=arm.method,
            parameters=dict(attempt.parameters),
            seed=seed,
            epochs=max(1, round(arm.share * scene.epochs)),
            **{**scene.fields, **attempt.fields},
        )
        return found

    def _classifier(self, arm: Arm, attempt: Try, seed: int) -> RunSpec:
        scene = self.scene(arm)
        source, data = self.sources.located(scene.data)
        teacher = None
        if arm.teacher is not None:
            teacher = self.spec(arm.teacher, arm.teacher.tries[0], seed).run_id
        fields = {**scene.fields, **(scene.student if arm.student else {}), **attempt.fields}
        parameters = dict(attempt.parameters)
        if attempt.period is not None:
            batch = fields.get("batch_size", _BATCH_SIZE)
            steps = max(1, round(attempt.period * len(data.train) / batch))
            parameters["period"] = float(steps)
        return RunSpec(
            data=source,
            data_hash=data.digest,
            method=arm.method,
            parameters=parameters,
            seed=seed,
            noise=arm.noise,
            epochs=max(1, round(arm.share * scene.epochs)),
            teacher=teacher,
            noisy_labels=data.noisy_digest or UNSET,
            resamples=0,
            **fields,
        )

    def specs(self, arm: Arm, found: Found, *, assume: bool = False) -> Iterator[AnySpec]:
        """Yield the specs of an arm, teachers first: as far as they are known.

        Args:
            arm: whose.
            found: finished runs by run_id; with those of the tuning seeds, the rest is known.
            assume: take the first try where none is chosen yet, to count the runs.
        """
        tries = arm.offered(self.budget)
        if len(tries) > 1:
            for attempt in tries:
                yield from self._with_teachers(arm, attempt, self.budget.tuning_seeds)
        chosen = self.choice(arm, found)
        if chosen is None and assume:
            chosen = 0
        if arm.sweep or chosen is not None:
            for index, attempt in enumerate(tries):
                if arm.sweep or index == chosen:
                    yield from self._with_teachers(arm, attempt, self.seeds(arm))

    def _with_teachers(self, arm: Arm, attempt: Try, seeds: tuple[int, ...]) -> Iterator[AnySpec]:
        if arm.teacher is not None:
            yield from self._with_teachers(arm.teacher, arm.teacher.tries[0], seeds)
        for seed in seeds:
            yield self.spec(arm, attempt, seed)

    def choice(self, arm: Arm, found: Found) -> int | None:
        """Return the number of the chosen try; None where its runs are not all there."""
        tries = arm.offered(self.budget)
        if len(tries) == 1:
            return 0
        merits = []
        for attempt in tries:
            ids = [self.spec(arm, attempt, seed).run_id for seed in self.budget.tuning_seeds]
            if not all(name in found for name in ids):
                return None
            merits.append(_merit([found[name] for name in ids], arm.by))
        return max(range(len(merits)), key=merits.__getitem__)


def _merit(records: list[RunRecord], by: str) -> tuple[float, float]:
    last = [record.history[-1] for record in records]
    likelihood = -sum(epoch.validation_nll for epoch in last) / len(last)
    if by == "nll":
        return likelihood, 0.0
    return sum(epoch.validation_accuracy for epoch in last) / len(last), likelihood
