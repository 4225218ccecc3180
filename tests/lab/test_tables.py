"""Tables of texts: four formats, and what each error names."""

import codecs
import csv
import gzip

import pytest

from softtargets.lab.data import load
from softtargets.lab.data.tables import read_table
from softtargets.lab.errors import LabError
from tests.lab import text_tables

HEADER = b"label\ttext\n"
GOOD = b"NUM\tHow far ?\n"


def test_the_formats_hold_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    from pyarrow import parquet

    given = text_tables.rows(3)
    columns = {"label": [row[0] for row in given], "text": [row[1] for row in given]}
    plain = text_tables.written(tmp_path / "a.tsv", given)
    paths = [plain, text_tables.objects(tmp_path / "a.jsonl", given), tmp_path / "a.tsv.gz"]
    paths[2].write_bytes(gzip.compress(plain.read_bytes()))
    paths += [tmp_path / "a.csv", tmp_path / "a.parquet", tmp_path / "windows.tsv"]
    paths[3].write_text("label,text\n" + "".join(f'{row[0]},"{row[1]}"\n' for row in given))
    parquet.write_table(pyarrow.table(columns), paths[4])
    paths[5].write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    assert [read_table(path).columns for path in paths] == [columns] * 6


def test_quotes_mean_something_in_csv_alone(tmp_path):
    commas = tmp_path / "a.csv"
    commas.write_text('label,text\nx,"say ""no"", twice\nover"\ny,plain\n')
    table = read_table(commas)
    assert table.columns["text"] == ['say "no", twice\nover', "plain"]
    assert [table.where(row) for row in (0, 1)] == [f"{commas}, line 2", f"{commas}, line 4"]
    tabs = text_tables.written(tmp_path / "a.tsv", [("x", 'say "no'), ("y", '"yes"')])
    assert read_table(tabs).columns["text"] == ['say "no', '"yes"']


def test_no_text_is_too_long_for_csv(tmp_path):
    long = "far " * 40_000
    path = tmp_path / "a.csv"
    path.write_text(f"label,text\nx,{long}\n")
    usual = csv.field_size_limit()
    assert read_table(path).columns["text"] == [long]
    path.write_text('label,text\nx,"far\n')
    with pytest.raises(LabError, match="unexpected end of data"):
        read_table(path)
    assert csv.field_size_limit() == usual


def test_classes_of_endless_digits_are_names(tmp_path):
    given = [(label, f"text {number}") for number in range(9) for label in ("9", "10", "9" * 5000)]
    assert load(f"text:{text_tables.written(tmp_path / 'a.tsv', given)}").class_names == (
        "10", "9", "9" * 5000
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a.txt must be a table, named \*.tsv, .*; rename it"),
        ("a.tsv", None, "a.tsv is missing; name a table of texts, or a folder"),
        ("a.tsv", b"", "a.tsv is empty; put a line there for each text"),
        ("a.tsv", b"\xef\xbb\xbf", "a.tsv is empty"),
        ("a.tsv", HEADER, "a.tsv has column names and no rows"),
        ("a.csv", b"label,text\n", "a.csv has column names and no rows"),
        ("a.tsv", b"text\ttext\nx\ty\n", "a.tsv, line 1: each column must have a name of its own"),
        ("a.tsv", b"label\t\nx\ty\n", "line 1: each column must have a name"),
        ("a.tsv", b"\n" + HEADER, "line 1: each column must have a name"),
        (
            "a.tsv",
            HEADER + GOOD + b"NUM\tHow\tfar ?\n",
            r"a.tsv, line 3: 3 fields, the first line names 2 columns \(label, text\); mend",
        ),
        ("a.tsv", HEADER + GOOD + b"\n" + GOOD, "a.tsv, line 3: 1 fields"),
        ("a.csv", b"label,text\nx,far, far\n", "a.csv, line 2: 3 fields"),
        ("a.csv", b'label,text\nx,y\nx,"far\n', "a.csv, line 3: unexpected end of data; quote"),
        (
            "a.tsv",
            HEADER + GOOD + b"LOC\tCaf\xe9 ?\n",
            "a.tsv, line 3: byte 8 of the line, 0xe9, is not UTF-8; convert the file",
        ),
        *(
            (name, content, r"a\.\w+(\.gz)? is UTF-16, .*: convert .* `iconv -f UTF-16 -t UTF-8`$")
            for text in [(HEADER + GOOD).decode()]
            for name, content in (
                ("a.tsv", text.encode("utf-16")),
                ("a.csv", codecs.BOM_UTF16_BE + text.encode("utf-16-be")),
                ("a.tsv.gz", gzip.compress(text.encode("utf-16"), mtime=0)),
            )
        ),
        ("a.tsv.gz", HEADER + GOOD, "a.tsv.gz is damaged or cannot be read .*; get it anew"),
        ("a.tsv.gz", gzip.compress(HEADER + GOOD, mtime=0)[:-9], "a.tsv.gz is damaged"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl, line 2 is no JSON object .*; write"),
        ("a.jsonl", b'["x", "y"]\n', "a.jsonl, line 1 is no JSON object"),
        (
            "a.jsonl",
            b'{"text": "x", "label": ' + 5_000 * b"1" + b"}\n",
            "a.jsonl, line 1 is no JSON object .*out of range",
        ),
        (
            "a.jsonl",
            b'{"text": ' + 99_999 * b"[" + 99_999 * b"]" + b"}\n",
            "a.jsonl, line 1 is no JSON object .*recursion",
        ),
        ("a.jsonl", b'{"text": "x"}\n\n{"text": "y"}\n', "a.jsonl, line 2 is no JSON object"),
        (
            "a.jsonl",
            b'{"text": "x", "label": "y"}\n{"text": "x", "label": "y", "text": "z"}\n',
            "a.jsonl, line 2: the object has two fields 'text'; keep one of them",
        ),
        ("a.jsonl", b"{}\n{}\n", "a.jsonl holds objects without a field; give each a text"),
        (
            "a.jsonl",
            b'{"text": "x", "label": "y", "split": ["train"]}\n',
            r"a.jsonl, line 1: split must say train, test or validation, got \['train'\]",
        ),
        ("a.parquet", b"PAR1", "a.parquet is no whole Parquet file"),
    ],
)
def test_files_that_cannot_be_read_are_named_with_the_line(tmp_path, name, content, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabError, match=message):
        load(f"text:{path}")


