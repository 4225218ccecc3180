"""What to do about it, as far as the numbers support it, and what they do not cover."""

from softtargets.lab.summary import Metric
from softtargets.report.notation import (
    ACCURACY,
    CALIBRATION,
    LIKELIHOOD,
    change,
    counted,
    listed,
    noun,
    points,
    title,
)
from softtargets.report.verdict import Board, Verdict, differences

_FEW_SEEDS = 5


def advice(board: Board) -> list[str]:
    """Return what to do."""
    if board.baseline is None:
        return ["Run hard labels too: only the difference to them tells what smoothing did."]
    if not board.smoothed:
        return ["Run a smoothing method too, to see whether it helps here."]
    if not board.testable:
        return [f"Run at least {_FEW_SEEDS} seeds before choosing a method."]
    return [
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
        "All seeds share one split into training, validation and test data. Intervals over seeds "
        "tell what training again would change, not what other test samples would change: for "
        "that reason alone, an accuracy measured on this test set has a standard error of "
        f"{points(standard_error, 2)}.",
    ]


def _choice(board: Board, metric: Metric, condition: str, *, scaled: bool) -> str:
    better = board.judged(Verdict.BETTER, metric, scaled=scaled)
    if not better:
        return (
            f"{condition}, these runs give no reason to leave hard labels; no method has a clearly "
            f"better {noun(metric)}."
        )
    best = board.best(metric, scaled=scaled, among=better)[0]
    difference = change(metric, differences(best, scaled=scaled)[metric.key])
    text = (
        f"{condition}, use {title(best.method)} ({noun(metric)} {difference} against hard labels)"
    )
    others = [title(row.method) for row in better if row is not best]
    if not others:
        return f"{text}."
    beat = "beats" if len(others) == 1 else "beat"
    return f"{text}; {listed(others)} also clearly {beat} them."


def _warning(board: Board) -> list[str]:
    """Say whose confidence to keep away from, and whether scaling mends it."""
    worse = board.judged(Verdict.WORSE, CALIBRATION, scaled=False)
    if not worse:
        return []
    text = (
        f"Do not act on the confidence of {listed([title(row.method) for row in worse])} as "
        "trained: it is clearly less trustworthy than that of hard labels."
    )
    still = [
        title(row.method)
        for row in worse
        if board.verdict(row, CALIBRATION, scaled=True) == Verdict.WORSE
    ]
    if still:
        return [f"{text} For {listed(still)} that stays so after temperature scaling."]
    return [f"{text} After temperature scaling that can no longer be shown."]


def _on_seeds(board: Board) -> list[str]:
    if board.seeds == 1:
        return ["One seed has no interval: with another seed the order can be another."]
    if board.seeds < _FEW_SEEDS:
        return [
            f"With {counted(board.seeds, 'seed')} the intervals are wide; “no clear difference” "
            "mostly means “too few runs to tell”."
        ]
    return []


def _on_number(board: Board) -> list[str]:
    tested, clear = board.tally()
    if not tested:
        return []
    return [
        f"{counted(tested, 'difference')} to hard labels {'was' if tested == 1 else 'were'} "
        f"tested, {clear} of them {'is' if clear == 1 else 'are'} clear. If smoothing did nothing, "
        f"about {max(1, round(tested / 20))} would look clear by chance: trust a pattern more than "
        "one interval that only just leaves out 0."
    ]
