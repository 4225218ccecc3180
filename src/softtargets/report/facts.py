"""What was run, for the page's last section."""

import math
from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET

from softtargets.lab.compare import Comparison
from softtargets.lab.methods import BASELINE, METHODS
from softtargets.lab.records import RunRecord
from softtargets.lab.summary import Row
from softtargets.lab.task_compare import TaskComparison
from softtargets.lab.task_record import TaskRecord
from softtargets.report.notation import ACCURACY, counted, listed, percentage, points, title
from softtargets.report.training import model, optimiser, peak_memory, training

_DESTINATIONS = {
    "symmetric": "another class, all alike",
    "pair": "the next class",
    "asymmetric": "the class that theirs is mistaken for",
    "instance": "the class that random projections of the sample point to",
}


def facts(comparison: Comparison, rows: list[Row]) -> list[tuple[str, str]]:
    """Return pairs of a heading and what there is to say about it.

    Args:
        comparison: finished runs.
        rows: their summary.
    """
    records = [record for method in comparison.runs for record in comparison.records(method)]
    return [
        ("Data", _data(comparison)),
        ("Label noise", _noise(comparison)),
        ("Runs", _runs(comparison, records)),
        ("Model", model(comparison, records[0])),
        ("Optimiser", optimiser(records[0].spec)),
        *training(records),
        ("Settings of the methods", _settings(comparison)),
        ("Temperature", temperatures(records)),
        ("Size of the test set", _test_set(comparison, rows)),
        ("Environment", environments(records)),
    ]


def standard_error(comparison: Comparison, rows: list[Row]) -> float:
    """Return the largest standard error of an accuracy that the size of the test set leaves."""
    shares = [row.plain[ACCURACY.key].value for row in rows]
    return max(math.sqrt(share * (1 - share) / comparison.data.num_test) for share in shares)


def _data(comparison: Comparison) -> str:
    data = comparison.data
    inputs = f"inputs of {' × '.join(map(str, data.shape))} numbers, standardised"
    if data.texts is not UNSET:
        inputs = f"texts of up to {data.shape[0]:,} words"
    note = "" if data.texts is UNSET else f" {data.texts.note}"
    return (
        f"{data.name}: {data.num_train:,} samples to train on, {data.num_validation:,} for "
        f"validation, {data.num_test:,} for testing; {data.num_classes} classes, {inputs}; content "
        f"hash {data.digest}.{note}"
    )


def text_note(comparison: Comparison) -> str:
    """Return how texts were read, for a terminal; "" where the data are none."""
    texts = comparison.data.texts
    return "" if texts is UNSET else texts.note


def wrong_labels(comparison: Comparison) -> str:
    """Return which share of the training labels is wrong, over all seeds; "" for none."""
    if not comparison.settings.noisy:
        return ""
    shares = comparison.data.wrong_shares
    return percentage(sum(shares) / len(shares))


def _noise(comparison: Comparison) -> str:
    settings = comparison.settings
    if not settings.noisy:
        return "None: all labels are as they come with the data."
    share = wrong_labels(comparison)
    if settings.noisy_labels is not None:
        name = Path(settings.noisy_labels).name
        how = f"{share} of the training labels are wrong, those of {name}, the same for all seeds"
    else:
        how = (
            f"At a rate of {percentage(settings.noise)}, training labels are flipped to "
            f"{_DESTINATIONS[settings.noise_kind]}, anew for each seed; {share} of them are wrong"
        )
    return (
        f"{how}. Validation and test labels are clean, and so temperatures are fitted on clean "
        "labels: that is kinder to temperature scaling than practice, where validation labels are "
        "as wrong as the others."
    )


def _runs(comparison: Comparison, records: list[RunRecord]) -> str:
    time = duration(sum(record.seconds for record in records))
    return (
        f"{counted(len(comparison.runs), 'method')}, {counted(comparison.settings.seeds, 'seed')} "
        f"each, {counted(comparison.settings.epochs, 'epoch')}. A seed decides initial weights, "
        f"order of the data and label noise, the same for all methods. Training took {time} in all."
    )


def duration(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def unfinished(comparison: Comparison | TaskComparison) -> str:
    """Return what is left out of a comparison that is not finished; "" of one that is."""
    if not comparison.missing:
        return ""
    runs = "1 run is" if comparison.missing == 1 else f"{comparison.missing:,} runs are"
    return f"{runs} not finished; the seeds that lack one are left out."


def _settings(comparison: Comparison) -> str:
    parts = []
    for method in comparison.runs:
        parameters = comparison.records(method)[0].spec.parameters
        named = ", ".join(f"{name} = {value:g}" for name, value in parameters.items())
        if named:
            parts.append(f"{title(method)}: {named}")
    text = "; ".join(parts) + "." if parts else "None."
    taught: dict[str, list[str]] = {}
    for method in comparison.runs:
        teacher = METHODS[method].teacher
        if teacher is not None:
            taught.setdefault(teacher, []).append(title(method))
    for teacher, methods in taught.items():
        name = "hard-label" if teacher == BASELINE else title(teacher)
        text += f" The teacher of {listed(methods)} is the {name} run of the same seed."
    return text


def temperatures(records: Sequence[RunRecord | TaskRecord]) -> str:
    """Return how temperatures were fitted."""
    text = (
        "One number per run, by which its logits are divided; fitted on the validation data, "
        "applied to the test data."
    )
    stuck = sum(record.temperature_at_bound for record in records)
    if stuck:
        text += f" In {counted(stuck, 'run')} the search ended at its bound."
    return text


def _test_set(comparison: Comparison, rows: list[Row]) -> str:
    return (
        f"With {comparison.data.num_test:,} test samples, an accuracy has a standard error of up "
        f"to {points(standard_error(comparison, rows), 2)} that no number of seeds removes."
    )


def environments(records: Sequence[RunRecord | TaskRecord]) -> str:
    """Return where runs were computed, in a sentence or two."""
    described = {
        f"softtargets {each.softtargets}, torch {each.torch}, Python {each.python}, "
        f"{each.machine}, {counted(each.threads, 'thread')}"
        f"{f', {each.device}' if each.device is not UNSET else ''}": None
        for each in (record.environment for record in records)
    }
    return f"{listed(list(described))}.{peak_memory(records)}"
