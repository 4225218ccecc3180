"""What to do about it, as far as the numbers support it, and what they do not cover."""

from collections.abc import Sequence

from softtargets.lab.methods import METHODS
from softtargets.lab.summary import Metric, Row
from softtargets.report.notation import (
    ACCURACY,
    AT_BOUND,
    CALIBRATION,
    LIKELIHOOD,
    NO_OPTIMUM,
    change,
    counted,
    listed,
    noun,
    points,
    title,
)
from softtargets.report.verdict import FEW_SEEDS, Board, Verdict, attainable, differences


def advice(board: Board) -> list[str]:
    """Return what to do."""
    if board.baseline is None:
        return ["Run hard labels too: only the difference to them tells what a method changed."]
    if not board.others:
        return ["Run another method too, to see whether it helps here."]
    if not board.testable:
        return [_more_seeds(board)]
    return [
        *([_more_seeds(board)] if _undecided(board) else []),
        _choice(board, LIKELIHOOD, "If you can fit a temperature on validation data", scaled=True),
        _choice(board, LIKELIHOOD, "If you use the probabilities as they come", scaled=False),
        _choice(board, ACCURACY, "If only the predicted class matters", scaled=False),
        *_warning(board),
    ]


def cautions(board: Board, standard_error: float) -> list[str]:
    """Return what the intervals do not cover.

    Args:
        board: the rows.
        standard_error: of an accuracy measured on this test set, as a share.
    """
    return [
        *_on_seeds(board),
        *_on_number(board),
        *on_bounds(board),
        "All seeds share one split into training, validation and test data. Intervals over seeds "
        "tell what training again would change, not what other test samples would change: for "
        "that reason alone, an accuracy measured on this test set has a standard error of "
        f"{points(standard_error, 2)}.",
    ]


def _choice(board: Board, metric: Metric, condition: str, *, scaled: bool) -> str:
    ahead = board.judged(Verdict.BETTER, metric, scaled=scaled)
    better = attainable(ahead)
    if not better:
        but = " but those that are told the noise" if ahead else ""
        return (
            f"{condition}, these runs give no reason to leave hard labels; no method{but} has a "
            f"clearly better {noun(metric)}."
        )
    best = board.best(metric, scaled=scaled, among=better)[0]
    difference = change(metric, differences(best, scaled=scaled)[metric.key])
    seen = f"{title(best.method)} ({noun(metric)} {difference} against hard labels)"
    if not board.supported(Verdict.BETTER):
        return f"{condition}, {seen} was ahead in these runs, but that may be chance."
    needy = _wanting_teacher([best])
    text = f"{condition}, use {seen}" + (f", which {_price(needy)}" if needy else "")
    others = [row for row in better if row is not best]
    if not others:
        return f"{text}."
    beat = "beats" if len(others) == 1 else "beat"
    text = f"{text}. {listed([title(row.method) for row in others])} also clearly {beat} them"
    needy = _wanting_teacher(others)
    return f"{text}; {listed(needy)} {_price(needy)}." if needy else f"{text}."


def _undecided(board: Board) -> bool:
    return board.few_seeds or (board.gained > 0 and not board.supported(Verdict.BETTER))


def _more_seeds(board: Board) -> str:
    return (
        f"Run at least {board.more_seeds} seeds before choosing a method: what these runs show may "
        "be chance."
    )


def _wanting_teacher(rows: Sequence[Row]) -> list[str]:
    return [
        title(row.method)
        for row in rows
        if row.method in METHODS and METHODS[row.method].teacher is not None
    ]


def _price(needy: Sequence[str]) -> str:
    need = "needs" if len(needy) == 1 else "need"
    return f"{need} a trained teacher first, that is, training twice"


def _warning(board: Board) -> list[str]:
    """Say whose confidence to keep away from, and whether scaling mends it."""
    worse = board.judged(Verdict.WORSE, CALIBRATION, scaled=False)
    if not worse:
        return []
    named = listed([title(row.method) for row in worse])
    if not board.supported(Verdict.WORSE):
        return [
            f"As trained, the confidence of {named} looked less trustworthy than that of hard "
            "labels; that, too, may be chance."
        ]
    text = (
        f"Do not act on the confidence of {named} as trained: it is clearly less trustworthy than "
        "that of hard labels."
    )
    still = [
        title(row.method)
        for row in worse
        if board.verdict(row, CALIBRATION, scaled=True) == Verdict.WORSE
    ]
    if still:
        return [f"{text} For {listed(still)} that stays so after temperature scaling."]
    return [f"{text} After temperature scaling there is no clear difference any more."]


def _on_seeds(board: Board) -> list[str]:
    if board.seeds == 1:
        return ["One seed has no interval: with another seed the order can be another."]
    if board.seeds < FEW_SEEDS:
        return [
            f"With {counted(board.seeds, 'seed')} the intervals are wide; “no clear difference” "
            "mostly means “too few runs to tell”."
        ]
    return []


def on_bounds(board: Board) -> list[str]:
    """Return the warning of temperatures that are no optimum, if there are any.

    Args:
        board: the rows.
    """
    rows = [row for row in board.rows if row.at_bound]
    if not rows:
        return []
    stuck = sum(row.at_bound for row in rows)
    return [
        f"Temperatures: in {stuck} of {counted(board.seeds * len(board.rows), 'run')} "
        f"({listed([board.title(row.method) for row in rows])}) T is {AT_BOUND}: {NO_OPTIMUM}. "
        "That is so where the validation data hold hardly any errors, or where the logits say "
        "next to nothing of the labels."
    ]


def _on_number(board: Board) -> list[str]:
    tested, clear = board.tally()
    if not tested:
        return []
    return [
        f"{counted(tested, 'difference')} to hard labels {'was' if tested == 1 else 'were'} "
        f"tested, {clear} of their intervals {'leaves' if clear == 1 else 'leave'} out 0. If no "
        f"method did anything, about {board.by_chance} would by chance: trust a pattern more than "
        "one interval that only just does."
    ]
