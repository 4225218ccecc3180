"""Runs that did not learn, from which nothing can be concluded."""

from softtargets.lab.compare import Comparison
from softtargets.report.notation import counted, listed, percentage, title

# Of the way from guessing to all training labels right.
LITTLE = 0.1


def untrained(comparison: Comparison) -> str:
    """Return a warning of runs that are little better than guessing on their own training labels.

    Args:
        comparison: finished runs.

    Returns:
        One or two sentences, "" if every run has learned something.
    """
    guessing = 1 / comparison.data.num_classes
    bar = guessing + LITTLE * (1 - guessing)
    reached = {
        method: [record.history[-1].train_accuracy for record in comparison.records(method)]
        for method in comparison.runs
    }
    failed = {method: sum(x < bar for x in each) for method, each in reached.items()}
    names = [title(method) for method, runs in failed.items() if runs]
    if not names:
        return ""
    total = sum(map(len, reached.values()))
    worst = min(min(each) for each in reached.values())
    return (
        f"{sum(failed.values())} of {counted(total, 'run')} did not learn ({listed(names)}): down "
        f"to {percentage(worst)} of the training labels right, where guessing has "
        f"{percentage(guessing)}. Nothing that is said of them says anything about the methods; "
        "the model, its few samples or epochs, or how it was trained do not suit these data."
    )
