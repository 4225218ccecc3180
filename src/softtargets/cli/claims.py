"""`softtargets claims`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from softtargets.cli.parameters import Count, Names

if TYPE_CHECKING:
    from softtargets.claims.claim import Claim


def claims(
    names: Annotated[Names, Parameter(consume_multiple=True)] = (),
    /,
    *,
    budget: Literal["smoke", "cpu", "full"] = "cpu",
    data_root: Path | None = None,
    out: Annotated[Path, Parameter(name="--out")] = Path("runs/claims"),
    on: Annotated[str, Parameter(name="--on")] = "inline",
    plan: Annotated[bool, Parameter(negative=())] = False,
    threads: Count = 1,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Run the papers' claims as tests: an effect, its interval over paired seeds, a verdict.

    Without names, lists the claims. Every claim has a rule that was written before any run: a range
    for the effect. It is supported if the whole 95 % interval is inside, refuted if it is outside,
    else undecided. Methods are compared at settings chosen from equally many, by other seeds.

    Writes OUT/claims.json, OUT/claims.html and a picture of each claim. Runs are shared between
    claims and kept in OUT; the same command goes on where it was interrupted.

    Args:
        names: of claims, as mueller.calibration; of papers, as mueller; or all.
        budget: smoke (seconds, decides nothing), cpu (minutes), full (as in the papers, for a GPU).
        data_root: folder with the data that are not bundled; claims that need others are skipped.
        out: folder for the runs, the record and the pictures.
        on: where runs are computed: inline, processes:N, ray or ray://HOST:PORT.
        plan: say how many runs it would take, and stop.
        threads: threads torch computes with.
        json: print the record, as it is in OUT/claims.json, instead of tables; with --plan the
            plan, without names the list.
    """
    from softtargets.claims.budgets import BY_NAME
    from softtargets.claims.record import FILE, write
    from softtargets.claims.registry import named
    from softtargets.claims.running import Bench
    from softtargets.cli.claims_progress import plan_lines, replaced_lines, shown
    from softtargets.cli.outcome import console_of_width, show_claims
    from softtargets.lab.compare import use_threads
    from softtargets.report.claims.terminal import list_table

    console = console_of_width(stderr=json)
    if not names:
        every = named(("all",))
        _print(_listed(every)) if json else console.print(list_table(every))
        return
    use_threads(threads)
    wanted = tuple(",".join(names).lower().replace(",", " ").split())
    bench = Bench(named(wanted), BY_NAME[budget], out, data_root, on=on)
    if plan:
        estimate = bench.estimate()
        if json:
            _print(estimate)
            return
        for line in plan_lines(estimate):
            console.print(line, highlight=False)
        return
    with shown(console) as progress:
        record = bench.run(progress)
    for line in replaced_lines(out / FILE, record):
        console.print(line, highlight=False)
    write(record, out / FILE)
    show_claims(record, out, console, tables=not json)
    if json:
        _print(record)


def _listed(claims: "list[Claim]") -> list[dict[str, Any]]:
    names = ("name", "paper", "statement", "figures", "tests", "budgets")
    return [{name: getattr(claim, name) for name in names} for claim in claims]


def _print(content: object) -> None:
    from msgspec import json

    print(json.format(json.encode(content), indent=1).decode())
