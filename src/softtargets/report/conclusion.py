"""What the numbers say, in sentences for somebody who has never heard of calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

from softtargets.lab.compare import Comparison
from softtargets.lab.summary import Metric, Row
from softtargets.report.notation import (
    ACCURACY,
    CALIBRATION,
    LIKELIHOOD,
    PERCENT,
    counted,
    introduced,
    listed,
    noun,
    opened,
    percentage,
    superlative,
    title,
    told,
    verb,
)
from softtargets.report.predictions import Confidence, predictions
from softtargets.report.untrained import untrained, without_baseline
from softtargets.report.verdict import Board, Verdict, attainable, values

_FAVOURED = (
    (ACCURACY, False),
    (LIKELIHOOD, True),
    (LIKELIHOOD, False),
    (CALIBRATION, False),
    (CALIBRATION, True),
)


_WHEN = {False: "as trained", True: "after temperature scaling"}
_SPELT = {
    ACCURACY.key: "accuracy",
    LIKELIHOOD.key: "negative log-likelihood (NLL)",
    CALIBRATION.key: "calibration error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A question of a reader, and its answer in a few paragraphs."""

    question: str
    answers: list[str]


def headline(board: Board, confidence: Mapping[str, Confidence]) -> list[str]:
    """Return the conclusion as one to three sentences, the main one first.

    Args:
        board: the rows.
        confidence: of each method as trained.
    """
    if board.baseline is None:
        unknown = "Hard labels were not run, so this cannot say what the others changed."
        return [_leaders(board), unknown]
    if not board.others:
        return ["Only hard labels were run: there is nothing to compare them with."]
    if not board.testable:
        return ["One seed cannot tell a better method from a lucky run.", _leaders(board)]
    chosen = favourite(board)
    if chosen is None:
        return _nothing_gained(board)
    row, metric, scaled = chosen
    if not board.supported(Verdict.BETTER):
        return [_perhaps(board, row, metric, scaled=scaled), _why_only_perhaps(board)]
    sentences = {
        (ACCURACY, False): _on_accuracy(board, row),
        (CALIBRATION, False): _on_confidence(board, row, confidence[row.method]),
        (LIKELIHOOD, True): _on_scaling(board, row),
    }
    sentences.pop((metric, scaled), None)
    return [_main_gain(board, row, metric, scaled=scaled), *sentences.values()]


def terminal_conclusion(comparison: Comparison, rows: list[Row]) -> str:
    """Return the conclusion for a terminal: warning, headline and what explains it, a line each.

    The warning alone, where hard labels did not learn.

    Args:
        comparison: finished runs.
        rows: their summary.
    """
    lines = [untrained(comparison)]
    if not without_baseline(comparison):
        confidence = {
            method: predictions(comparison, method, scaled=False).confidence
            for method in comparison.runs
        }
        first, *rest = headline(Board(rows, comparison.settings.seeds), confidence)
        lines += [first, " ".join(rest)]
    return "\n".join(filter(None, lines)).replace(PERCENT[0], " ")


def favourite(board: Board) -> tuple[Row, Metric, bool] | None:
    """Return the most important clear gain over hard labels: whose, in what, whether scaled.

    Methods that are told the noise are passed over.

    Accuracy comes before the likelihood after scaling, then that as trained, then calibration.
    """
    for metric, scaled in _FAVOURED:
        better = attainable(board.judged(Verdict.BETTER, metric, scaled=scaled))
        if better:
            return board.best(metric, scaled=scaled, among=better)[0], metric, scaled
    return None


def findings(board: Board, confidence: Mapping[str, Confidence]) -> list[Finding]:
    """Return the answers to the three questions of the page.

    Args:
        board: the rows.
        confidence: of each method as trained.
    """
    before, after = "As trained, ", "After temperature scaling, "
    return [
        Finding(
            question="Does it classify better?",
            answers=[
                opened(standing(board, ACCURACY, scaled=False)),
                "Temperature scaling never changes which class comes first, so accuracy stays.",
            ],
        ),
        Finding(
            question="Does the true class get more probability?",
            answers=[
                before + standing(board, LIKELIHOOD, scaled=False),
                after + standing(board, LIKELIHOOD, scaled=True),
            ],
        ),
        Finding(
            question="Can its confidence be believed?",
            answers=[
                leanings(board, confidence),
                before + standing(board, CALIBRATION, scaled=False),
                after + standing(board, CALIBRATION, scaled=True),
            ],
        ),
    ]


