"""What the sentences say must be what the intervals say."""

from dataclasses import replace

from softtargets.lab.summary import Mean, Row
from softtargets.lab.task_kind import Reference
from softtargets.lab.task_summary import summarise
from softtargets.lab.translation.kind import CHRF, bleu
from softtargets.report.notation import LIKELIHOOD
from softtargets.report.tasks.terminal import task_tables
from softtargets.report.tasks.words import beaten, headline
from softtargets.report.verdict import Board
from tests.report.test_tables import printed

BLEU = bleu(4)
COLUMNS = (BLEU, CHRF, LIKELIHOOD)


def row(name, value, difference=None, half=0.1):
    """A row whose BLEU and NLL are the same number."""
    keys = [metric.key for metric in COLUMNS]
    mean = Mean(value, value - 1, value + 1)
    changed = {}
    if difference is not None:
        changed = dict.fromkeys(keys, Mean(difference, difference - half, difference + half))
    return Row(
        method=name,
        plain=dict.fromkeys(keys, mean),
        scaled={LIKELIHOOD.key: mean},
        plain_difference=changed,
        scaled_difference=changed,
        temperature=mean,
    )


def board(*rows, seeds=5):
    return Board(list(rows), seeds, metrics=COLUMNS, rescaled=(LIKELIHOOD,),
                 titles={"unigram": "unigram LS"})  # fmt: skip


def test_the_same_difference_is_better_in_bleu_and_worse_in_nll():
    given = board(row("hard", 30.0), row("ls", 31.0, 1.0), row("unigram", 30.1, 0.05))
    told = headline(given, ((BLEU, False), (LIKELIHOOD, False), (LIKELIHOOD, True)))
    rest = "than hard labels; not clearly different: unigram LS."
    assert [each.replace("\N{NO-BREAK SPACE}", " ") for each in told] == [
        f"BLEU beam 4: LS (+1.00 ± 0.10) is clearly better {rest}",
        f"NLL: LS (+1.000 ± 0.100) is clearly worse {rest}",
        f"NLL after temperature scaling: LS (+1.000 ± 0.100) is clearly worse {rest}",
    ]


def test_what_is_not_clear_is_said_so_and_two_seeds_are_only_perhaps():
    given = board(row("hard", 30.0), row("ls", 30.0, 0.05))
    asked = [(BLEU, False), (LIKELIHOOD, True)]
    assert headline(given, asked) == [
        "No clear difference to hard labels in BLEU beam 4 and NLL after temperature scaling."
    ]
    two = board(row("hard", 30.0), row("ls", 31.0, 1.0), seeds=2)
    assert "LS" in headline(two, [(BLEU, False)])[0]
    assert "is perhaps better than hard labels" in headline(two, [(BLEU, False)])[0]


def test_one_seed_one_method_and_no_baseline_claim_nothing():
    nan = float("nan")
    one = board(row("hard", 30.0), row("ls", 31.0, 1.0, nan), seeds=1)
    assert headline(one, [(BLEU, False)]) == [
        "One seed cannot tell a better method from a lucky run.",
        "Highest BLEU beam 4: 31.00, LS.",
    ]
    assert headline(one, [(LIKELIHOOD, True)])[1] == (
        "Lowest NLL after temperature scaling: 30.000, hard labels."
    )
    alone = headline(board(row("hard", 30.0)), [(BLEU, False)])
    assert alone == [
        "Only hard labels: there is nothing to compare with.",
        "BLEU beam 4 of hard labels: 30.00.",
    ]
    without = headline(board(row("ls", 30.0), row("unigram", 31.0)), [(BLEU, False)])
    assert without == [
        "Without hard labels no difference can be told.",
        "Highest BLEU beam 4: 31.00, unigram LS.",
    ]


def test_a_model_below_what_needs_none_is_said_first(comparison):
    given = board(row("hard", 2.0), row("ls", 5.0))
    low = Reference(title="copying", summary="", values={BLEU.key: 1.0})
    high = Reference(title="copying", summary="", values={BLEU.key: 2.0, LIKELIHOOD.key: 5.0})
    assert beaten(replace(comparison, references=[low]), given) == ""
    assert beaten(replace(comparison, references=[low, high]), given).startswith(
        "Hard labels and LS are no better than copying in BLEU beam 4 and NLL. Such models"
    )


def test_tables_are_as_wide_as_the_terminal_and_keep_what_fits(comparison):
    rows = summarise(comparison)
    text = printed(task_tables(comparison, rows, width=100), width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "Without a model" in text
