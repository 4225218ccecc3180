"""The result of the benchmark: every draw's numbers, and the means and ranks of them."""

from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
from scipy.stats import rankdata

from softtargets.lab.errors import LabError, reason
from softtargets.lab.records import Environment, write_atomically
from softtargets.lab.synthetic.scores import METRICS
from softtargets.lab.synthetic.trials import Settings

Variant = Literal["plain", "scaled"]
VARIANTS: tuple[Variant, ...] = ("plain", "scaled")
_HIGHER_IS_BETTER = ("accuracy", "accuracy_dense", "accuracy_sparse")
_DIGITS = 5
Record = TypeVar("Record")


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A method as trained, or with a temperature: one number per draw everywhere.

    Attributes:
        metrics: by name in `METRICS`.
        validation_nll: by which the trial was chosen, with its temperature if scaled.
        temperatures: by which logits were divided.
        settings: of the chosen trials.
        starts: numbers of their initial weights.
        epochs: at which they ended.
    """

    metrics: dict[str, list[float]]
    validation_nll: list[float]
    temperatures: list[float]
    settings: list[Settings]
    starts: list[int]
    epochs: list[int]


class SyntheticRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All draws of the benchmark.

    Attributes:
        command: that computes it.
        environment: versions and machine.
        seconds: it took.
        budget: networks trained for each method and draw; None: the paper's grids, once.
        draws: their numbers.
        bayes: metrics of the Bayes-optimal probabilities.
        methods: "plain" and "scaled" columns, by method.
    """

    command: str
    environment: Environment
    seconds: float
    budget: int | None
    draws: list[int]
    bayes: dict[str, list[float]]
    methods: dict[str, dict[Variant, Column]]

    def values(self, method: str, variant: Variant, metric: str) -> np.ndarray:
        """Return a metric by draw.

        Args:
            method: its name.
            variant: as trained, or with a temperature.
            metric: a name in `METRICS`.
        """
        return np.array(self.methods[method][variant].metrics[metric])

    def mean_ranks(self, metric: str) -> dict[tuple[str, Variant], float]:
        """Return each column's rank among all columns, 1 the best, averaged over draws.

        Args:
            metric: a name in `METRICS`.
        """
        columns = [(method, variant) for method, both in self.methods.items() for variant in both]
        table = np.stack([self.values(*column, metric) for column in columns])
        ranks = rankdata(-table if metric in _HIGHER_IS_BETTER else table, axis=0)
        return dict(zip(columns, ranks.mean(1).tolist(), strict=True))


class SurfaceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Test NLL of ILS1 by its two parameters.

    Attributes:
        command: that computes it.
        environment: versions and machine.
        seconds: it took.
        draws: their numbers.
        p1: the values of P1.
        p2: those of P2.
        nll: by draw, P1 and P2.
        max_rate: the bound on the amount of smoothing.
    """

    command: str
    environment: Environment
    seconds: float
    draws: list[int]
    p1: list[float]
    p2: list[float]
    nll: list[list[list[float]]]
    max_rate: float = 1.0


def joined(first: SyntheticRecord, second: SyntheticRecord) -> SyntheticRecord:
    """Return one record of the draws of both, the command and the environment those of the second.

    Args:
        first: some draws.
        second: others, with the same methods and budget.
    """
    assert first.budget == second.budget
    assert not set(first.draws) & set(second.draws)
    return msgspec.structs.replace(
        second,
        seconds=first.seconds + second.seconds,
        draws=first.draws + second.draws,
        bayes=_appended(first.bayes, second.bayes),
        methods={
            method: {
                variant: _appended_columns(column, second.methods[method][variant])
                for variant, column in both.items()
            }
            for method, both in first.methods.items()
        },
    )


def joined_surfaces(first: SurfaceRecord, second: SurfaceRecord) -> SurfaceRecord:
    """Return one surface of the draws of both.

    Args:
        first: some draws.
        second: others, on the same grid.
    """
    assert (first.p1, first.p2, first.max_rate) == (second.p1, second.p2, second.max_rate)
    return msgspec.structs.replace(
        second,
        seconds=first.seconds + second.seconds,
        draws=first.draws + second.draws,
        nll=first.nll + second.nll,
    )


def _appended(
    first: dict[str, list[float]], second: dict[str, list[float]]
) -> dict[str, list[float]]:
    return {name: values + second[name] for name, values in first.items()}


def _appended_columns(first: Column, second: Column) -> Column:
    return Column(
        metrics=_appended(first.metrics, second.metrics),
        validation_nll=first.validation_nll + second.validation_nll,
        temperatures=first.temperatures + second.temperatures,
        settings=first.settings + second.settings,
        starts=first.starts + second.starts,
        epochs=first.epochs + second.epochs,
    )


def empty_metrics() -> dict[str, list[float]]:
    """Return a list to fill for each metric."""
    return {name: [] for name in METRICS}


def write_record(record: SyntheticRecord | SurfaceRecord, path: Path) -> None:
    """Write a record as JSON, numbers with five decimals and a line for each list.

    Args:
        record: the record.
        path: where to.
    """
    lines = _lines(msgspec.to_builtins(record), 0)
    write_atomically(path, (lines + "\n").encode())


def read_record(path: Path) -> SyntheticRecord:
    """Return the record at a path.

    Args:
        path: of a file that `write_record` wrote.

    Raises:
        LabError: the file cannot be read, or is not as it was written.
    """
    return _decoded(path, SyntheticRecord)


def read_surface(path: Path) -> SurfaceRecord:
    """Return the surface at a path.

    Args:
        path: of a file that `write_record` wrote.

    Raises:
        LabError: the file cannot be read, or is not as it was written.
    """
    return _decoded(path, SurfaceRecord)


def _decoded(path: Path, kind: type[Record]) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LabError(
            f"the earlier result {path} cannot be used: {reason(error)}; delete the file to "
            "compute it again"
        ) from error


def _lines(value: object, depth: int) -> str:
    """Objects with an entry to a line; lists on one line."""
    if isinstance(value, dict) and value:
        inner = ",\n".join(
            f'{" " * (depth + 1)}"{key}": {_lines(each, depth + 1)}' for key, each in value.items()
        )
        return f"{{\n{inner}\n{' ' * depth}}}"
    return msgspec.json.encode(_rounded(value)).decode()


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
