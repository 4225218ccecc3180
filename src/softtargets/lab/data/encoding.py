"""Texts become a data set: split into words, numbered, hashed."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from msgspec import UNSET

from softtargets.lab.data.assembly import Contents, Part
from softtargets.lab.data.dataset import DataSet, Split, Texts
from softtargets.lab.data.folder import physical_memory
from softtargets.lab.data.source import Source
from softtargets.lab.data.words import UNKNOWN, Words, split_words
from softtargets.lab.errors import LabError

_PARTS = ("training", "validation", "test")


def encoded(contents: Contents, source: Source) -> DataSet:
    """Return the data set of texts, every word of them a number; nothing is cut unless asked.

    Args:
        contents: whose inputs are texts; `Contents.train` decides the vocabulary.
        source: says how many words of a text are read, if not all.

    Raises:
        LabError: the longest text makes a table that memory does not hold.
    """
    parts = (contents.train, contents.validation, contents.test)
    most = None if source.words is UNSET else source.words
    whole = [[split_words(text) for text in part.inputs] for part in parts]
    split = [[text[:most] for text in texts] for texts in whole]
    length = max(len(text) for texts in split for text in texts)
    _check_memory(contents.name, sum(map(len, split)), length)
    words = Words.learn(split[0])
    rows = [words.encode(texts, length) for texts in split]
    train, validation, test = (
        Split(inputs=torch.from_numpy(inputs), labels=torch.from_numpy(part.labels))
        for part, inputs in zip(parts, rows, strict=True)
    )
    notes = (
        *contents.notes,
        _words_note(words, rows),
        _length_note(whole, most),
        _repeats_note(contents),
    )
    return DataSet(
        name=contents.name,
        digest=_digest(parts, rows, contents.class_names),
        num_classes=contents.num_classes,
        train=train,
        validation=validation,
        test=test,
        mean=torch.tensor(0.0, dtype=torch.float64),
        deviation=torch.tensor(1.0, dtype=torch.float64),
        positions=torch.from_numpy(contents.positions),
        total=contents.total,
        class_names=contents.class_names,
        texts=Texts(
            words=words.words,
            train=tuple(contents.train.inputs),
            test=tuple(contents.test.inputs),
            note=" ".join(filter(None, notes)),
        ),
    )


def _check_memory(name: str, count: int, length: int) -> None:
    """Raise where the numbers are more than half of what the machine holds."""
    needed, there = 2 * 4 * count * length, physical_memory()
    if needed > there:
        raise LabError(
            f"{name}: {count:,} texts with room for the {length:,} words of the longest need "
            f"{needed / 2**30:.1f} GiB, this machine has {there / 2**30:.1f} GiB; read fewer words "
            f"of each, as ?words={length // 2}"
        )


def _digest(parts: Sequence[Part], rows: Sequence[Any], names: tuple[str, ...] | None) -> str:
    """Hash texts, labels and numbers: another way to split words is another data set."""
    digest = hashlib.sha256(msgspec.json.encode(names))
    for part, inputs in zip(parts, rows, strict=True):
        digest.update(msgspec.json.encode(list(part.inputs)))
        digest.update(part.labels.astype(np.int64).tobytes())
        digest.update(repr(inputs.shape).encode() + inputs.tobytes())
    return digest.hexdigest()[:16]


def _words_note(words: Words, rows: Sequence[Any]) -> str:
    shares = [(part == UNKNOWN).sum() / (part > 0).sum() for part in (rows[0], rows[-1])]
    return (
        f"{len(words) - 2:,} words that occur twice or more in the training part are known; all "
        f"others are one unknown word: {100 * shares[0]:.1f} % of the words of the training part, "
        f"{100 * shares[1]:.1f} % of those of the test part."
    )


def _length_note(whole: Sequence[Sequence[Sequence[str]]], most: int | None) -> str:
    longest = max(len(text) for texts in whole for text in texts)
    note = f"The longest text has {longest:,} words"
    if most is None:
        return f"{note}; none is cut."
    cut = ", ".join(
        f"{sum(len(text) > most for text in texts):,} of {len(texts):,} {name} texts"
        for name, texts in zip(_PARTS, whole, strict=True)
    )
    return f"{note}; of each the first {most:,} are read, so that {cut} are cut."


def _repeats_note(contents: Contents) -> str:
    """How many test texts a model has seen in training, word for word."""
    seen = set(contents.train.inputs) | set(contents.validation.inputs)
    repeated = sum(text in seen for text in contents.test.inputs)
    if not repeated:
        return ""
    total = len(contents.test.inputs)
    return f"{repeated:,} of {total:,} test texts are also in the training or validation part."
