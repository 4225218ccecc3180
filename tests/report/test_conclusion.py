import math

import pytest

from softtargets.lab.summary import METRICS, Mean, summarise
from softtargets.report.advice import advice, cautions
from softtargets.report.conclusion import (
    favourite,
    findings,
    headline,
    leanings,
    standing,
    terminal_conclusion,
)
from softtargets.report.notation import ACCURACY, CALIBRATION, LIKELIHOOD, introduced
from softtargets.report.predictions import predictions
from softtargets.report.verdict import Board, Verdict, judge

GAINED = {ACCURACY.key: (0.01, 0.02)}
LOST = {ACCURACY.key: (-0.02, -0.01)}
# Further clear differences, in metrics no sentence is about, so that they are more than chance.
MORE_GAINS = {"brier_score": (-0.2, -0.1), "classwise_calibration_error": (-0.2, -0.1)}
MORE_LOSSES = {"brier_score": (0.1, 0.2), "classwise_calibration_error": (0.1, 0.2)}


@pytest.fixture
def level(confidence):
    return {name: confidence(0.9, 0.9) for name in ("hard", "ls", "ols")}


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        (ACCURACY, 0.1, 0.2, Verdict.BETTER),
        (ACCURACY, -0.2, -0.1, Verdict.WORSE),
        (LIKELIHOOD, 0.1, 0.2, Verdict.WORSE),
        (LIKELIHOOD, -0.2, -0.1, Verdict.BETTER),
        (LIKELIHOOD, -0.2, 0.1, Verdict.UNCLEAR),
        (LIKELIHOOD, 0.0, 0.1, Verdict.UNCLEAR),
        (LIKELIHOOD, math.nan, math.nan, Verdict.UNTESTED),
    ],
)
def test_verdict_is_the_side_of_zero_the_interval_lies_on(metric, low, high, verdict):
    assert judge(metric, Mean((low + high) / 2, low, high)) == verdict


def test_no_difference_is_untested():
    assert judge(ACCURACY, None) == Verdict.UNTESTED


def test_a_clear_gain_in_accuracy_is_the_headline(make_row, level):
    rows = [
        make_row("hard", {ACCURACY.key: 0.9}),
        make_row("ls", {ACCURACY.key: 0.915}, plain_difference={**GAINED, **MORE_GAINS}),
    ]
    first, *_ = headline(Board(rows, 5), level)
    assert "Label smoothing (LS) makes this classifier clearly more accurate" in first
    assert "91.5" in first
    assert "90.0" in first


def test_a_loss_of_trust_follows_the_gain(make_row, level, confidence):
    worse = {**GAINED, CALIBRATION.key: (0.05, 0.1)}
    better = {LIKELIHOOD.key: (-0.2, -0.1)}
    rows = [
        make_row("hard"),
        make_row("ls", plain_difference=worse, scaled_difference=better),
    ]
    assert Board(rows, 5).tally()[1] == 3
    _, trust, scaling = headline(Board(rows, 5), {**level, "ls": confidence(0.8, 0.95)})
    assert "clearly less trustworthy: under-confident" in trust
    assert "80.0\N{NO-BREAK SPACE}% on average where it is right 95.0" in trust
    assert "clearly better than those of hard labels" in scaling


def test_a_gain_only_after_scaling_is_the_headline_and_the_loss_follows(make_row, level):
    rows = [
        make_row("hard", scaled={LIKELIHOOD.key: 0.3}),
        make_row(
            "ols",
            scaled={LIKELIHOOD.key: 0.15},
            plain_difference={**LOST, **MORE_LOSSES},
            scaled_difference={LIKELIHOOD.key: (-0.2, -0.1)},
        ),
    ]
    board = Board(rows, 5)
    assert favourite(board) == (rows[1], LIKELIHOOD, True)
    first, accuracy, trust = headline(board, level)
    assert "clearly better after temperature scaling" in first
    assert "of 0.150 instead of 0.300" in first
    assert "clearly less often right" in accuracy
    assert "neither clearly more nor clearly less" in trust


