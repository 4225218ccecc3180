"""`softtargets bench`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from softtargets.cli.parameters import Count, Names

if TYPE_CHECKING:
    from softtargets.bench.settings import Plan


def bench(
    suite: str = "quick",
    /,
    *,
    shape: Names | None = None,
    cases: Names | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    device: Literal["cpu", "cuda"] = "cpu",
    threads: Count | None = None,
    rounds: Count | None = None,
    memory: bool = True,
    record: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure what losses cost, forward and backward, beside torch's and a copy of the logits.

    Before a case is timed, its loss and gradient are compared with the dense formula in float64;
    one that is wrong is not timed, and the exit status is 1. Times are medians of rounds in which
    every case runs once; memory is measured in a process of its own for each case.

    Args:
        suite: "quick", "cross-entropy" (everything), "linear" (the output layer fused with the
            loss), or "growth" (how cost grows with rows and classes).
        shape: rows x classes such as 1024x32000, or several; for "linear" rows x width x classes.
        cases: names separated by commas or spaces; an unknown one lists them all.
        dtype: of the logits.
        device: where they are.
        threads: threads torch computes with; torch's own choice if not given.
        rounds: how often each case is timed.
        memory: whether to measure it; takes a fresh process for each case.
        record: folder for the record, SUITE.json, with the machine and the command.
        json: print the record instead of tables.
    """
    from softtargets.bench import record as records
    from softtargets.bench.settings import Settings, plan

    asked = plan(
        Settings(
            suite=suite.lower(),
            shapes=_words(shape),
            cases=_words(cases),
            dtype=dtype,
            device=device,
            threads=threads,
            rounds=rounds,
            memory=memory,
        )
    )
    if record is not None:
        records.prepare(record)
    content = _run(asked, tables=not json)
    if json:
        print(records.as_text(content))
    if record is not None:
        path = records.write(record, records.file_name(asked.settings), content)
        print(f"Record: {path}", file=sys.stderr if json else sys.stdout)
    return 1 if any(result["failed"] for result in content["results"]) else 0


def _words(given: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(",".join(given or ()).lower().replace(",", " ").split())


def _run(asked: "Plan", *, tables: bool) -> dict[str, Any]:
    """Run it, show tables as they come if asked to, and return the record."""
    from softtargets.bench import record as records
    from softtargets.bench import table
    from softtargets.bench.run import run

    where = records.machine(asked.settings.device)
    results = []
    for result in run(asked, _progress):
        results.append(result)
        _progress("")
        if tables:
            print(table.result_table(result), end="\n\n", flush=True)
    if tables:
        grown = table.growth_table(results) if asked.settings.suite == "growth" else ""
        note = table.load_note(where["load"], where["processors"])
        parts = [f"{grown}\n" if grown else "", table.EXPLANATION, note]
        print(*filter(None, parts), sep="\n")
    return records.content(asked, results, where)


def _progress(line: str) -> None:
    """Show what is going on, in one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
