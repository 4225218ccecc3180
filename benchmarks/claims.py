"""Takes the claims of a finished run into the project: the record, the pictures and the page.

softtargets claims all --budget cpu --data-root DATA --out runs/claims
python -m benchmarks.claims runs/claims

takes all of them; with names, claims or papers, those alone, and the others stay as they are:

softtargets claims heinonen --budget cpu --data-root DATA --out runs/claims
python -m benchmarks.claims runs/claims heinonen --data-root DATA

The folder must hold the runs of the others too, as runs are shared and counted once; so go on in
the folder, or in a copy of it, that the record came from. Without a folder only the page and the
pictures are written again.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.readme import filled
from softtargets.claims.budgets import BY_NAME, BudgetName
from softtargets.claims.record import FILE, ClaimsRecord, read, write
from softtargets.claims.registry import CLAIMS, named
from softtargets.claims.running import Bench
from softtargets.lab.errors import LabError
from softtargets.lab.sealing import AnyRecord
from softtargets.report.claims.figures import write_figures
from softtargets.report.claims.markdown import sections, table

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "records" / "claims" / "cpu.json"
PAGE = ROOT / "docs" / "results.md"
PICTURES = ROOT / "docs" / "assets" / "claims"


def page(text: str, record: ClaimsRecord) -> str:
    """Put the table and the sections of a record into the page."""
    text = filled(text, "table", f"\n{table(record)}\n")
    return filled(text, "sections", f"\n{sections(record, 'assets/claims')}\n")


def merged(
    old: ClaimsRecord, new: ClaimsRecord, names: Sequence[str], used: Sequence[AnyRecord]
) -> ClaimsRecord:
    """Return the old record with some claims of the new one, in the order of the registry.

    Args:
        old: of all claims so far.
        new: of the same budget, with at least the claims to take.
        names: of these claims.
        used: the runs of all claims of the result.

    Raises:
        LabError: the records are of different budgets, or the new one lacks a claim.
    """
    terms = [(each.budget, each.seeds, each.tuning_seeds) for each in (old, new)]
    taken = {claim.name: claim for claim in new.claims if claim.name in names}
    if terms[0] != terms[1] or len(taken) < len(names):
        raise LabError("the new record is of another budget or lacks a claim; run these claims")
    every = {claim.name: claim for claim in old.claims} | taken
    return msgspec.structs.replace(
        old,
        claims=[every[name] for name in CLAIMS if name in every],
        runs=len(used),
        training_seconds=round(sum(run.seconds for run in used), 1),
        environments=sorted({*old.environments, *new.environments}),
    )


def _taken(folder: Path, names: tuple[str, ...], data_root: Path | None) -> ClaimsRecord:
    old, new = read(RECORD), read(folder / FILE)
    chosen = [claim.name for claim in named(names)]
    there = {claim.name for claim in (*old.claims, *new.claims) if claim.skipped is None}
    judged = [claim for name, claim in CLAIMS.items() if name in there]
    budget: BudgetName = old.budget  # type: ignore[assignment]
    used = Bench(judged, BY_NAME[budget], folder, data_root).used()
    return merged(old, new, chosen, used)


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy or merge the record and rewrite what is made of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args(arguments)
    if given.names:
        write(_taken(given.folder, tuple(given.names), given.data_root), RECORD)
    elif given.folder:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given.folder / FILE, RECORD)
    record = read(RECORD)
    for path in PICTURES.glob("*.svg"):
        path.unlink()
    write_figures(record, PICTURES)
    PAGE.write_text(page(PAGE.read_text(), record))


if __name__ == "__main__":
    main()
