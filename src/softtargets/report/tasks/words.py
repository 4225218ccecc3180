"""What the numbers of a task say, in sentences, and what was run."""

from collections.abc import Sequence

from softtargets.lab.summary import Mean, Metric, Row
from softtargets.lab.task_compare import TaskComparison
from softtargets.report.advice import on_bounds
from softtargets.report.facts import duration, environments, temperatures
from softtargets.report.notation import (
    LIKELIHOOD,
    change,
    counted,
    listed,
    noun,
    number,
    opened,
    quantity,
    superlative,
)
from softtargets.report.tasks.view import AbstractTaskView
from softtargets.report.verdict import Board, Verdict, differences, values

_WHEN = {False: "", True: " after temperature scaling"}


def headline(board: Board, glance: Sequence[tuple[Metric, bool]]) -> list[str]:
    """Return the conclusion: a sentence for each of what matters most, one for all unclear.

    Args:
        board: the rows.
        glance: what matters most, the first first.
    """
    first = []
    if board.baseline is None:
        first = [f"Without {board.title(board.reference)} no difference can be told."]
    elif not board.others:
        first = [f"Only {board.title(board.reference)}: there is nothing to compare with."]
    elif not board.testable:
        first = ["One seed cannot tell a better method from a lucky run."]
    if not board.testable:
        return [*first, *(_leader(board, metric, scaled=scaled) for metric, scaled in glance)]
    clear = {asked: _clear(board, asked[0], scaled=asked[1]) for asked in glance}
    told = [sentence for sentence in clear.values() if sentence]
    unclear = [asked for asked, sentence in clear.items() if not sentence]
    if unclear:
        where = listed([noun(metric) + _WHEN[scaled] for metric, scaled in unclear])
        sentence = f"No clear difference to {board.title(board.reference)} in {where}."
        told.insert(0 if unclear[0] == glance[0] else len(told), sentence)
    return told


def _clear(board: Board, metric: Metric, *, scaled: bool) -> str:
    """Return who is clearly better or worse in a metric, "" if nobody is."""
    parts = []
    for verdict in (Verdict.BETTER, Verdict.WORSE):
        rows = board.judged(verdict, metric, scaled=scaled)
        if rows:
            told = listed([_changed(board, row, metric, scaled=scaled) for row in rows])
            parts.append(f"{told} {'is' if len(rows) == 1 else 'are'} {board.worded(verdict)}")
    other = board.title(board.reference)
    if not parts:
        return ""
    rest = board.judged(Verdict.UNCLEAR, metric, scaled=scaled)
    tail = f"; not clearly different: {listed([board.title(row.method) for row in rest])}"
    name = opened(noun(metric)) + _WHEN[scaled]
    return f"{name}: {', '.join(parts)} than {other}{tail if rest else ''}."


def _changed(board: Board, row: Row, metric: Metric, *, scaled: bool) -> str:
    difference = differences(row, scaled=scaled)[metric.key]
    return f"{board.title(row.method)} ({change(metric, difference)})"


def _leader(board: Board, metric: Metric, *, scaled: bool) -> str:
    when = _WHEN[scaled]
    best = board.best(metric, scaled=scaled)
    value = quantity(metric, values(best[0], scaled=scaled)[metric.key].value)
    names = listed([board.title(row.method) for row in best])
    if len(board.rows) == 1:
        return f"{opened(noun(metric))} of {names}{when}: {value}."
    return f"{opened(superlative(metric))} {noun(metric)}{when}: {value}, {names}."


def directions(board: Board, glance: Sequence[tuple[Metric, bool]]) -> str:
    """Return which way is better, for the columns at a glance."""
    metrics = dict.fromkeys(metric for metric, _ in glance)
    higher = [noun(metric) for metric in metrics if metric.higher_is_better]
    if not higher:
        return "Lower is better."
    return f"{opened(listed(higher))}: higher is better, all others: lower is better."


