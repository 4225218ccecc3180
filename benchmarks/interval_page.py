"""The tables of docs/calibration-intervals.md, made of records."""

from collections.abc import Iterable
from typing import Any

from benchmarks import readme
from benchmarks.costs import RECORDS, read

PAGE = readme.ROOT / "docs" / "calibration-intervals.md"

_METHODS = ("inversion", "percentile", "basic")


def page(text: str) -> str:
    """Return the page with the tables of the records there are."""
    if (RECORDS / "interval_coverage.json").exists():
        text = readme.filled(text, "coverage", coverage(read("interval_coverage")))
    if (RECORDS / "interval_costs.json").exists():
        text = readme.filled(text, "costs", costs(read("interval_costs")))
    return text


def coverage(content: dict[str, Any]) -> str:
    """Return the tables of the simulation."""
    machine, settings, results = content["machine"], content["settings"], content["results"]
    draws = f"{settings['draws']:,} draws ({settings['draws of whole reports']} for whole reports)"
    lines = [
        f"`{content['command']}`, {draws}, 1 thread of {machine['processor']}, torch "
        f"{machine['torch']}:",
        "",
        "| error | model | classes | samples | data sets | truth | inversion | percentile | basic "
        "|",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind, title in (("top_label", "ECE"), ("class_wise", "class-wise ECE")):
        for row in results.get(kind, []):
            shares = (f"{_percent(row['methods'][name]['coverage'])}" for name in _METHODS)
            lines.append(f"| {title} | {_case(row)} | {row['population']:.4f} | {_cells(shares)} |")
    if "images" in results:
        lines += [
            "",
            f"Images of {settings['pixels']} pixels that share half of their luck, ECE:",
            "",
            "| model | classes | images | data sets | whole images | pixels as if independent |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for row in results["images"]:
            shares = (_percent(each["coverage"]) for each in row["methods"].values())
            lines.append(f"| {_case(row)} | {_cells(shares)} |")
    for kind, title in (
        ("numbers", "Numbers of `evaluate`"),
        ("labels", "Numbers of `evaluate_multilabel`"),
    ):
        if kind in results:
            lines += ["", f"{title}:", "", *_by_number(results[kind])]
    if "pairs" in results:
        lines += ["", "Differences by `compare_calibration`, and how often one was called:", ""]
        lines += _by_number(results["pairs"], called=True)
    return "\n".join(lines) + "\n"


def costs(content: dict[str, Any]) -> str:
    """Return the table of times."""
    machine = content["machine"]
    load = f"load {machine['load'][0]} before the run"
    lines = [
        f"`{content['command']}`, {machine['threads']} threads of {machine['processor']}, torch "
        f"{machine['torch']}, {load}, {content['draws']:,} draws:",
        "",
        "| call | predictions | median | range | on the processor | memory beyond the inputs |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, result in content["results"].items():
        seconds, shape = result["seconds"], " x ".join(f"{n:,}" for n in result["shape"])
        lines.append(
            f"| {name} | {shape} | {seconds['median']:.2f} s | {seconds['min']:.2f} to "
            f"{seconds['max']:.2f} s | {result['processor seconds']['median']:.2f} s | "
            f"{result['megabytes']:,} MB |"
        )
    return "\n".join(lines) + "\n"


def _case(row: dict[str, Any]) -> str:
    return f"{row['truth']} | {row['classes']} | {row['samples']:,} | {row['repetitions']:,}"


def _by_number(rows: list[dict[str, Any]], *, called: bool = False) -> list[str]:
    """One line for each number, one column for each model."""
    names = [name for name, cell in rows[0].items() if isinstance(cell, dict)]
    lines = [
        "| | " + _cells(f"{row['truth']} ({row['repetitions']} data sets)" for row in rows) + " |",
        "|---|" + "---:|" * len(rows),
    ]
    for name in names:
        cells = []
        for row in rows:
            cell = _percent(row[name]["coverage"])
            if called:
                cell += f", called {_percent(row[name]['called different'])}"
            cells.append(cell)
        lines.append(f"| {name.replace('_', ' ')} | {_cells(cells)} |")
    return lines


def _cells(texts: Iterable[str]) -> str:
    return " | ".join(texts)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
