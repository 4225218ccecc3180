"""Parallel text from files: a sentence a line, plain or gzip, nothing dropped on the way."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from softtargets.decoding import decoded
from softtargets.lab.errors import LabError

PARTS = {"train": ("train",), "validation": ("val", "valid", "validation", "dev"), "test": ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Sentences and their translations, line by line.

    Attributes:
        source: N sentences, none empty.
        target: their N translations, none empty.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Parallel text in its three parts.

    Attributes:
        name: of its folder.
        languages: of source and target, as the file names say.
        digest: hash of all sentences and of their parts.
        train: to learn the vocabulary and the model from.
        validation: to choose by and to fit temperatures on.
        test: to score once.
    """

    name: str
    languages: tuple[str, str]
    digest: str
    train: Pairs
    validation: Pairs
    test: Pairs


def load(
    folder: Path | str, source: str = "en", target: str = "de", *, test: str | None = None
) -> Corpus:
    """Return the corpus in a folder of files named `PART.LANGUAGE`, or `PART.LANGUAGE.gz`.

    The parts are `train`, one of `val`, `valid`, `validation` and `dev`, and one whose name starts
    with `test` (Multi30k: `train.en.gz`, `val.en.gz`, `test_2016_flickr.en.gz`, and so on).

    Args:
        folder: where the files are.
        source: language to translate from, the files' ending.
        target: language to translate into.
        test: name of the test part, where there are several.

    Raises:
        LabError: a file is missing, cannot be read or decoded, holds an empty line, or has more
            lines than its translation.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LabError(f"{folder} is not a folder; name the one that holds train.{source}[.gz]")
    if source == target:
        raise LabError(f"source and target must be two languages, got {source!r} twice")
    train, validation, tested = (
        read_pairs(_file(folder, part, source, test), _file(folder, part, target, test))
        for part in PARTS
    )
    return Corpus(
        name=folder.resolve().name,
        languages=(source, target),
        digest=_digest(train, validation, tested),
        train=train,
        validation=validation,
        test=tested,
    )


def read_pairs(source: Path, target: Path) -> Pairs:
    """Return the sentences of a file and their translations, the same line of another.

    Raises:
        LabError: see `read_sentences`; or one file has more lines.
    """
    sentences, translations = read_sentences(source), read_sentences(target)
    if len(sentences) != len(translations):
        longer, shorter = source, target
        if len(translations) > len(sentences):
            longer, shorter = target, source
        fewer = min(len(sentences), len(translations))
        raise LabError(
            f"{longer}, line {fewer + 1}: {shorter} ends after line {fewer}, {longer} after line "
            f"{max(len(sentences), len(translations))}; line i of one must translate line i of the "
            "other"
        )
    return Pairs(source=sentences, target=translations)


def read_sentences(path: Path) -> tuple[str, ...]:
    r"""Return the lines of a UTF-8 text, of a gzip file if its name ends in `.gz`.

    Lines end with `\n` or `\r\n` and with nothing else, so that no character inside a sentence
    shifts what follows against the translations; a byte order mark at the start is left out, and
    blanks around a sentence.

    Raises:
        LabError: the file cannot be read, a line is not UTF-8, or empty.
    """
    lines = decoded(path, _bytes(path), LabError).split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise LabError(f"{path} is empty; it must hold a sentence a line")
    return tuple(_sentence(line, path, number) for number, line in enumerate(lines, start=1))


def _sentence(line: str, path: Path, number: int) -> str:
    sentence = line.strip()
    if not sentence:
        raise LabError(
            f"{path}, line {number}: the line is empty; remove it here and the same line of the "
            "translation"
        )
    return sentence


def _bytes(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise LabError(f"{path} cannot be read: {error}; copy it again") from error


def _file(folder: Path, part: str, language: str, test: str | None) -> Path:
    """Return the one file of a part in a language."""
    names = (test,) if part == "test" and test else PARTS[part]
    found = []
    for path in sorted(folder.iterdir()):
        stem = path.name.removesuffix(".gz").removesuffix(f".{language}")
        if path.name not in (f"{stem}.{language}", f"{stem}.{language}.gz"):
            continue
        if stem in names or (not names and stem.startswith("test")):
            found.append(path)
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(f"{name}.{language}[.gz]" for name in names or ("test*",))
    if not found:
        raise LabError(f"{folder} has no {part} part: no file {wanted}; add it")
    ways = "name one with `test`" if not names else "leave one of them there"
    raise LabError(
        f"{folder} has {len(found)} files for the {part} part, {wanted}: "
        f"{', '.join(path.name for path in found)}; {ways}"
    )


def _digest(*parts: Pairs) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for sentences in (part.source, part.target):
            # No sentence holds a line end.
            digest.update("\n".join(sentences).encode() + b"\n\n")
    return digest.hexdigest()[:16]