def standing(board: Board, metric: Metric, *, scaled: bool) -> str:
    """Return who leads in a metric, and who is clearly better or worse than hard labels."""
    best = board.best(metric, scaled=scaled)
    value = told(metric, values(best[0], scaled=scaled)[metric.key].value)
    if len(board.rows) == 1:
        method = best[0].method
        return f"{title(method)} {verb(method, 'has')} an average {noun(metric)} of {value}."
    has = verb(best[0].method, "has") if len(best) == 1 else "share"
    text = f"{_names(best)} {has} the {superlative(metric)} {noun(metric)}, {value}"
    baseline = board.baseline
    if baseline is not None and baseline not in best:
        value = told(metric, values(baseline, scaled=scaled)[metric.key].value)
        text += f"; hard labels have {value}"
    groups = [] if not board.testable else _groups(board, metric, scaled=scaled)
    return " ".join([f"{text}.", *groups])


def _groups(board: Board, metric: Metric, *, scaled: bool) -> list[str]:
    """One sentence for each verdict that was passed."""
    sentences = []
    for verdict in (Verdict.BETTER, Verdict.WORSE):
        rows = board.judged(verdict, metric, scaled=scaled)
        if rows:
            sentences.append(f"{opened(board.worded(verdict))} than hard labels: {_names(rows)}.")
    unclear = board.judged(Verdict.UNCLEAR, metric, scaled=scaled)
    seeds = counted(board.seeds, "seed")
    if len(unclear) == len(board.others):
        sentences.append(f"With {seeds}, no method differs clearly from hard labels.")
    elif unclear:
        sentences.append(f"No clear difference with {seeds}: {_names(unclear)}.")
    return sentences


def leanings(board: Board, confidence: Mapping[str, Confidence]) -> str:
    """Return who says more, or less, than comes true; the largest gap first."""
    order = sorted(board.rows, key=lambda row: -abs(confidence[row.method].gap.value))
    sentences = []
    for lean in ("under-confident", "over-confident"):
        methods = [row.method for row in order if confidence[row.method].lean == lean]
        if not methods:
            continue
        first, *others = methods
        text = f"{opened(lean)} as trained: {title(first)} {says(first, confidence[first])}"
        likewise = listed([title(other) for other in others])
        sentences.append(f"{text}{'; less so ' if others else ''}{likewise}.")
    rest = [row for row in board.rows if not confidence[row.method].lean.endswith("-confident")]
    close = [row for row in rest if confidence[row.method].close]
    if close:
        sentences.append(
            f"Mean confidence and accuracy are less than a point apart: {_names(close)}."
        )
    unsure = [row for row in rest if row not in close]
    if unsure:
        sentences.append(
            f"Sometimes over- and sometimes under-confident, by seed: {_names(unsure)}."
        )
    return " ".join(sentences)


def says(method: str, confidence: Confidence) -> str:
    """Return what a model says on average, and how often it is right."""
    return (
        f"{verb(method, 'says')} {percentage(confidence.says.value)} on average where "
        f"{'they' if verb(method, 'is') == 'are' else 'it'} {verb(method, 'is')} right "
        f"{percentage(confidence.right.value)} of the time"
    )


def _leaders(board: Board) -> str:
    """Who leads, where no difference can be tested."""
    asked = (
        (ACCURACY, False, ""),
        (LIKELIHOOD, False, " as trained"),
        (LIKELIHOOD, True, " after temperature scaling"),
    )
    if len(board.rows) == 1:
        row = board.rows[0]
        parts = [
            f"{noun(metric)} {told(metric, values(row, scaled=scaled)[metric.key].value)}{when}"
            for metric, scaled, when in asked
        ]
        return f"{opened(title(row.method))} alone: {listed(parts)}."
    parts = [
        f"the {superlative(metric)} {noun(metric)}{when}: "
        + _names(board.best(metric, scaled=scaled))
        for metric, scaled, when in asked
    ]
    return f"In these runs, {'; '.join(parts)}."


def _nothing_gained(board: Board) -> list[str]:
    worse = [
        row
        for row in board.others
        if any(
            board.verdict(row, metric, scaled=False) == Verdict.WORSE
            for metric in (ACCURACY, LIKELIHOOD, CALIBRATION)
        )
    ]
    told = any(board.judged(Verdict.BETTER, metric, scaled=scaled) for metric, scaled in _FAVOURED)
    text = (
        f"No method{' but those that are told the noise' if told else ''} is clearly better than "
        "hard labels here, in accuracy, likelihood or "
        f"calibration, with {counted(board.seeds, 'seed')}."
    )
    if not worse:
        return [text]
    certainty = "clearly worse" if board.supported(Verdict.WORSE) else "worse, perhaps by chance,"
    return [text, f"As trained, {_names(worse)} came out {certainty} in at least one of them."]


