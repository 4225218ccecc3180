"""Files of columns: csv and tsv text, and Parquet."""

import csv
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from softtargets.audit.clusters import arranged
from softtargets.audit.errors import AuditError
from softtargets.audit.naming import Keys, choose_labels, choose_scores, listing, ungrouped
from softtargets.audit.predictions import Block, Predictions, block_rows
from softtargets.decoding import decoded

_POINT = "write numbers as 1234.5, with a decimal point and nothing between thousands"


class Columns(NamedTuple):
    """Which columns hold what.

    Args:
        name: of the predictions.
        kind: what they are.
        scores: the columns of the classes in order; one column of lists alone.
        labels: the column of the labels.
        together: the column that says which rows belong together, None if each stands alone.
    """

    name: str
    kind: Any
    scores: list[str]
    labels: str
    together: str | None


def choose_columns(where: str, names: Sequence[str], keys: Keys) -> Columns:
    """Return the columns of predictions and labels.

    Columns `NAME_0`, `NAME_1`, ... are the classes of the predictions NAME, in the order of their
    numbers; a column NAME, where cells can be lists, holds all classes.

    Args:
        where: the file, for messages.
        names: its columns.
        keys: what the user says.

    Raises:
        AuditError: the columns do not say what they are, or a class is missing.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AuditError(f"{where} has two columns {twice!r}; rename one")
    column = keys.column
    if column is not None and column.endswith(".npy") and column not in names:
        raise AuditError(f"{where} is a table; add the {keys.purpose}s to it as a column")
    names = ungrouped(where, names, keys)
    groups: dict[str, dict[int, str]] = {}
    single = []
    for name in names:
        match = re.fullmatch(r"(.+)_(0|[1-9]\d*)", name)
        if match:
            groups.setdefault(match[1], {})[int(match[2])] = name
        else:
            single.append(name)
    shown = [*groups, *(name for name in single if name not in groups)]
    scores, kind = choose_scores(where, shown, keys)
    labels = choose_labels(where, [*single, *(n for n in names if n not in single)], keys, scores)
    classes = groups.get(scores)
    if classes is None:
        return Columns(scores, kind, [scores], labels, column)
    missing = next((k for k in range(len(classes)) if k not in classes), None)
    if missing is not None:
        raise AuditError(
            f"{where} has no column {scores}_{missing}, but {scores}_{max(classes)}; number the "
            "classes 0, 1, 2 and so on"
        )
    return Columns(scores, kind, [classes[k] for k in range(len(classes))], labels, column)


def open_csv(path: Path, keys: Keys) -> Predictions:
    """Return the predictions of a text file with a header, comma-separated, or by tabs in .tsv.

    Args:
        path: the file, UTF-8.
        keys: what the user says.

    Raises:
        AuditError: see `choose_columns`.
    """
    with closing(_lines(path)) as lines:
        first = next(lines, None)
    if first is None:
        raise AuditError(f"{path} is empty; a header with the columns' names comes first")
    header = [name.strip() for name in first[1]]
    if len(header) == 1:
        raise AuditError(
            f"{path} has one column, {listing(header)}; separate columns by commas, or by tabs in "
            "a .tsv file"
        )
    columns = choose_columns(str(path), header, keys)
    if len(columns.scores) == 1:
        raise AuditError(
            f"{path} has one column {columns.scores[0]!r}; give each class one, {columns.name}_0, "
            f"{columns.name}_1 and so on; it has {listing(header)}"
        )
    places = [header.index(name) for name in (*columns.scores, columns.labels)]

    def read() -> Generator[Block]:
        with closing(_lines(path)) as lines:
            next(lines)
            while rows := list(islice(lines, block_rows(len(places)))):
                values = torch.from_numpy(_numbers(path, header, places, rows))
                yield values[:, :-1], values[:, -1]

    found = Predictions(
        path=path,
        key=columns.name,
        kind=columns.kind,
        num_classes=len(columns.scores),
        num_rows=None,
        note="",
        labels=f"{path}: {columns.labels}",
        read=read,
    )
    if columns.together is None:
        return found
    place = header.index(columns.together)
    name = columns.together
    return arranged(found, keys, f"{path}: {name}", name, _column(path, header, place))


def _column(path: Path, header: list[str], place: int) -> Generator[list[str]]:
    """Blocks of one column, for which the text is gone through once more."""
    with closing(_lines(path)) as lines:
        next(lines)
        while rows := list(islice(lines, block_rows(len(header)))):
            _check_lengths(path, header, rows)
            yield [row[place].strip() for _, row in rows]


def _lines(path: Path) -> Generator[tuple[int, list[str]]]:
    """The rows that are not blank, with the number of the line each ends in."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise AuditError(
                f"{path}, after line {reader.line_num}: {error}; quote cells that hold separators, "
                "quotes or line ends, and double the quotes in them"
            ) from error
        except UnicodeDecodeError:
            _check_decodes(path)
            raise


def _check_decodes(path: Path) -> None:
    """Raise, naming the first line that is not UTF-8; decoders of streams do not know it."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            decoded(path, line, AuditError, line=number)


def _numbers(
    path: Path, header: list[str], places: list[int], rows: list[tuple[int, list[str]]]
) -> Any:
    """The cells of the chosen columns, float64."""
    _check_lengths(path, header, rows)
    cells = (float(row[place]) for _, row in rows for place in places)
    try:
        return np.fromiter(cells, np.float64).reshape(len(rows), len(places))
    except ValueError as error:
        raise _bad_cell(path, header, places, rows) from error


def _check_lengths(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    for line, row in rows:
        if len(row) != len(header):
            way_out = "if the file is cut off, save it again"
            if len(row) > len(header):
                way_out = f"quote cells that hold separators; {_POINT}"
            raise AuditError(
                f"{path}, line {line} has {len(row)} cells, the header has {len(header)}; {way_out}"
            )


def _bad_cell(
    path: Path, header: list[str], places: list[int], rows: list[tuple[int, list[str]]]
) -> AuditError:
    for line, row in rows:
        for place in places:
            try:
                float(row[place])
            except ValueError:
                cell = row[place].strip()
                way_out = _way_out(cell, label=place == places[-1])
                return AuditError(
                    f"{path}, line {line}, column {header[place]}: {cell[:40]!r} is no number; "
                    f"{way_out}"
                )
    raise AssertionError("a cell that is no number was found before")


def _way_out(cell: str, *, label: bool) -> str:
    if not cell:
        return "fill it in, or drop the row"
    if label:
        return "number the classes 0, 1, 2 and so on"
    separated = re.fullmatch(r"[-+]?[.,]?\d[\d.,'’_\s]*(e[-+]?\d+)?", cell, re.IGNORECASE)
    return _POINT if separated else "mend it, or drop the row"