def unscaled(board: Board) -> str:
    """Return what temperature scaling leaves as it is."""
    same = [noun(metric) for metric in board.metrics if metric not in board.rescaled]
    if not same:
        return ""
    return f"{opened(listed(same))} {'is' if len(same) == 1 else 'are'} not affected by scaling."


def beaten(comparison: TaskComparison, board: Board) -> str:
    """Return a warning of methods that are not better than what needs no model; "" for none.

    Args:
        comparison: finished runs.
        board: their summary.
    """
    told = []
    for reference in comparison.references:
        behind = {
            metric: [row for row in board.rows if not _ahead(row, metric, bar)]
            for metric in board.metrics
            for bar in [reference.values.get(metric.key)]
            if bar is not None
        }
        rows = [row for row in board.rows if any(row in each for each in behind.values())]
        if rows:
            metrics = listed([noun(metric) for metric, each in behind.items() if each])
            told.append(f"{_are(board, rows)} no better than {reference.title} in {metrics}")
    if not told:
        return ""
    return (
        f"{opened('; '.join(told))}. Such models have learned too little for a comparison: train "
        "for more epochs, or on more data."
    )


def _ahead(row: Row, metric: Metric, bar: float) -> bool:
    value = row.plain[metric.key].value
    return value > bar if metric.higher_is_better else value < bar


def _are(board: Board, rows: Sequence[Row]) -> str:
    names = listed([board.title(row.method) for row in rows])
    return f"{names} {'are' if len(rows) > 1 or names.endswith('labels') else 'is'}"


def cautions(comparison: TaskComparison, board: Board, view: AbstractTaskView) -> list[str]:
    """Return what the intervals do not cover.

    Args:
        comparison: finished runs.
        board: their summary.
        view: of its kind.
    """
    told = []
    if board.testable and board.few_seeds:
        told.append(
            f"Only {counted(board.seeds, 'seed')}: an interval over so few says little by itself, "
            "so nothing is called clear."
        )
    told += on_bounds(board)
    widths = {}
    for row in board.rows:
        for record in comparison.records(row.method):
            found = record.metrics[LIKELIHOOD.key]
            if found.low is not None and found.high is not None:
                widths[row.method] = Mean(found.value, found.low, found.high).half_width
    if widths:
        told.append(
            "All seeds share one split of the data. Intervals over seeds tell what training again "
            f"would change, not what other test {view.sample}s would: resampling these "
            f"{comparison.data.test:,} moves the {noun(LIKELIHOOD)} of one run by up to ± "
            f"{number(LIKELIHOOD, max(widths.values()))}."
        )
    return told


def facts(comparison: TaskComparison, view: AbstractTaskView) -> list[tuple[str, str]]:
    """Return pairs of a heading and what there is to say about it.

    Args:
        comparison: finished runs.
        view: of its kind.
    """
    records = [record for method in comparison.runs for record in comparison.records(method)]
    data, settings = comparison.data, comparison.settings
    return [
        ("Data", f"{data.name}; content hash {data.digest}."),
        *data.facts,
        (
            "Runs",
            f"{counted(len(comparison.runs), 'method')}, {counted(settings.seeds, 'seed')} each, "
            f"{counted(settings.epochs, 'epoch')}. A seed decides all that is random, the same for "
            f"all methods. Training took {duration(sum(each.seconds for each in records))} in all.",
        ),
        *view.facts(comparison),
        ("Settings of the methods", _parameters(comparison)),
        ("Temperature", temperatures(records)),
        ("Environment", environments(records)),
    ]


def _parameters(comparison: TaskComparison) -> str:
    parts = []
    for name in comparison.runs:
        method = comparison.kind.methods[name]
        named = ", ".join(f"{key} = {value:g}" for key, value in method.parameters.items())
        if named:
            parts.append(f"{method.title}: {named}")
    return "; ".join(parts) + "." if parts else "None."
