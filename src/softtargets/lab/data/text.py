"""Data sets of texts: a table for each part, or one that is divided."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from softtargets.lab.data.assembly import Contents, Part, stratified, with_validation
from softtargets.lab.data.source import Source
from softtargets.lab.data.tables import SUFFIXES, Table, is_table, read_table
from softtargets.lab.data.words import split_words
from softtargets.lab.errors import LabError, reason

TEXTS = ("text", "sentence", "question", "review", "comment", "document", "content", "utterance")
LABELS = ("label", "class", "category", "target", "coarse", "topic", "intent", "sentiment")
PART = "split"
_PARTS = {"train": "train", "training": "train", "test": "test"}
_PARTS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
_TEST_SHARE = 1 / 5


def text_contents(source: Source) -> Contents:
    """Return the texts and labels of a table, or of a folder with a table for each part.

    In a folder, `train` and `test`, and if there is one `validation`, `valid`, `val` or `dev`,
    stand in the file names as words: `trec_train.tsv.gz`, `test-00000.parquet`. Of one table, a
    column `split` may say train, test or validation row by row; else a fifth of every class is for
    testing. Where nothing is for validation, a seventh of every class of the training part is.

    Args:
        source: of kind `"text"`.

    Raises:
        LabError: a file cannot be read, columns cannot be told, a text or label is missing or of
            the wrong type, or a class has too few texts; file and line are named.
    """
    tables = _tables(source.location)
    train = tables["train"]
    text = _column(train, source.text, TEXTS, "text")
    label = _column(train, source.label, LABELS, "label")
    if text == label:
        raise LabError(f"{train.path}: `text` and `label` must be two columns, got {text!r} twice")
    texts = {part: _texts(table, text) for part, table in tables.items()}
    labels = {part: _labels(table, label) for part, table in tables.items()}
    least = {1: 4, 2: 2, 3: 1}[len(tables)]  # parts that are still to be drawn from it
    names = _class_names(train, label, labels["train"], least)
    parts = {
        part: Part(inputs=texts[part], labels=_numbered(table, labels[part], label, names))
        for part, table in tables.items()
    }
    name = f"{_name(source.location, train.path)}, {label}"
    note = _columns_note(train, text, label)
    if len(tables) == 1:
        contents = _divided(name, train.path, parts["train"], source.seed)
    else:
        contents = _joined(name, parts)
    return replace(contents, class_names=names, notes=(note, *contents.notes))


def _tables(place: Path) -> dict[str, Table]:
    """Return the table of each part; one without parts is that of training, to be divided."""
    if place.is_dir():
        return {part: read_table(path) for part, path in _files(place).items()}
    table = read_table(place)
    if PART not in table.columns:
        return {"train": table}
    rows: dict[str, list[int]] = {"train": [], "test": []}
    for row, value in enumerate(table.columns[PART]):
        if not isinstance(value, str) or value not in _PARTS:
            raise LabError(
                f"{table.where(row)}: {PART} must say train, test or validation, got {value!r}; "
                "mend it, or give the column another name"
            )
        rows.setdefault(_PARTS[value], []).append(row)
    empty = [part for part, each in rows.items() if not each]
    if empty:
        raise LabError(
            f"{place}: no row of {PART} says {empty[0]}; mend it, or give the column another name"
        )
    return {part: table.select(each) for part, each in rows.items()}


def _files(place: Path) -> dict[str, Path]:
    """Return the file of each part in a folder."""
    found: dict[str, Path] = {}
    for path in sorted(each for each in place.iterdir() if is_table(each)):
        named = {_PARTS[word] for word in _words_of_name(path) if word in _PARTS}
        if len(named) != 1:
            raise LabError(
                f"{path}: its name must say which part it is, train, test or validation, once; "
                "rename it, move it out of the folder, or name one table instead of the folder"
            )
        part = named.pop()
        if part in found:
            raise LabError(
                f"{place} has two tables of its {part} part, {found[part].name} and {path.name}; "
                "put them into one file, or leave one of them there"
            )
        found[part] = path
    for part in ("train", "test"):
        if part not in found:
            raise LabError(
                f"{place} has no table of its {part} part; add one as {part}.tsv ("
                f"{', '.join(SUFFIXES)}), or name one table that is to be divided"
            )
    return found


def _words_of_name(path: Path) -> list[str]:
    return re.split(r"[^a-z]+", path.name.lower())


def _name(place: Path, path: Path) -> str:
    """The file's name without its ending; of several, what is left without the part."""
    stem = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    if not place.is_dir():
        return stem
    kept = [word for word in re.split(r"[-_. ]+", stem) if word.lower() not in _PARTS]
    return " ".join(kept) or place.resolve().name


