"""Means over seeds with intervals, and paired differences to the baseline."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from softtargets.lab.compare import Comparison
from softtargets.lab.methods import BASELINE
from softtargets.lab.records import RunRecord, write_atomically
from softtargets.lab.task_record import TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the comparison.

    Attributes:
        key: name in a record.
        title: for a table's head.
        higher_is_better: the direction.
        digits: decimals to print.
        scale: what a value is multiplied with for printing.
    """

    key: str
    title: str
    higher_is_better: bool = False
    digits: int = 3
    scale: float = 1.0


METRICS = (
    Metric(key="accuracy", title="accuracy %", higher_is_better=True, digits=2, scale=100),
    Metric(key="negative_log_likelihood", title="NLL"),
    Metric(key="brier_score", title="Brier"),
    Metric(key="expected_calibration_error", title="ECE %", digits=2, scale=100),
    Metric(key="expected_calibration_error_debiased", title="ECE % debiased", digits=2, scale=100),
    Metric(key="classwise_calibration_error", title="class-wise ECE %", digits=2, scale=100),
)


def _share(key: str, title: str, *, higher_is_better: bool = False) -> Metric:
    return Metric(key=key, title=title, higher_is_better=higher_is_better, digits=1, scale=100)


# Of the training samples, under label noise: what the trained model predicts for them.
DENOISING = (
    _share("clean_as_true", "right labels kept %", higher_is_better=True),
    _share("as_true", "true class %", higher_is_better=True),
    _share("as_given", "wrong label %"),
    _share("as_other", "another class %"),
)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its 95 % interval (Student's t); NaN limits with one seed."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method of a comparison.

    Attributes:
        method: its name.
        plain: mean over seeds by metric, of the model as trained.
        scaled: the same after temperature scaling.
        plain_difference: mean of the paired differences to hard labels; empty for these.
        scaled_difference: the same after temperature scaling.
        temperature: mean of the fitted temperatures.
        at_bound: how many of them are an end of the range that was searched.
        denoising: under label noise, mean over seeds by key of `DENOISING`; else empty.
        denoising_difference: mean of their paired differences to hard labels.
        transition_error: of a method that estimates the noise, mean over seeds of the L1 distance
            of a row from that of the noise as drawn.
    """

    method: str
    plain: dict[str, Mean]
    scaled: dict[str, Mean]
    plain_difference: dict[str, Mean]
    scaled_difference: dict[str, Mean]
    temperature: Mean
    at_bound: int = 0
    denoising: dict[str, Mean] = field(default_factory=dict)
    denoising_difference: dict[str, Mean] = field(default_factory=dict)
    transition_error: Mean | None = None


def mean_over_seeds(values: list[float]) -> Mean:
    """Return the mean with its 95 % interval by Student's t distribution."""
    from scipy import stats

    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Mean(mean, math.nan, math.nan)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(stats.t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return Mean(mean, mean - half, mean + half)


def summarise(comparison: Comparison) -> list[Row]:
    """Return one row per method, in the order of the comparison."""
    plain = {method: _values(comparison, method, scaled=False) for method in comparison.runs}
    scaled = {method: _values(comparison, method, scaled=True) for method in comparison.runs}
    denoised = {method: _denoised(comparison, method) for method in comparison.runs}
    return [
        Row(
            method=method,
            plain={key: mean_over_seeds(values) for key, values in plain[method].items()},
            scaled={key: mean_over_seeds(values) for key, values in scaled[method].items()},
            plain_difference=paired_differences(plain, method),
            scaled_difference=paired_differences(scaled, method),
            temperature=mean_over_seeds([r.temperature for r in comparison.records(method)]),
            at_bound=sum(r.temperature_at_bound for r in comparison.records(method)),
            denoising={key: mean_over_seeds(values) for key, values in denoised[method].items()},
            denoising_difference=paired_differences(denoised, method),
            transition_error=mean_over_seeds(errors) if errors else None,
        )
        for method in comparison.runs
        for errors in [_transition_errors(comparison, method)]
    ]


def _transition_errors(comparison: Comparison, method: str) -> list[float]:
    """Distances of the estimated noise by seed; empty for a method that estimates none."""
    found = [record.transition_error for record in comparison.records(method)]
    return [each for each in found if each is not msgspec.UNSET]


def _values(comparison: Comparison, method: str, *, scaled: bool) -> dict[str, list[float]]:
    records = comparison.records(method)
    metrics = [record.scaled if scaled else record.metrics for record in records]
    return {metric.key: [each[metric.key].value for each in metrics] for metric in METRICS}


def _denoised(comparison: Comparison, method: str) -> dict[str, list[float]]:
    """Shares of the training samples by seed; empty unless every run has wrong and right labels."""
    counts = [record.denoising for record in comparison.records(method)]
    shares: dict[str, list[float]] = {metric.key: [] for metric in DENOISING}
    for each in counts:
        if each is msgspec.UNSET or not (each.clean and each.mislabelled):
            return {}
        others = each.mislabelled - each.as_true - each.as_given
        shares["clean_as_true"].append(each.clean_as_true / each.clean)
        shares["as_true"].append(each.as_true / each.mislabelled)
        shares["as_given"].append(each.as_given / each.mislabelled)
        shares["as_other"].append(others / each.mislabelled)
    return shares


def paired_differences(
    values: dict[str, dict[str, list[float]]], method: str, baseline: str = BASELINE
) -> dict[str, Mean]:
    """Return the mean difference of a method to the baseline, seed by seed; empty for itself.

    Args:
        values: by method and metric, of each seed.
        method: to compare.
        baseline: with which; without it there are no differences.
    """
    if method == baseline or not values.get(baseline):
        return {}
    return {
        key: mean_over_seeds(
            [ours - base for ours, base in zip(own, values[baseline][key], strict=True)]
        )
        for key, own in values[method].items()
    }


def write_summary(comparison: Comparison, rows: list[Row], path: Path) -> None:
    """Write the comparison's numbers as JSON, for machines and for the records of a project.

    `rows` are the summary; `values` are the numbers it was made from, by seed, so that paired
    differences can be computed again.

    Args:
        comparison: what was compared.
        rows: its summary.
        path: the file; replaced at once.
    """
    data = comparison.data
    records = [record for runs in comparison.runs.values() for _, record in runs]
    content = {
        "settings": _settings(comparison),
        "data": {
            "digest": data.digest,
            "classes": data.num_classes,
            "train": data.num_train,
            "validation": data.num_validation,
            "test": data.num_test,
        },
        **computing(records, comparison.missing),
        "rows": rows,
        "values": {
            method: {
                "plain": _values(comparison, method, scaled=False),
                "scaled": _values(comparison, method, scaled=True),
                "temperature": [record.temperature for record in comparison.records(method)],
                "denoising": _denoised(comparison, method),
                "transition_error": _transition_errors(comparison, method),
            }
            for method in comparison.runs
        },
    }
    write_json(content, path)


def computing(records: Sequence[RunRecord | TaskRecord], missing: int) -> dict[str, Any]:
    """Return where runs were computed, and how long it took, as summaries have it.

    Args:
        records: of all runs.
        missing: how many are not finished.
    """
    environments = {msgspec.json.encode(record.environment).decode() for record in records}
    return {
        "environments": sorted(environments),
        "missing": missing,
        "training_seconds": round(sum(record.seconds for record in records), 1),
    }


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON that a person can read, at once.

    Args:
        content: what to write.
        path: the file.
    """
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _settings(comparison: Comparison) -> dict[str, Any]:
    """What was asked for: of training, what is not usual; without the folders of files."""
    settings = asdict(comparison.settings)
    training = comparison.settings.training.fields(epochs=comparison.settings.epochs)
    del settings["training"]
    return settings | _without_folders(comparison) | ({"training": training} if training else {})


def _without_folders(comparison: Comparison) -> dict[str, str | None]:
    """The names of data and labels, without the folders they were in."""
    labels = comparison.settings.noisy_labels
    return {
        "data": comparison.data.name,
        "noisy_labels": None if labels is None else Path(labels).name,
    }
