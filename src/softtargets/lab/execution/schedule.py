"""Which run is computed when: teachers first, each once, also when several processes do so."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from softtargets.lab.errors import LabError
from softtargets.lab.execution import locks
from softtargets.lab.execution.events import Advanced, Event, Failed, Finished, Lost
from softtargets.lab.execution.place import Place
from softtargets.lab.execution.pool import AbstractPool, Key, Work, key_of, key_of_data
from softtargets.lab.execution.progress import Progress
from softtargets.lab.kinds import AnyData, AnySpec, folder_of, kind_of
from softtargets.lab.records import Environment, StoredRun, environment
from softtargets.lab.sealing import AnyRecord

RETRIES = 3
_POLL = 0.2  # seconds after which to look again at runs that another process computes


def compute(
    specs: Sequence[AnySpec],
    sources: Iterable[AnyData | str],
    root: Path,
    *,
    on: str = "inline",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compute what is missing of a study and return all of its records.

    Any number of processes may compute the same study in the same folder. Each run is computed by
    one of them; the others wait for it, and take over the runs of one that died.

    Args:
        specs: of the runs; a teacher is among them, or its run is in the folder.
        sources: data sets of the specs, or words that the first spec's kind loads them by.
        root: folder that keeps the runs; made if it is not there.
        on: "inline", "processes:N", "ray" for a Ray of its own (or the one that this process or
            the variable RAY_ADDRESS is connected to), or "ray://HOST:PORT". Records are the same
            wherever they come from.
        progress: who wants to know.

    Returns:
        Records by run_id, in the order of the specs; of `RunSpec` they are `RunRecord`.

    Raises:
        LabError: a corrupt earlier run, a folder that cannot be written, a run that diverges or
            whose worker died four times, no Ray at the address, a data set or a teacher that is
            missing. Earlier runs, finished or not, are checked before anything is computed, and
            never overwritten.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from softtargets.lab.compare import Settings, plan
        >>> from softtargets.lab.data import load
        >>> digits = load("digits")
        >>> study = plan(Settings(methods=("hard", "ils"), seeds=1, epochs=1), digits)
        >>> with TemporaryDirectory() as folder:
        ...     records = compute(study, [digits], Path(folder))
        >>> [record.spec.method for record in records.values()]
        ['hard', 'ils']
    """
    progress = progress or Progress()
    place = Place.parse(on)
    data = _by_key(_loaded(source, specs) for source in sources) if specs else {}
    folders = {spec.run_id: folder_of(spec, root) for spec in specs}
    _check_complete(specs, data, folders, root)
    finished = {name: folder.record() for name, folder in folders.items() if folder.done}
    missing = [spec for spec in specs if spec.run_id not in finished]
    for spec in missing:
        kind_of(spec).check_checkpoint(spec, data[key_of(spec)], folders[spec.run_id])
    for name in finished:
        folders[name].sweep()
        locks.sweep(folders[name])
    progress.planned(missing, len(finished))
    others = _other_environments(list(finished.values()))
    if others:
        progress.note(others)
    if missing:
        gpus = any(getattr(spec, "device", None) == "cuda" for spec in missing)
        work = Work(root=root, data=data, threads=torch.get_num_threads(), gpus=gpus)
        pool = place.pool(work, len(missing))
        finished |= _Schedule(missing, folders, progress).carry_out(pool)
    return {name: finished[name] for name in folders}