def _column(table: Table, wanted: Any, known: Sequence[str], option: str) -> str:
    """Return the column that is wanted, or the only one whose name says that it is."""
    names = list(table.columns)
    if wanted is not UNSET:
        if wanted not in names:
            raise LabError(
                f"{table.path} has no column {wanted!r}, it has {', '.join(names)}; name one of "
                f"them, as ?{option}={names[0]}"
            )
        return str(wanted)
    found = [name for name in names if {name.lower(), name.lower().removesuffix("s")} & set(known)]
    if len(found) != 1:
        what = f"{len(found)} columns that may be the {option}" if found else f"no known {option}"
        raise LabError(
            f"{table.path} has {what}, its columns are {', '.join(names)}; name the column, as "
            f"?{option}={(found or names)[0]}"
        )
    return found[0]


def _texts(table: Table, column: str) -> Any:
    """Return `(N,)` texts, none without a word."""
    if column not in table.columns:
        raise LabError(f"{table.path} has no column {column!r}, as the training part has; add it")
    for row, value in enumerate(table.columns[column]):
        if not isinstance(value, str) and value is not None:
            raise LabError(
                f"{table.where(row)}: {column} must be a text, got {value!r}; name the column of "
                "texts, as ?text=NAME"
            )
        if not value or not split_words(value):
            raise LabError(
                f"{table.where(row)}: {column} is empty; write the text, or remove the line and "
                "its label"
            )
    return np.array(table.columns[column], dtype=object)


def _labels(table: Table, column: str) -> list[str | int]:
    """Return labels as they are written, all of one type."""
    if column not in table.columns:
        raise LabError(f"{table.path} has no column {column!r}, as the training part has; add it")
    found: list[str | int] = []
    for row, value in enumerate(table.columns[column]):
        label = value.strip() if isinstance(value, str) else value
        if label is None or label == "":
            raise LabError(
                f"{table.where(row)}: {column} is empty; write the label, or remove the line"
            )
        if not isinstance(label, str | int):
            raise LabError(
                f"{table.where(row)}: {column} must be a name or a whole number, got {label!r}; "
                "name the column of labels, as ?label=NAME"
            )
        found.append(label)
    return found


def _class_names(table: Table, column: str, labels: list[str | int], least: int) -> tuple[str, ...]:
    """Return the names of the classes, in order: numbers by size, words by alphabet."""
    found = [str(label) for label in labels]
    counts = Counter(found)
    if len(counts) < 2:
        raise LabError(
            f"{table.path}: {column} must hold 2 classes or more, got {found[0]!r} in every row; "
            "name another column, as ?label=NAME"
        )
    name, count = min(counts.items(), key=itemgetter(1))
    if count < least:
        raise LabError(
            f"{table.where(found.index(name))}: the {column} {name!r} has {count} of the {least} "
            "texts or more that each needs to train, to validate and, in a table that is divided, "
            "to test on; add some, or remove it"
        )
    if all(re.fullmatch(r"-?\d{1,300}", name) for name in counts):  # longer ones are no numbers
        return tuple(sorted(counts, key=lambda name: (int(name), name)))
    return tuple(sorted(counts))


def _numbered(table: Table, labels: list[str | int], column: str, names: tuple[str, ...]) -> Any:
    """Return `(N,)` class numbers; a class that training does not know is no class."""
    numbers = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(labels):
        if str(label) not in numbers:
            raise LabError(
                f"{table.where(row)}: no text of the training part has the {column} {label!r}; "
                "remove the line, or add such texts to the training part"
            )
    return np.array([numbers[str(label)] for label in labels])


def _joined(name: str, parts: dict[str, Part]) -> Contents:
    """Contents of parts; what is not there for validation is drawn from the training part."""
    if "validation" not in parts:
        return with_validation(name, parts["train"], parts["test"])
    total = len(parts["train"].labels)
    return Contents(
        name=name,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        positions=np.arange(total),
        total=total,
    )


def _divided(name: str, path: Path, whole: Part, seed: int) -> Contents:
    """Contents of one table: a fifth of every class, by the seed, is for testing."""
    try:
        rest, test = stratified(np.arange(len(whole.labels)), whole.labels, _TEST_SHARE, seed)
    except ValueError as error:
        raise LabError(
            f"{path}: a fifth of every class cannot be kept for testing ({reason(error)}); add "
            "texts, or a table for each part"
        ) from error
    contents = with_validation(
        name + (f", seed {seed}" if seed else ""),
        whole.select(rest),
        whole.select(test),
        places=rest,
        total=len(whole.labels),
    )
    return replace(contents, notes=("A fifth of every class, drawn by the seed, is for testing.",))


def _columns_note(table: Table, text: str, label: str) -> str:
    others = [name for name in table.columns if name not in (text, label)]
    note = f"The text is the column {text}, the label the column {label}"
    return note + (f"; not read: {', '.join(others)}." if others else ".")
