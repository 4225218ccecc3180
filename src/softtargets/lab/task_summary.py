"""The numbers of a comparison beside classification: means over seeds and paired differences."""

from pathlib import Path

import msgspec

from softtargets.lab.summary import Row, computing, mean_over_seeds, paired_differences, write_json
from softtargets.lab.task_compare import TaskComparison


def summarise(comparison: TaskComparison) -> list[Row]:
    """Return one row per method, in the order of the comparison.

    Args:
        comparison: finished runs.
    """
    baseline = comparison.kind.baseline
    plain = {method: _values(comparison, method, scaled=False) for method in comparison.runs}
    scaled = {method: _values(comparison, method, scaled=True) for method in comparison.runs}
    return [
        Row(
            method=method,
            plain={key: mean_over_seeds(values) for key, values in plain[method].items()},
            scaled={key: mean_over_seeds(values) for key, values in scaled[method].items()},
            plain_difference=paired_differences(plain, method, baseline),
            scaled_difference=paired_differences(scaled, method, baseline),
            temperature=mean_over_seeds(_temperatures(comparison, method)),
            at_bound=sum(record.temperature_at_bound for record in comparison.records(method)),
        )
        for method in comparison.runs
    ]


def write_summary(comparison: TaskComparison, rows: list[Row], path: Path) -> None:
    """Write the comparison's numbers as JSON, for machines and for the records of a project.

    `rows` are the summary; `values` are the numbers it was made from, by seed, so that paired
    differences can be computed again.

    Args:
        comparison: what was compared.
        rows: its summary.
        path: the file; replaced at once.
    """
    records = [record for method in comparison.runs for record in comparison.records(method)]
    content = {
        "kind": comparison.settings.kind,
        # Without the folder that the data were in.
        "settings": msgspec.structs.replace(comparison.settings, data=comparison.data.name),
        "data": comparison.data,
        **computing(records, comparison.missing),
        "references": comparison.references,
        "rows": [{name: getattr(row, name) for name in _SHOWN} for row in rows],
        "values": {
            method: {
                "plain": _values(comparison, method, scaled=False),
                "scaled": _values(comparison, method, scaled=True),
                "temperature": _temperatures(comparison, method),
            }
            for method in comparison.runs
        },
    }
    write_json(content, path)


_SHOWN = (
    "method",
    "plain",
    "scaled",
    "plain_difference",
    "scaled_difference",
    "temperature",
    "at_bound",
)


def _values(comparison: TaskComparison, method: str, *, scaled: bool) -> dict[str, list[float]]:
    found = [comparison.kind.values(record, scaled=scaled) for record in comparison.records(method)]
    return {key: [each[key] for each in found] for key in found[0]}


def _temperatures(comparison: TaskComparison, method: str) -> list[float]:
    return [record.temperature for record in comparison.records(method)]
