"""Runs claims: what their runs take, computed once for all of them, and what they show."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from softtargets.claims import record as records
from softtargets.claims.arms import Planner
from softtargets.claims.budgets import Budget
from softtargets.claims.claim import Claim, Results, Test
from softtargets.claims.intervals import Paired
from softtargets.claims.record import ClaimRecord, ClaimsRecord, EffectRecord, QuotedRecord, finite
from softtargets.claims.rule import Verdict, combined
from softtargets.claims.sources import MissingDataError, Sources
from softtargets.lab import execution
from softtargets.lab.errors import LabError
from softtargets.lab.execution.place import Place
from softtargets.lab.execution.pool import key_of
from softtargets.lab.kinds import AnySpec, folder_of, kind_of
from softtargets.lab.output import prepare
from softtargets.lab.sealing import AnyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a caller is told; every call may be ignored.

    Attributes:
        planned: how many runs are to be computed now, and how many are there.
        finished: a run that was computed.
        measuring: a claim whose runs are all there.
        note: a sentence about runs or workers.
    """

    planned: Callable[[int, int], None] = lambda missing, there: None
    finished: Callable[[AnySpec], None] = lambda spec: None
    measuring: Callable[[str], None] = lambda name: None
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What claims would take.

    Attributes:
        runs: of all claims, each counted once.
        there: how many of them are done.
        steps: of training, of those that are not.
        minutes: these would take at the speed of those that are there; None where a kind of them
            is unmeasured.
        unmeasured: kinds of runs to compute of which none is there, so nothing tells their speed.
        by_claim: runs of each claim, counting those it shares.
        skipped: why a claim cannot be run, by name.
    """

    runs: int
    there: int
    steps: int
    minutes: float | None
    unmeasured: list[str]
    by_claim: dict[str, int]
    skipped: dict[str, str]


class Bench:
    """Claims, one budget and one folder.

    Args:
        claims: which.
        budget: what may be spent on each.
        output: folder for the runs and the record.
        data_root: folder of the data that are not bundled, or None.
        on: where runs are computed, see `softtargets.lab.execution.compute`.

    Raises:
        LabError: a folder is not there or cannot be written, or `on` is no place.
    """

    def __init__(
        self,
        claims: list[Claim],
        budget: Budget,
        output: Path,
        data_root: Path | None,
        *,
        on: str = "inline",
    ) -> None:
        Place.parse(on)
        if data_root is not None and not data_root.is_dir():
            raise LabError(
                f"--data-root {data_root} is no folder; leave it out for bundled data alone"
            )
        self._claims, self._budget, self._on = claims, budget, on
        self._output = output
        self._root = prepare(output)
        self._planner = Planner(budget=budget, sources=Sources(data_root, output))
        self._found: dict[str, AnyRecord] = {}
        self._skipped: dict[str, str] = {}

    def estimate(self) -> Estimate:
        """Count the runs, taking the first setting where none is chosen yet."""
        counts: dict[str, int] = {}
        every: dict[str, AnySpec] = {}
        for claim in self._claims:
            specs = self._specs(claim, assume=True)
            if claim.name not in self._skipped:
                counts[claim.name] = len(specs)
                every.update((spec.run_id, spec) for spec in specs)
        done = {name: spec for name, spec in every.items() if folder_of(spec, self._root).done}
        missing = {name: spec for name, spec in every.items() if name not in done}
        unmeasured = {spec.kind for spec in missing.values()} - {
            spec.kind for spec in done.values()
        }
        return Estimate(
            runs=len(every),
            there=len(done),
            steps=sum(map(self._steps, missing.values())),
            minutes=(
                self._minutes(list(done.values()), list(missing.values()))
                if every and not unmeasured
                else None
            ),
            unmeasured=sorted(unmeasured),
            by_claim=counts,
            skipped=dict(self._skipped),
        )

    def _minutes(self, done: list[AnySpec], missing: list[AnySpec]) -> float:
        """What the missing runs would take at the speed of those of their kind that are there."""
        minutes = 0.0
        for kind in {spec.kind for spec in missing}:
            there = [spec for spec in done if spec.kind == kind]
            seconds = sum(folder_of(spec, self._root).record().seconds for spec in there)
            steps = sum(self._steps(spec) for spec in missing if spec.kind == kind)
            minutes += seconds / sum(map(self._steps, there)) * steps / 60
        return minutes

    def _steps(self, spec: AnySpec) -> int:
        return kind_of(spec).steps(spec, self._planner.sources.of(spec))

    def run(self, progress: Progress | None = None) -> ClaimsRecord:
        """Compute what is missing, judge the claims and return the record.

        Args:
            progress: who wants to know.

        Raises:
            LabError: data or an earlier run cannot be read, or a run cannot be computed.
        """
        progress = progress or Progress()
        while missing := self._missing():
            progress.planned(len(missing), len(self._found))
            try:
                self._compute(missing, progress)
            except LabError as error:
                self._give_up(missing, str(error))
        judged = [self._judge(claim, progress) for claim in self._claims]
        used = list(self._found.values())
        return ClaimsRecord(
            format=records.FORMAT,
            budget=self._budget.name,
            seeds=list(self._budget.seeds),
            tuning_seeds=list(self._budget.tuning_seeds),
            runs=len(used),
            training_seconds=round(sum(record.seconds for record in used), 1),
            environments=sorted(
                {msgspec.json.encode(record.environment).decode() for record in used}
            ),
            claims=judged,
        )

    def used(self) -> list[AnyRecord]:
        """Return all runs of the claims, which are finished; nothing is computed.

        Raises:
            LabError: one of them is not there, or the data of a claim are not.
        """
        if missing := self._missing():
            raise LabError(
                f"{self._output} lacks {len(missing)} runs, as {missing[0].run_id}; run all of "
                "these claims in it"
            )
        for name, why in self._skipped.items():
            raise LabError(f"the runs of {name} are not known: {why}")
        return list(self._found.values())

    def _specs(self, claim: Claim, *, assume: bool = False) -> list[AnySpec]:
        """The specs of a claim as far as they are known; none where it is skipped."""
        if claim.name in self._skipped:
            return []
        if self._budget.name not in claim.budgets:
            self._skipped[claim.name] = (
                f"it has no {self._budget.name} budget, only {', '.join(claim.budgets)}"
            )
            return []
        try:
            return claim.specs(self._planner, self._found, assume=assume)
        except MissingDataError as error:
            self._skipped[claim.name] = str(error)
            return []

    def _missing(self) -> list[AnySpec]:
        specs = {spec.run_id: spec for claim in self._claims for spec in self._specs(claim)}
        for name in specs:
            folder = folder_of(specs[name], self._root)
            if name not in self._found and folder.done:
                self._found[name] = folder.record()
        more = {spec.run_id: spec for claim in self._claims for spec in self._specs(claim)}
        if len(more) > len(specs):  # what was read has chosen settings
            return self._missing()
        return [spec for name, spec in specs.items() if name not in self._found]

    def _compute(self, specs: list[AnySpec], progress: Progress) -> None:
        data = {key_of(spec): self._planner.sources.of(spec) for spec in specs}
        told = execution.Progress(
            finished=lambda spec, elsewhere: progress.finished(spec), note=progress.note
        )
        self._found |= execution.compute(
            specs, data.values(), self._root, on=self._on, progress=told
        )

    def _give_up(self, specs: list[AnySpec], why: str) -> None:
        """Skip the claims that need a run which diverged; raise where it was something else."""
        failed = {spec.run_id for spec in specs if why.startswith(f"{spec.run_id} diverged")}
        if not failed:
            raise LabError(why)
        for claim in self._claims:
            if failed & {spec.run_id for spec in self._specs(claim)}:
                self._skipped[claim.name] = why

    def _judge(self, claim: Claim, progress: Progress) -> ClaimRecord:
        figures = [
            QuotedRecord(
                setting=each.setting,
                measure=each.measure,
                values=dict(each.values),
                origin=each.origin,
            )
            for each in claim.figures
        ]
        about = {
            "name": claim.name,
            "paper": claim.paper,
            "statement": claim.statement,
            "figures": figures,
        }
        if claim.name in self._skipped:
            return ClaimRecord(**about, skipped=self._skipped[claim.name])  # type: ignore[arg-type]
        progress.measuring(claim.name)
        results = Results(
            arms={arm.name: arm for arm in claim.arms},
            planner=self._planner,
            found=self._found,
            root=self._root,
            cache=self._output / "synthetic",
        )
        measured = claim.measure(results)
        for name, effect in measured.effects.items():
            if not effect.values.isfinite().all():
                why = f"its effect {name!r} is not a finite number for every seed"
                return ClaimRecord(**about, skipped=why)  # type: ignore[arg-type]
        effects = [effect_record(test, measured.effects[test.name]) for test in claim.tests]
        return ClaimRecord(
            **about,  # type: ignore[arg-type]
            verdict=str(_verdict(effects)),
            effects=effects,
            chosen={
                arm.name: str(results.chosen(arm.name)) for arm in claim.arms if len(arm.tries) > 1
            },
            runs=len(claim.specs(self._planner, self._found)),
            panels=list(measured.panels),
        )


def effect_record(test: Test, effect: Paired) -> EffectRecord:
    """Judge one effect by its test.

    Args:
        test: the rule, written before the runs.
        effect: what was measured.
    """
    interval = effect.interval()
    return EffectRecord(
        name=test.name,
        says=test.says,
        condition=test.condition,
        unit=test.unit,
        scale=test.scale,
        above=finite(test.rule.above),
        below=finite(test.rule.below),
        seeds_needed=test.rule.seeds,
        values=effect.values.tolist(),
        value=interval.value,
        low=finite(interval.low),
        high=finite(interval.high),
        verdict=str(test.rule.verdict(interval, seeds=len(effect.values))),
    )


def _verdict(effects: list[EffectRecord]) -> Verdict:
    def those(condition: bool) -> list[Verdict]:
        return [Verdict(each.verdict) for each in effects if each.condition is condition]

    return combined(those(False), those(True))