def _perhaps(board: Board, row: Row, metric: Metric, *, scaled: bool) -> str:
    """What was seen, where it may be chance."""
    ours, base = _beside(board, row, metric, scaled=scaled)
    when = "" if metric == ACCURACY else f" {_WHEN[scaled]}"
    return (
        f"{opened(introduced(row.method))} came out ahead of hard labels in {_SPELT[metric.key]}"
        f"{when}, {ours} against {base}, but that may be chance."
    )


def _why_only_perhaps(board: Board) -> str:
    more = f"run at least {board.more_seeds} to know."
    seeds = counted(board.seeds, "seed")
    if board.few_seeds:
        return f"{opened(seeds)} are too few to tell a better method from lucky runs: {more}"
    tested, clear = board.tally()
    if clear > 2 * board.by_chance:
        return (
            f"With {seeds}, only {board.gained} of {tested} differences to hard labels "
            f"{'is' if board.gained == 1 else 'are'} in favour of a method by more than the "
            f"interval: {more}"
        )
    return (
        f"With {seeds}, {clear} of {tested} differences to hard labels "
        f"{'stands' if clear == 1 else 'stand'} out, and about {board.by_chance} would by chance "
        f"alone: {more}"
    )


def _main_gain(board: Board, row: Row, metric: Metric, *, scaled: bool) -> str:
    name = opened(introduced(row.method))
    ours, base = _beside(board, row, metric, scaled=scaled)
    if metric == ACCURACY:
        return (
            f"{name} makes this classifier clearly more accurate: {ours} right instead of {base} "
            "with hard labels."
        )
    what = "a negative log-likelihood (NLL)" if metric == LIKELIHOOD else f"a {noun(metric)}"
    return (
        f"{name} makes the probabilities of this classifier clearly better {_WHEN[scaled]}: "
        f"{what} of {ours} instead of {base} with hard labels, where lower is better."
    )


def _on_accuracy(board: Board, row: Row) -> str:
    ours, base = _beside(board, row, ACCURACY, scaled=False)
    if board.verdict(row, ACCURACY, scaled=False) == Verdict.WORSE:
        certainty = _certainty(board, Verdict.WORSE)
        return f"But it is {certainty} less often right: {ours} of the time instead of {base}."
    return f"How often it is right is not clearly different ({ours}; hard labels {base})."


def _beside(board: Board, row: Row, metric: Metric, *, scaled: bool) -> list[str]:
    """The values of a method and of hard labels; of shares, with one decimal."""
    assert board.baseline is not None
    found = [values(each, scaled=scaled)[metric.key].value for each in (row, board.baseline)]
    if metric == ACCURACY:
        return [percentage(value) for value in found]
    return [told(metric, value) for value in found]


def _on_confidence(board: Board, row: Row, confidence: Confidence) -> str:
    verdict = board.verdict(row, CALIBRATION, scaled=False)
    if verdict == Verdict.UNCLEAR:
        return "As trained, its confidence is neither clearly more nor clearly less trustworthy."
    word = "more" if verdict == Verdict.BETTER else "less"
    lean = "" if not confidence.lean.endswith("-confident") else f"{confidence.lean}, "
    return (
        f"As trained, its confidence is {_certainty(board, verdict)} {word} trustworthy: {lean}it "
        f"{says(row.method, confidence)}."
    )


def _on_scaling(board: Board, row: Row) -> str:
    ours, base = _beside(board, row, LIKELIHOOD, scaled=True)
    start = "After temperature scaling, its probabilities are"
    verdict = board.verdict(row, LIKELIHOOD, scaled=True)
    if verdict == Verdict.UNCLEAR:
        return f"{start} not clearly different from those of hard labels (NLL {ours}, {base})."
    return (
        f"{start} {board.worded(verdict)} than those of hard labels (negative log-likelihood, NLL, "
        f"{ours} instead of {base}; lower is better)."
    )


def _certainty(board: Board, verdict: Verdict) -> str:
    return board.worded(verdict).split()[0]


def _names(rows: list[Row]) -> str:
    return listed([title(row.method) for row in rows])