@pytest.mark.parametrize("metric", [LIKELIHOOD, CALIBRATION])
def test_a_gain_in_probabilities_alone(make_row, level, confidence, metric):
    better = {metric.key: (-0.2, -0.1)}
    rows = [make_row("hard"), make_row("ls", plain_difference={**better, **MORE_GAINS})]
    board = Board(rows, 5)
    assert favourite(board) == (rows[1], metric, False)
    first, accuracy, *rest = headline(board, level)
    assert "clearly better as trained" in first
    assert "not clearly different" in accuracy
    assert "not clearly different from those of hard labels" in rest[-1]


def test_more_trust_and_worse_scaling_are_said(make_row, level):
    row = make_row(
        "ls",
        plain_difference={**GAINED, CALIBRATION.key: (-0.2, -0.1)},
        scaled_difference={LIKELIHOOD.key: (0.1, 0.2)},
    )
    _, trust, scaling = headline(Board([make_row("hard"), row], 5), level)
    assert "clearly more trustworthy: it says" in trust
    assert "clearly worse than those of hard labels" in scaling


def test_no_clear_gain_says_so(make_row, level):
    losses = {**LOST, **MORE_LOSSES}
    rows = [
        make_row("hard"),
        make_row("ls"),
        make_row("ols", plain_difference=losses, scaled_difference=MORE_LOSSES),
    ]
    first, worse = headline(Board(rows, 3), level)
    assert first.startswith("No method is clearly better than hard labels")
    assert "3 seeds" in first
    assert "OLS came out clearly worse" in worse
    assert headline(Board(rows[:2], 3), level) == [first]


def test_one_seed_claims_nothing(make_row, level):
    rows = [make_row("hard", seeds=1), make_row("ls", {ACCURACY.key: 0.9}, seeds=1)]
    board = Board(rows, 1)
    text = " ".join(headline(board, level) + advice(board) + cautions(board, 0.01))
    assert "One seed cannot tell" in text
    assert "highest accuracy: LS" in text
    assert "clearly" not in text


def test_without_hard_labels_nothing_is_compared(make_row, level):
    board = Board([make_row("ls"), make_row("ols")], 5)
    text = " ".join(headline(board, level))
    assert "Hard labels were not run" in text
    assert "Run hard labels too" in advice(board)[0]
    told = [answer for finding in findings(board, level) for answer in finding.answers]
    assert not any("than hard labels" in answer for answer in told)


def test_hard_labels_alone(make_row, level):
    board = Board([make_row("hard")], 5)
    assert "nothing to compare" in headline(board, level)[0]
    assert "another method" in advice(board)[0]


def test_standing_names_each_method_under_its_verdict(make_row):
    rows = [
        make_row("hard", {ACCURACY.key: 0.9}),
        make_row("ls", {ACCURACY.key: 0.915}, None, {**GAINED, **MORE_GAINS}, MORE_GAINS),
        make_row("ols", {ACCURACY.key: 0.88}, None, {**LOST, **MORE_LOSSES}, MORE_LOSSES),
        make_row("ils", {ACCURACY.key: 0.9}),
    ]
    text = standing(Board(rows, 5), ACCURACY, scaled=False)
    assert "LS has the highest accuracy, 91.50" in text
    assert "hard labels have 90.00" in text
    assert "Clearly better than hard labels: LS." in text
    assert "Clearly worse than hard labels: OLS." in text
    assert "No clear difference with 5 seeds: ILS." in text


def test_a_tie_is_shared(make_row):
    text = standing(Board([make_row("hard"), make_row("ls")], 5), ACCURACY, scaled=False)
    assert text.startswith("hard labels and LS share the highest accuracy, 50.00")


def test_leanings_put_the_largest_gap_first(make_row, confidence):
    rows = [make_row(name) for name in ("hard", "ls", "ols", "ils")]
    text = leanings(
        Board(rows, 5),
        {
            "hard": confidence(0.99, 0.95),
            "ls": confidence(0.93, 0.95),
            "ols": confidence(0.8, 0.95),
            "ils": confidence(0.951, 0.95),
        },
    )
    assert "Under-confident as trained: OLS says 80.0" in text
    assert "; less so LS." in text
    assert "Over-confident as trained: hard labels say 99.0" in text
    assert "where they are right 95.0" in text
    assert "less than a point apart: ILS." in text


def test_a_gap_that_changes_sides_has_no_direction(make_row, confidence):
    wide = confidence(0.8, 0.95, half=0.2)
    assert wide.lean == "no clear lean"
    text = leanings(Board([make_row("ls")], 2), {"ls": wide})
    assert "Sometimes over- and sometimes under-confident, by seed: LS." in text


