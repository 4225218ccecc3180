"""Results as plain text for a terminal."""

from collections.abc import Sequence

from softtargets.bench import growth
from softtargets.bench.measure import Spread
from softtargets.bench.results import Measured, Result

EXPLANATION = """\
x torch: time over torch's in the same round, with its range; below 1 is faster. x copy: time over
that of one copy of the logits into existing memory, the floor: a loss with its gradient moves at
least one and a half times as much; bandwidth: how near it comes to that. extra: peak memory beyond
the inputs, in a process of its own."""

# Of smaller logits a multiple would be one of the pages that memory comes in.
LEAST_BYTES = 1_000_000


def load_note(load: Sequence[float] | None, processors: int | None) -> str:
    """Return a warning where other programs kept the processors busy before the run, or nothing.

    Args:
        load: the system's load averages, the latest first.
        processors: how many there are.
    """
    if not load or load[0] < 0.5 * (processors or 1):
        return ""
    return (
        f"Note: load {load[0]:.1f} on {_count(processors or 1, 'processor')} before the run. Other "
        "programs spoil times,\nof several threads above all; wait, or use --threads 1."
    )


def result_table(result: Result) -> str:
    """Return a problem's results, and why cases have none."""
    problem = result.problem
    size = problem.logits_bytes / 1e6
    threads = _count(result.threads, "thread")
    where = f"{problem.dtype} on {problem.device}, {threads}"
    lines = [f"{problem.title}, {where}, {size:,.1f} MB of logits"]
    if result.cases:
        large = problem.logits_bytes >= LEAST_BYTES
        rows = [_row(case, large) for case in result.cases.values()]
        lines += _aligned([_HEADINGS, *rows])
    lines += [f"FAILED {name}: {why}" for name, why in result.failed.items()]
    lines += [f"no memory of {name}: {why}" for name, why in result.unmeasured.items()]
    reasons: dict[str, list[str]] = {}
    for name, why in result.skipped.items():
        reasons.setdefault(why, []).append(name)
    lines += [f"skipped {', '.join(names)}: {why}" for why, names in reasons.items()]
    return "\n".join(lines)


_HEADINGS = ["case", "ms", "x torch", "range", "x copy", "bandwidth", "extra MB", "x logits"]


def _row(case: Measured, large: bool) -> list[str]:
    memory = case.memory
    return [
        case.title,
        _number(case.milliseconds.median),
        *_ratio(case.to_torch),
        "" if case.to_copy is None else f"{case.to_copy.median:.2f}",
        "" if case.bandwidth is None else f"{100 * case.bandwidth:.0f} %",
        "" if memory is None else f"{memory.megabytes:,.1f}",
        f"{memory.logits:.2f}" if memory is not None and large else "",
    ]


def _ratio(ratio: Spread | None) -> tuple[str, str]:
    if ratio is None:
        return "", ""
    return f"{ratio.median:.2f}", f"{ratio.min:.2f}-{ratio.max:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def growth_table(results: Sequence[Result]) -> str:
    """Return the cost of an entry of the logits along each sweep, and how it grows."""
    exponents, lines = growth.exponents(results), []
    for varying, sweep in growth.sweeps(results).items():
        fixed = "classes" if varying == "rows" else "rows"
        lines.append(f"nanoseconds per logit, {getattr(sweep[0].problem, fixed):,} {fixed}")
        rows = [[varying, *(f"{getattr(r.problem, varying):,}" for r in sweep), "time grows as"]]
        for name, case in sweep[0].cases.items():
            cells = [_per_logit(r, name) for r in sweep]
            exponent = exponents.get(varying, {}).get(name)
            power = "" if exponent is None else f"{varying}^{exponent:.2f}"
            rows.append([case.title, *cells, power])
        lines += [*_aligned(rows), ""]
    return "\n".join(lines).rstrip()


def _per_logit(result: Result, name: str) -> str:
    if name not in result.cases:
        return ""
    entries = result.problem.rows * result.problem.classes
    return f"{result.cases[name].milliseconds.median * 1e6 / entries:.2f}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of text, the first to the left, the others to the right, empty ones left out."""
    kept = [i for i, _ in enumerate(rows[0]) if any(row[i] for row in rows[1:])]
    rows = [[row[i] for i in kept] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(kept))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