class _Schedule:
    """The missing runs of a study: waiting, being computed here, or finished."""

    def __init__(
        self,
        missing: list[AnySpec],
        folders: Mapping[str, StoredRun[AnyRecord]],
        progress: Progress,
    ) -> None:
        self._waiting = list({spec.run_id: spec for spec in missing}.values())
        self._folders = folders
        self._progress = progress
        self._running: dict[int, tuple[AnySpec, locks.RunLock]] = {}
        self._finished: dict[str, AnyRecord] = {}
        self._deaths: Counter[str] = Counter()
        self._patient = False

    def carry_out(self, pool: AbstractPool) -> dict[str, AnyRecord]:
        """Compute the runs and return their records by run_id."""
        try:
            if pool.description:
                self._progress.note(pool.description)
            while self._waiting or self._running:
                for worker in range(pool.size):
                    if worker not in self._running and (taken := self._take()):
                        self._running[worker] = taken
                        pool.submit(worker, taken[0])
                if self._running:
                    idle = len(self._running) < pool.size and self._waiting
                    pool.wait(self._handle, _POLL if idle else None)
                elif self._waiting:
                    self._wait_for_others()
        finally:
            pool.close()  # before others may take the runs
            for _, lock in self._running.values():
                lock.release()
        return self._finished

    def _take(self) -> tuple[AnySpec, locks.RunLock] | None:
        """Return the first run that can be computed now; note those that others have finished."""
        names = {spec.run_id for spec in self._waiting}
        names |= {spec.run_id for spec, _ in self._running.values()}
        for spec in list(self._waiting):
            folder = self._folders[spec.run_id]
            if folder.done:
                self._waiting.remove(spec)
                self._arrived(spec, elsewhere=True)
                names.discard(spec.run_id)
            elif spec.teacher not in names and (lock := locks.take(folder)):
                self._waiting.remove(spec)
                if not folder.done:
                    folder.sweep()
                    return spec, lock
                lock.release()
                self._arrived(spec, elsewhere=True)
                names.discard(spec.run_id)
        return None

    def _handle(self, worker: int, event: Event) -> None:
        spec, lock = self._running[worker]
        if isinstance(event, Advanced):
            self._progress.epoch(spec, event.epochs)
            return
        if isinstance(event, Failed):
            if event.trace is None:
                raise LabError(event.message)
            raise RuntimeError(f"{spec.run_id} failed in a worker:\n{event.trace}")
        del self._running[worker]
        lock.release()
        if isinstance(event, Finished):
            self._arrived(spec, elsewhere=False)
        else:
            self._again(spec, event)

    def _again(self, spec: AnySpec, lost: Lost) -> None:
        self._deaths[spec.run_id] += 1
        deaths = self._deaths[spec.run_id]
        if deaths > RETRIES:
            raise LabError(
                f"{spec.run_id} cannot be computed: its worker died {deaths} times, at last it "
                f"{lost.why}; its checkpoint is kept; give it more memory or fewer workers"
            )
        self._waiting.insert(0, spec)
        self._progress.note(
            f"the worker of {spec.run_id} {lost.why}; the run goes on from its last checkpoint, "
            f"retry {deaths} of {RETRIES}"
        )

    def _arrived(self, spec: AnySpec, *, elsewhere: bool) -> None:
        self._finished[spec.run_id] = self._folders[spec.run_id].record()
        self._progress.finished(spec, elsewhere)

    def _wait_for_others(self) -> None:
        if not self._patient:
            self._patient = True
            first, *others = (spec.run_id for spec in self._waiting)
            more = f" and {len(others)} more" if others else ""
            self._progress.note(f"waiting for another process, which computes {first}{more}")
        time.sleep(_POLL)


def _loaded(source: AnyData | str, specs: Sequence[AnySpec]) -> AnyData:
    if not isinstance(source, str):
        return source
    found: AnyData = kind_of(specs[0]).load(source)
    return found


def _by_key(data: Iterable[AnyData]) -> dict[Key, AnyData]:
    found: dict[Key, AnyData] = {}
    for each in data:
        found[key_of_data(each)] = each
        found.setdefault((each.digest, None), each)  # specs may leave its noisy labels alone
    return found


def _check_complete(
    specs: Sequence[AnySpec],
    data: Mapping[Key, AnyData],
    folders: Mapping[str, StoredRun[AnyRecord]],
    root: Path,
) -> None:
    """Raise unless all that the runs need is there."""
    for spec in specs:
        if key_of(spec) not in data:
            raise LabError(
                f"{spec.run_id} is of data with the hash {spec.data_hash} (once {spec.data!r}), "
                "which was not given; name the data set it was planned for"
            )
        teacher = spec.teacher
        if teacher is None or teacher in folders:
            continue
        if not StoredRun(root, teacher, kind_of(spec).record).done:
            raise LabError(
                f"the teacher of {spec.run_id}, {teacher}, is neither planned nor finished; "
                "put it among the specs"
            )


def _other_environments(records: list[AnyRecord]) -> str:
    """Say how many runs another version or number of threads has computed; "" for none."""

    def described(each: Environment) -> str:
        return f"softtargets {each.softtargets}, torch {each.torch}, threads: {each.threads}"

    now = described(environment())
    found = [described(record.environment) for record in records]
    others = [each for each in found if each != now]
    if not others:
        return ""
    return (
        f"{len(others)} earlier runs are from {'; '.join(sorted(set(others)))} (now {now}): their "
        "numbers may differ slightly from new ones; delete them to compute all alike"
    )