def test_advice_follows_the_numbers(make_row):
    better = {LIKELIHOOD.key: (-0.2, -0.1)}
    rows = [make_row("hard"), make_row("ls", scaled_difference={**better, **MORE_GAINS})]
    scaled, plain, accuracy = advice(Board(rows, 5))
    assert "If you can fit a temperature on validation data, use LS" in scaled
    assert "no reason to leave hard labels" in plain
    assert "no reason to leave hard labels" in accuracy


@pytest.mark.parametrize(
    ("mended", "words"), [(True, "no clear difference any more"), (False, "stays so")]
)
def test_advice_warns_of_lost_calibration(make_row, mended, words):
    worse = {CALIBRATION.key: (0.1, 0.2), **MORE_LOSSES}
    row = make_row("ls", plain_difference=worse, scaled_difference=None if mended else worse)
    warning = advice(Board([make_row("hard"), row], 5))[-1]
    assert "Do not act on the confidence of LS" in warning
    assert words in warning


def test_cautions_count_the_comparisons(make_row):
    rows = [make_row("hard"), make_row("ls", plain_difference=GAINED)]
    board = Board(rows, 3)
    assert board.tally() == (2 * len(METRICS) - 1, 1)
    text = " ".join(cautions(board, 0.0061))
    assert "11 differences to hard labels were tested, 1 of their intervals leaves out 0" in text
    assert "With 3 seeds the intervals are wide" in text
    assert "standard error of 0.61 points" in text


def test_runners_up_are_named(make_row):
    gains = {**GAINED, **MORE_GAINS}
    rows = [make_row("hard"), *(make_row(name, plain_difference=gains) for name in ("ls", "ols"))]
    rows[1].plain[ACCURACY.key] = Mean(0.9, 0.8, 1.0)
    assert "use LS" in advice(Board(rows, 5))[2]
    assert "OLS also clearly beats them" in advice(Board(rows, 5))[2]


def test_five_seeds_are_not_called_few(make_row):
    board = Board([make_row("hard"), make_row("ls")], 5)
    assert not any("intervals are wide" in caution for caution in cautions(board, 0.01))


def test_a_method_without_a_long_name_is_introduced_by_its_own():
    assert introduced("ols") == "online label smoothing (OLS)"
    assert introduced("hard") == "hard labels"
    assert introduced("other") == "other"


def plain_text(sentences):
    return " ".join(sentences).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("seeds", "extra", "reason"),
    [
        (5, {}, "2 of 11 differences to hard labels stand out, and about 1 would by chance"),
        (2, MORE_GAINS, "2 seeds are too few to tell"),
    ],
)
def test_what_may_be_chance_is_not_called_clear_nor_advised(make_row, level, seeds, extra, reason):
    gains = {**GAINED, CALIBRATION.key: (-0.2, -0.1), **extra}
    rows = [
        make_row("hard", {ACCURACY.key: 0.9}),
        make_row("ls", {ACCURACY.key: 0.915}, plain_difference=gains),
    ]
    board = Board(rows, seeds)
    assert board.hedged
    text = plain_text(headline(board, level))
    assert "(LS) came out ahead of hard labels in accuracy, 91.5 % against 90.0 %" in text
    assert "may be chance" in text
    assert reason in text
    advised = plain_text(advice(board))
    assert advised.startswith(f"Run at least {board.more_seeds} seeds")
    assert "LS (accuracy +1.50" in advised
    for told in (text, advised, *findings(board, level)[0].answers):
        assert "use LS" not in told
        assert "clearly better than hard" not in told
    assert "Perhaps better than hard labels: LS." in standing(board, ACCURACY, scaled=False)


def test_enough_clear_differences_are_more_than_chance(make_row, level):
    row = make_row("ls", plain_difference={**GAINED, **MORE_GAINS})
    board = Board([make_row("hard"), row], 3)
    assert not board.hedged
    assert "clearly more accurate" in headline(board, level)[0]
    assert "use LS" in plain_text(advice(board))


