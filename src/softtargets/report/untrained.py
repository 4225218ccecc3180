"""Runs that did not learn, or too little, from which nothing can be concluded."""

import math

import numpy as np

from softtargets.lab.compare import Comparison
from softtargets.lab.methods import BASELINE
from softtargets.report.notation import ACCURACY, listed, opened, percentage, title, verb

# Of the way from guessing to all training labels right.
LITTLE = 0.1
_QUANTILE = 1.96  # of a 95 % interval


def untrained(comparison: Comparison) -> str:
    """Return a warning of runs that learned little: of their training labels, or of the test's.

    That is runs little better than guessing on their own training labels, and methods that are not
    clearly more often right than the most frequent class, named each time, would be.

    Args:
        comparison: finished runs.

    Returns:
        A few sentences, "" if all have learned something.
    """
    failed = _at_guessing(comparison)
    behind = [method for method in _behind_one_class(comparison) if not failed.get(method)]
    told = [_told_guessing(comparison, failed)] if any(failed.values()) else []
    if behind:
        are = "are" if len(behind) > 1 else verb(behind[0], "is")
        told.append(
            f"{opened(listed([title(method) for method in behind]))} {are} not clearly more often "
            "right than the most frequent class, named each time, would be "
            f"({percentage(_largest_share(comparison))} of the test labels). Such models have "
            "learned too little for a comparison: train for more epochs, or on more data. But "
            "where nearly all samples are of one class, or few are tested, accuracy cannot tell."
        )
    return " ".join(told)


def without_baseline(comparison: Comparison) -> bool:
    """Return whether runs of hard labels did not learn, so that no method can be held to them.

    Args:
        comparison: finished runs.
    """
    return bool(_at_guessing(comparison).get(BASELINE))


def _at_guessing(comparison: Comparison) -> dict[str, int]:
    """How many runs of each method are little better than guessing."""
    guessing = 1 / comparison.data.num_classes
    bar = guessing + LITTLE * (1 - guessing)
    return {
        method: sum(reached < bar for reached in _training_accuracies(comparison, method))
        for method in comparison.runs
    }


def _training_accuracies(comparison: Comparison, method: str) -> list[float]:
    return [record.history[-1].train_accuracy for record in comparison.records(method)]


def _told_guessing(comparison: Comparison, failed: dict[str, int]) -> str:
    names = [title(method) for method, runs in failed.items() if runs]
    reached = [_training_accuracies(comparison, method) for method in comparison.runs]
    return (
        f"{sum(failed.values())} of {sum(map(len, reached)):,} runs did not learn "
        f"({listed(names)}): down to {percentage(min(map(min, reached)))} of the training labels "
        f"right, where guessing has {percentage(1 / comparison.data.num_classes)}. Nothing that is "
        "said of them says anything about the methods; the model, its few samples or epochs, or "
        "how it was trained do not suit these data."
    )


def _largest_share(comparison: Comparison) -> float:
    """The share of the test labels that are of the most frequent class."""
    labels = _test_labels(comparison)
    return float(np.bincount(labels).max() / len(labels))


def _test_labels(comparison: Comparison) -> np.ndarray:
    """The test labels, which are those of every run."""
    folder, _ = next(iter(comparison.runs.values()))[0]
    labels: np.ndarray = folder.arrays()["test_labels"]
    return labels


def _behind_one_class(comparison: Comparison) -> list[str]:
    """The methods whose gain over the most frequent class has an interval that reaches 0.

    The interval is normal, over test samples, of the mean of all seeds.
    """
    labels = _test_labels(comparison)
    named = labels == np.bincount(labels).argmax()
    behind = []
    for method in comparison.runs:
        records = comparison.records(method)
        right = sum(each.metrics[ACCURACY.key].value for each in records) / len(records)
        # No sample's gain is larger than 1: far ahead, its spread need not be known.
        if right - named.mean() > _QUANTILE / math.sqrt(len(labels)):
            continue
        said = [arrays["test_logits"].argmax(-1) == labels for arrays in comparison.arrays(method)]
        gains = np.mean(said, axis=0) - named
        if gains.mean() <= _QUANTILE * gains.std() / math.sqrt(len(labels)):
            behind.append(method)
    return behind