def table(tmp_path, *changed, header="label\ttext"):
    """A table whose lines 2, 3, ... are replaced."""
    given = text_tables.rows(24)
    given[: len(changed)] = changed
    return text_tables.written(tmp_path / "a.tsv", given, header)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("tool", ""), "a.tsv, line 2: text is empty; write the text, or remove"),
        (("tool", " \u00a0 "), "a.tsv, line 2: text is empty"),
        ((" ", "Is it ?"), "a.tsv, line 2: label is empty; write the label"),
        (("gem", "Is it ?"), "a.tsv, line 2: the label 'gem' has 1 of the 4 texts or more"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_named(tmp_path, row, message):
    with pytest.raises(LabError, match=message):
        load(f"text:{table(tmp_path, row)}")


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("kind\ttext", "", r"a.tsv has no known label, .* kind, text; .* as \?label=kind"),
        ("label\tx", "", r"a.tsv has no known text, .* label, x; .* as \?text=label"),
        ("question\ttext", "", "a.tsv has 2 columns that may be the text, .* question, text"),
        ("label\ttext", "?text=words", "a.tsv has no column 'words', it has label, text; name"),
        ("label\ttext", "?label=text", "`text` and `label` must be two columns, got 'text' twice"),
    ],
)
def test_columns_that_cannot_be_told(tmp_path, header, options, message):
    with pytest.raises(LabError, match=message):
        load(f"text:{table(tmp_path, header=header)}{options}")


def test_one_class_is_too_few(tmp_path):
    given = [("x", text) for _, text in text_tables.rows(9)]
    path = text_tables.written(tmp_path / "a.tsv", given)
    with pytest.raises(LabError, match="label must hold 2 classes or more, got 'x' in every row"):
        load(f"text:{path}")
    path = text_tables.written(tmp_path / "b.tsv", text_tables.rows(4))
    with pytest.raises(LabError, match="validation"):
        load(f"text:{path}")


def test_values_of_wrong_types_are_named_by_row(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    texts = [text for _, text in text_tables.rows(24)]
    labels = [number % 2 for number in range(len(texts))]
    wrong = {
        "row 1: text must be a text, got 0": (labels, labels),
        "row 2: text is empty": ([texts[0], None, *texts[2:]], labels),
        "row 1: label must be a name or a whole number, got 0.5": (texts, [0.5, *labels[1:]]),
        "row 1: label is empty": (texts, [None, *labels[1:]]),
    }
    for message, (text, label) in wrong.items():
        parquet.write_table(pyarrow.table({"text": text, "label": label}), path)
        with pytest.raises(LabError, match=message):
            load(f"text:{path}")
    parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    assert load(f"text:{path}").class_names == ("0", "1")


def test_folders_that_do_not_say_their_parts(tmp_path):
    def refused(message):
        with pytest.raises(LabError, match=message):
            load(f"text:{root}")

    root = tmp_path / "rings"
    root.mkdir()
    (root / "README.md").write_text("no table")
    refused(r"rings has no table of its train part; add one as train.tsv")
    text_tables.written(root / "train.tsv", text_tables.rows(24))
    refused("rings has no table of its test part")
    text_tables.written(root / "test.tsv", text_tables.rows(4))
    assert len(load(f"text:{root}").test) == 12
    other = text_tables.written(root / "rest.tsv", text_tables.rows(4))
    refused("rest.tsv: its name must say which part it is, .*; rename it")
    other.rename(root / "test-2.csv")
    refused("rings has two tables of its test part, test-2.csv and test.tsv; put them into one")
    (root / "test-2.csv").unlink()
    text_tables.written(root / "test.tsv", [("gem", "Is it ?")])
    refused("test.tsv, line 2: no text of the training part has the label 'gem'; remove")
    text_tables.written(root / "test.tsv", [("tool", "Is it ?")], header="kind\ttext")
    refused("test.tsv has no column 'label', as the training part has")