def test_a_method_that_is_told_the_noise_is_nothing_to_recommend(make_row, level):
    told = make_row("forward", {ACCURACY.key: 0.9}, plain_difference=GAINED)
    names = ("ls", "ols", "ils", "gce")
    others = [make_row(name, {ACCURACY.key: 0.8}, plain_difference=GAINED) for name in names]
    board = Board([make_row("hard"), told, *others], 5)
    assert favourite(board)[0].method == "ls"
    assert not [line for line in advice(board) if "forward" in line]
    alone = Board([make_row("hard"), told], 5)
    assert favourite(alone) is None
    assert headline(alone, level)[0].startswith("No method but those that are told the noise is")
    assert "no method but those that are told the noise has" in " ".join(advice(alone))
    assert standing(board, ACCURACY, scaled=False).startswith("forward has the highest accuracy")


def test_one_gain_among_many_losses_of_many_methods_may_be_chance(make_row, level):
    losses = {**LOST, **MORE_LOSSES}
    others = [
        make_row(name, plain_difference=losses, scaled_difference=MORE_LOSSES)
        for name in ("ols", "ils1", "ils2")
    ]
    board = Board([make_row("hard"), make_row("ls", plain_difference=GAINED), *others], 5)
    first, why = headline(board, level)
    assert "may be chance" in first
    assert "only one of" not in why
    assert "only 1 of 44 differences to hard labels is in favour of a method" in why
    assert board.worded(Verdict.BETTER) == "perhaps better"
    assert board.worded(Verdict.WORSE) == "clearly worse"


def test_a_loss_that_may_be_chance_is_said_so(make_row, level):
    row = make_row("ls", plain_difference={CALIBRATION.key: (0.1, 0.2)})
    board = Board([make_row("hard"), row], 5)
    assert "worse, perhaps by chance, in at least one" in plain_text(headline(board, level))
    warning = advice(board)[-1]
    assert "Do not" not in warning
    assert "may be chance" in warning


def test_errors_below_zero_are_none_and_equally_good(make_row):
    below, above = {CALIBRATION.key: -0.0083}, {CALIBRATION.key: 0.02}
    clear = {CALIBRATION.key: (-0.02, -0.001)}
    rows = [
        make_row("hard", {CALIBRATION.key: -0.001}),
        make_row("ls", above),
        make_row("ols", below, plain_difference=clear),
    ]
    board = Board(rows, 5)
    assert board.leaders(CALIBRATION, scaled=False) == {"hard", "ols"}
    assert board.verdict(rows[2], CALIBRATION, scaled=False) == Verdict.UNCLEAR
    text = plain_text([standing(board, CALIBRATION, scaled=False)])
    assert text.startswith(
        "hard labels and OLS share the lowest calibration error, 0 % (none to be seen)."
    )
    assert "−" not in text
    assert not Board(rows[::2], 5).leaders(CALIBRATION, scaled=False)


def test_an_error_that_can_be_seen_still_differs_from_none(make_row):
    rows = [
        make_row("hard", {CALIBRATION.key: 0.02}),
        make_row(
            "ls", {CALIBRATION.key: -0.01}, plain_difference={CALIBRATION.key: (-0.04, -0.02)}
        ),
    ]
    assert Board(rows, 5).verdict(rows[1], CALIBRATION, scaled=False) == Verdict.BETTER


def test_advice_tells_which_methods_want_a_teacher(make_row):
    gains = {**GAINED, **MORE_GAINS}
    rows = [
        make_row("hard"),
        *(make_row(name, plain_difference=gains) for name in ("ls", "ils1", "ils")),
    ]
    rows[1].plain[ACCURACY.key] = Mean(0.9, 0.8, 1.0)
    assert "them; ILS1 and ILS need a trained teacher" in advice(Board(rows, 5))[2]
    chosen = advice(Board([rows[0], rows[2]], 5))[2]
    assert "use ILS1" in chosen
    assert "which needs a trained teacher first, that is, training twice" in chosen
    assert "teacher" not in " ".join(advice(Board(rows[:2], 5)))


def test_the_terminal_gets_the_headline_as_plain_text(comparison, runs):
    for each in (comparison, runs(seeds=1), runs(methods=("hard",))):
        rows = summarise(each)
        text = terminal_conclusion(each, rows)
        predicted = {name: predictions(each, name, scaled=False).confidence for name in each.runs}
        expected = headline(Board(rows, each.settings.seeds), predicted)
        assert text.replace("\n", " ") == plain_text(expected)
        assert len(text.splitlines()) <= 2
