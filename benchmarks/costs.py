"""The tables of the README and of docs/benchmarks.md, made of `records/benchmarks`."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "records" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"

# Of fewer a multiple would be one of the pages that memory comes in.
LEAST_LOGITS = 250_000

SHOWN = {
    "ls": "LS",
    "ls-reuse": "LS, logits reused",
    "ls-compiled-reuse": "LS, compiled, logits reused",
    "ols-right": "OLS, statistics included",
}
SHOWN_LINEAR = {"ls": "LS", "prior": "a prior", "ols-top-k": "OLS, top-k rows"}


def read(name: str) -> dict[str, Any]:
    """Return a record of the project."""
    record: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text())
    return record


def size(problem: dict[str, Any]) -> str:
    """Return a problem's shape in words."""
    sizes = (problem["rows"], problem["width"], problem["classes"])
    return " x ".join(f"{size:,}" for size in sizes if size is not None)


def summary() -> str:
    """Return the README's table: some cases of the recorded suites."""
    machine = read("cross-entropy")["machine"]
    threads = f"{machine['threads']} thread" + ("" if machine["threads"] == 1 else "s")
    lines = [
        f"On {threads} of {machine['processor']}, load {machine['load'][0]} before the run:",
        "",
        "| case | time, share of torch's | memory beyond the inputs |",
        "|---|---:|---:|",
    ]
    for result in read("cross-entropy")["results"]:
        for name, title in SHOWN.items():
            if name in result["cases"]:
                lines.append(_summary_row(result, name, title))
    for result in read("linear")["results"]:
        for name, title in SHOWN_LINEAR.items():
            if name not in result["cases"]:
                continue
            lines.append(_summary_row(result, name, f"`linear_cross_entropy`, {title}"))
    return "\n".join(lines) + "\n"


def _summary_row(result: dict[str, Any], name: str, title: str) -> str:
    case, torch = result["cases"][name], result["cases"]["torch"]
    memory = ""
    if case["memory"] and torch["memory"]:
        found, theirs = case["memory"]["megabytes"], torch["memory"]["megabytes"]
        memory = f"{found:,.0f} MB (torch: {theirs:,.0f} MB)" if theirs >= 1 else ""
    share = case["to_torch"]["median"]
    return f"| {title}, {size(result['problem'])} | {share:.2f} | {memory} |"


def full_tables(name: str) -> str:
    """Return all results of a record, with its command and machine."""
    record = read(name)
    machine, blocks = record["machine"], []
    blocks.append(
        f"`{record['command']}` on {machine['processor']}, {machine['processors']} processors, "
        f"{machine['threads']} used, torch {machine['torch']}; load before the run "
        f"{machine['load'][0]}; "
        f"{record['rounds']} rounds."
    )
    for result in record["results"]:
        problem = result["problem"]
        heading = f"{size(problem)}, {problem['dtype']} on {problem['device']}"
        blocks.append(f"**{heading}**\n\n" + "\n".join(_rows(result)))
        for kind in ("failed", "skipped"):
            reasons = [f"`{case}`: {why}" for case, why in result[kind].items()]
            if reasons:
                blocks.append(f"{kind.capitalize()}: {'; '.join(reasons)}.")
    return "\n\n".join(blocks) + "\n"


def _rows(result: dict[str, Any]) -> list[str]:
    lines = [
        "| case | ms | x torch | range | x copy | extra MB | x logits |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    large = result["problem"]["rows"] * result["problem"]["classes"] >= LEAST_LOGITS
    for case in result["cases"].values():
        ratio, copies, memory = case["to_torch"], case["to_copy"], case["memory"]
        cells = [
            case["title"],
            f"{case['milliseconds']['median']:.3g}",
            f"{ratio['median']:.2f}" if ratio else "",
            f"{ratio['min']:.2f} to {ratio['max']:.2f}" if ratio else "",
            f"{copies['median']:.2f}" if copies else "",
            f"{memory['megabytes']:,.1f}" if memory else "",
            f"{memory['logits']:.2f}" if memory and large else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def growth_table() -> str:
    """Return how the cost of each case grows with rows and with classes."""
    record = read("growth")
    names = list(record["growth"]["rows"])
    titles = {name: case["title"] for r in record["results"] for name, case in r["cases"].items()}
    lines = ["| case | e of rows^e | e of classes^e |", "|---|---:|---:|"]
    for name in names:
        rows, classes = (record["growth"][varying][name] for varying in ("rows", "classes"))
        lines.append(f"| {titles[name]} | {rows:.2f} | {classes:.2f} |")
    return f"`{record['command']}`\n\n" + "\n".join(lines) + "\n"


# What stands between a pair of marks of docs/benchmarks.md.
BLOCKS = {
    "cross-entropy": lambda: full_tables("cross-entropy"),
    "linear": lambda: full_tables("linear"),
    "growth": growth_table,
}
