"""Progress of claims: a bar on a terminal, plain lines elsewhere; and what they would take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from softtargets.claims.record import ClaimsRecord, read
from softtargets.claims.running import Estimate
from softtargets.claims.running import Progress as Told
from softtargets.lab.errors import LabError
from softtargets.lab.kinds import AnySpec
from softtargets.report.notation import listed

_EVERY = 25  # runs from one plain line to the next


@contextmanager
def shown(console: Console) -> Iterator[Told]:
    """Yield the callbacks that show how far claims are.

    Args:
        console: where to draw.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("runs", total=None)
        counts = {"done": 0, "all": 0}

        def planned(missing: int, there: int) -> None:
            counts.update(done=0, all=missing)
            console.print(f"{missing} runs to compute, {there} already there", highlight=False)
            bars.reset(bar, total=missing)

        def finished(spec: AnySpec) -> None:
            counts["done"] += 1
            bars.update(bar, completed=counts["done"], description=spec.method)
            done, last = counts["done"], counts["done"] == counts["all"]
            if not console.is_terminal and (last or done % _EVERY == 0):
                console.print(f"{done} of {counts['all']} runs", highlight=False)

        def measuring(name: str) -> None:
            bars.update(bar, description=f"measuring {name}")

        def note(text: str) -> None:
            console.print(f"Note: {text}", soft_wrap=True, highlight=False)

        yield Told(planned=planned, finished=finished, measuring=measuring, note=note)


def plan_lines(estimate: Estimate) -> list[str]:
    """Return what claims would take, as lines.

    Args:
        estimate: their runs.
    """
    lines = [f"{count:>6} runs  {name}" for name, count in estimate.by_claim.items()]
    lines += [f"    skipped  {name}: {why}" for name, why in estimate.skipped.items()]
    missing = estimate.runs - estimate.there
    lines.append(
        f"{estimate.runs:>6} runs in all, as claims share them; {estimate.there} are there, "
        f"{missing} to compute, {estimate.steps:,} steps"
    )
    if estimate.minutes is not None:
        lines.append(
            f"about {estimate.minutes:.0f} minutes at the speed of the runs that are there"
        )
    if estimate.unmeasured:
        lines.append(
            f"no estimate of minutes: no run in {listed(estimate.unmeasured)} is there yet, whose "
            "speed would tell; start without --plan, interrupt with Ctrl-C after some runs, which "
            "are kept, and ask again"
        )
    return lines


def replaced_lines(path: Path, record: ClaimsRecord) -> list[str]:
    """Return in words which earlier verdicts a record takes the place of without having them.

    Args:
        path: of the earlier record, if there is one.
        record: to be written there.
    """
    try:
        earlier = read(path)
    except LabError:
        return []
    judged = {claim.name for claim in record.claims if claim.skipped is None}
    lost = [claim.name for claim in earlier.claims if claim.skipped is None]
    lost = [name for name in lost if name not in judged]
    if not lost:
        return []
    return [
        f"{path} had verdicts of {listed(lost)} too, which this command did not reach; name all "
        "that the page is to show, finished runs are not computed again"
    ]
