"""Parallel files: what is read, and what is refused by file and line."""

import gzip

import pytest

from softtargets.lab.errors import LabError
from softtargets.lab.translation import corpus
from softtargets.lab.translation.corpus import Pairs, read_pairs, read_sentences

ENGLISH = ["A dog runs.", "Two men sit\u2028here.", "A cat."]
GERMAN = ["Ein Hund rennt.", "Zwei Männer sitzen hier.", "Eine Katze."]


def write(path, sentences, end="\n"):
    text = end.join([*sentences, ""]).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "val", "test_2016"):
        write(tmp_path / f"{part}.en.gz", ENGLISH)
        write(tmp_path / f"{part}.de", GERMAN)
    return tmp_path


def test_a_folder_of_plain_and_gzip_files(folder):
    found = corpus.load(folder)
    expected = Pairs(source=tuple(ENGLISH), target=tuple(GERMAN))
    assert found.train == found.validation == found.test == expected
    assert found.languages == ("en", "de")
    back = corpus.load(folder, source="de", target="en")
    assert back.train.source == expected.target
    assert len({found.digest, back.digest}) == 2
    write(folder / "test_2016.de", [*GERMAN[:2], "Ein Kater."])
    assert corpus.load(folder).digest != found.digest


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_line_ends_end_a_line(tmp_path, end):
    inside = ["a\x0bb\x0cc", "d\u2028e\u0085f", "  g  h\t"]
    path = write(tmp_path / "x.en", inside, end)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().removesuffix(end.encode()))
    assert read_sentences(path) == ("a\x0bb\x0cc", "d\u2028e\u0085f", "g  h")


def test_multi30k(shared_data):
    found = corpus.load(shared_data / "multi30k")
    assert [len(part) for part in (found.train, found.validation, found.test)] == [
        29000,
        1014,
        1000,
    ]
    assert found.train.source[0] == "Two young, White males are outside near many bushes."
    assert found.train.target[0].startswith("Zwei junge weiße Männer sind im Freien")


def test_unequal_line_counts(tmp_path):
    english = write(tmp_path / "train.en", ENGLISH)
    german = write(tmp_path / "train.de", GERMAN[:2])
    message = r"train\.en, line 3: .*train\.de ends after line 2, .*train\.en after line 3; line i"
    for pair in ((english, german), (german, english)):
        with pytest.raises(LabError, match=message):
            read_pairs(*pair)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "train.de"
    path.write_bytes("Ein Hund.\nZwei Männer.\n".encode("latin-1"))
    with pytest.raises(LabError, match=r"train\.de, line 2: byte 7 .* 0xe4, is not UTF-8; convert"):
        read_sentences(path)


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("name", ["UTF-16", "UTF-32"])
def test_a_byte_order_mark_of_another_encoding(tmp_path, name, order):
    path = tmp_path / "train.de"
    path.write_bytes("\ufeffZwei Männer.\n".encode(f"{name}-{order}"))
    with pytest.raises(LabError, match=rf"train\.de is {name}, .* `iconv -f {name} -t UTF-8`$"):
        read_sentences(path)


@pytest.mark.parametrize("empty", ["", "  \t"])
def test_an_empty_line(tmp_path, empty):
    path = write(tmp_path / "train.de", [GERMAN[0], empty, GERMAN[2]])
    with pytest.raises(LabError, match=r"train\.de, line 2: the line is empty; remove it here and"):
        read_sentences(path)


def test_files_that_cannot_be_read(tmp_path):
    path = write(tmp_path / "train.en.gz", ENGLISH * 50)
    whole = path.read_bytes()
    for content in (whole[:-9], b"plain text", whole[:40] + b"\x00" * 20 + whole[60:]):
        path.write_bytes(content)
        with pytest.raises(LabError, match=r"train\.en\.gz cannot be read: .*; copy it again"):
            read_sentences(path)
    with pytest.raises(LabError, match=r"nothing\.en cannot be read: .*No such file"):
        read_sentences(tmp_path / "nothing.en")
    with pytest.raises(LabError, match=r"empty\.en is empty; it must hold a sentence a line"):
        read_sentences(write(tmp_path / "empty.en", []))


def test_several_test_parts(folder):
    write(folder / "test_2017.en", ENGLISH[:2])
    write(folder / "test_2017.de.gz", GERMAN[:2])
    message = (
        r"2 files for the test part, .*: test_2016\.en\.gz, test_2017\.en; name one with `test`"
    )
    with pytest.raises(LabError, match=message):
        corpus.load(folder)
    assert len(corpus.load(folder, test="test_2017").test) == 2
    assert len(corpus.load(folder, test="test_2016").test) == 3


def test_folders_that_are_no_corpus(folder):
    with pytest.raises(LabError, match=r"nowhere is not a folder; name the one that holds train"):
        corpus.load(folder / "nowhere")
    with pytest.raises(LabError, match="must be two languages, got 'de' twice"):
        corpus.load(folder, source="de")
    with pytest.raises(LabError, match=r"no train part: no file train\.fr\[\.gz\]; add it"):
        corpus.load(folder, source="fr")
    with pytest.raises(LabError, match=r"no test part: no file test_2018\.en\[\.gz\]; add it"):
        corpus.load(folder, test="test_2018")
    write(folder / "train.de.gz", GERMAN)
    with pytest.raises(LabError, match=r"2 files for the train part, .*: train\.de, train\.de\.gz"):
        corpus.load(folder)
