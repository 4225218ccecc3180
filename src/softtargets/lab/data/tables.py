"""Tables of text from files: tab- or comma-separated, JSON lines, Parquet; no row is left out."""

import csv
import gzip
import io
import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from softtargets.decoding import decoded
from softtargets.lab.data.parquet import parquet_table
from softtargets.lab.errors import LabError, reason

SUFFIXES = (".tsv", ".csv", ".jsonl", ".tsv.gz", ".csv.gz", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of a file.

    Attributes:
        path: of the file.
        columns: values by column, row by row; None where a row has none.
        places: where in the file each row begins.
        unit: what `places` count: lines, or rows.
    """

    path: Path
    columns: dict[str, list[Any]]
    places: list[int]
    unit: str = "line"

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        """Return file and line of a row, for an error.

        Args:
            row: from 0.
        """
        return f"{self.path}, {self.unit} {self.places[row]}"

    def select(self, rows: list[int]) -> "Table":
        """Return the table of these rows.

        Args:
            rows: from 0.
        """
        columns = {name: [each[row] for row in rows] for name, each in self.columns.items()}
        return replace(self, columns=columns, places=[self.places[row] for row in rows])


def is_table(path: Path) -> bool:
    """Return whether the name of a file ends as those of tables do."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(path: Path) -> Table:
    r"""Return the rows of a file; what it is, its name's ending says.

    Text is UTF-8, with or without a byte order mark, and ends its lines with `\n` or `\r\n`. The
    first line of `.tsv` and `.csv` names the columns; quotes mean something in `.csv` alone. A line
    of `.jsonl` is an object.

    Args:
        path: of a file that ends in one of `SUFFIXES`.

    Raises:
        LabError: the file is missing, of another kind, empty, damaged or not UTF-8, or a line does
            not fit its first line; the line is named.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "questions.tsv"
        ...     written = path.write_text("kind\ttext\nNUM\tHow far is it ?\n")
        ...     table = read_table(path)
        >>> table.columns, table.places
        ({'kind': ['NUM'], 'text': ['How far is it ?']}, [2])
    """
    if not path.is_file():
        raise LabError(f"{path} is missing; name a table of texts, or a folder of tables")
    if not is_table(path):
        raise LabError(f"{path} must be a table, named *{', *'.join(SUFFIXES)}; rename it")
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    content = decoded(path, _bytes(path), LabError)
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if not content:
        raise LabError(f"{path} is empty; put a line there for each text")
    if kind == "jsonl":
        return _objects(path, _lines(content))
    if kind == "csv":
        return _with_header(path, *_comma_separated(path, content))
    lines = _lines(content)
    return _with_header(path, [line.split("\t") for line in lines], list(range(1, len(lines) + 1)))


def _bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise LabError(
            f"{path} is damaged or cannot be read ({reason(error)}); get it anew"
        ) from error


def _lines(content: str) -> list[str]:
    lines = content.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _comma_separated(path: Path, content: str) -> tuple[list[list[str]], list[int]]:
    """Return rows, and the line in which each begins: quoted text may go over several."""
    rows: list[list[str]] = []
    places: list[int] = []
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    usual = csv.field_size_limit(max(len(content), 1))  # of the whole process; no text is too long
    try:
        _read_rows(path, reader, rows, places)
    finally:
        csv.field_size_limit(usual)
    return rows, places


def _read_rows(path: Path, reader: Any, rows: list[list[str]], places: list[int]) -> None:
    """Append the rows and the line in which each begins."""
    while True:
        place = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise LabError(
                f"{path}, line {place}: {error}; quote texts that hold commas, quotes or line "
                "ends, and double the quotes in them"
            ) from error
        if row is None:
            return
        rows.append(row)
        places.append(place)


def _with_header(path: Path, rows: list[list[str]], places: list[int]) -> Table:
    names = [name.strip() for name in rows[0]]
    odd = [name for name in names if not name or names.count(name) > 1]
    if odd:
        raise LabError(
            f"{path}, line 1: each column must have a name of its own, got {', '.join(names)!r}; "
            "name them in the first line"
        )
    if len(rows) == 1:
        raise LabError(f"{path} has column names and no rows; put a line there for each text")
    for row, place in zip(rows, places, strict=True):
        if len(row) != len(names):
            raise LabError(
                f"{path}, line {place}: {len(row)} fields, the first line names {len(names)} "
                f"columns ({', '.join(names)}); mend the line, or remove it"
            )
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(names)}
    return Table(path=path, columns=columns, places=places[1:])


def _objects(path: Path, lines: list[str]) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(msgspec.json.decode(line, type=dict[str, Any]))
            _check_once(path, number, line)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise LabError(
                f"{path}, line {number} is no JSON object ({reason(error)}); write one object a "
                'line, as {"text": "How far is it ?", "label": "NUM"}'
            ) from error
    names = dict.fromkeys(name for row in rows for name in row)
    if not names:
        raise LabError(
            f"{path} holds objects without a field; give each a text and a label, as "
            '{"text": "How far is it ?", "label": "NUM"}'
        )
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Table(path=path, columns=columns, places=list(range(1, len(rows) + 1)))


def _check_once(path: Path, number: int, line: str) -> None:
    """Raise where an object has two fields of one name, of which a decoder takes the last."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in names if len(set(names)) < len(names) else ():
            if names.count(name) > 1:
                raise LabError(
                    f"{path}, line {number}: the object has two fields {name!r}; keep one of them"
                )

    json.loads(line, object_pairs_hook=check)


def _parquet(path: Path) -> Table:
    table = parquet_table(path)
    names = table.column_names
    if len(set(names)) < len(names) or not table.num_rows:
        raise LabError(
            f"{path} must have rows, and columns with names of their own, got {table.num_rows} "
            f"rows with columns {', '.join(names) or '(none)'}; write it anew"
        )
    columns = {name: table.column(name).to_pylist() for name in names}
    return Table(path=path, columns=columns, places=list(range(1, table.num_rows + 1)), unit="row")
