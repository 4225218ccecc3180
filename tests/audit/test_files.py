"""The same predictions come out of every format; what is damaged or undeclared is refused."""

import base64
import pickle
import sys

import numpy as np
import pytest
import torch

from softtargets.audit import arrays, predictions, tiles
from softtargets.audit.checks import Checked
from softtargets.audit.errors import AuditError
from softtargets.audit.files import open_predictions
from softtargets.audit.naming import Keys, choose_labels, choose_scores
from tests.audit.conftest import write_csv, write_safetensors

# {"logits": [[1, 2], [3, 4.5]] in bfloat16, "labels": [0, 1]}, as safetensors 0.8.0 writes it.
WRITTEN_BY_SAFETENSORS = (
    "gAAAAAAAAAB7ImxhYmVscyI6eyJkdHlwZSI6Ikk2NCIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzAsMTZdfSwi"
    "bG9naXRzIjp7ImR0eXBlIjoiQkYxNiIsInNoYXBlIjpbMiwyXSwiZGF0YV9vZmZzZXRzIjpbMTYsMjRdfX0gICAgIAAA"
    "AAAAAAAAAQAAAAAAAACAPwBAQECQQA=="
)


def save_npz(folder, logits, labels):
    np.savez(folder / "a.npz", logits=logits, labels=labels)
    return folder / "a.npz", Keys()


def save_compressed_npz(folder, logits, labels):
    np.savez_compressed(folder / "a.npz", test_logits=logits, test_labels=labels, labels=labels[:1])
    return folder / "a.npz", Keys()


def save_columns_first(folder, logits, labels):
    np.savez(folder / "a.npz", z=np.asfortranarray(logits), y=labels.astype(np.float32))
    return folder / "a.npz", Keys(logits="z", labels="y")


def save_npy(folder, logits, labels):
    np.save(folder / "val_logits.npy", logits.astype(">f4"))
    np.save(folder / "y.npy", labels.astype(np.uint16))
    return folder / "val_logits.npy", Keys(labels=str(folder / "y.npy"))


def save_safetensors(folder, logits, labels):
    write_safetensors(folder / "a.safetensors", {"labels": labels, "logits": logits})
    return folder / "a.safetensors", Keys()


def save_csv(folder, logits, labels):
    write_csv(folder / "a.csv", logits, labels)
    return folder / "a.csv", Keys()


def save_tsv(folder, logits, labels):
    write_csv(folder / "a.tsv", logits, labels, prefix="z", separator="\t")
    return folder / "a.tsv", Keys(logits="z", labels="label")


def save_parquet_columns(folder, logits, labels):
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    columns = {f"logit_{k}": logits[:, k] for k in reversed(range(logits.shape[1]))}
    table = arrow.table({"label": labels, **columns})
    parquet.write_table(table, folder / "a.parquet", row_group_size=150)
    return folder / "a.parquet", Keys()


def save_parquet_lists(folder, logits, labels):
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    table = arrow.table({"label": labels, "logits": list(logits)})
    parquet.write_table(table, folder / "a.parquet", row_group_size=150)
    return folder / "a.parquet", Keys()


def save_parquet_fixed_lists(folder, logits, labels):
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    lists = arrow.FixedSizeListArray.from_arrays(arrow.array(logits.ravel()), logits.shape[1])
    table = arrow.table({"label": labels, "logits": lists})
    parquet.write_table(table, folder / "a.parquet")
    return folder / "a.parquet", Keys()


SAVED = [value for name, value in list(globals().items()) if name.startswith("save_")]


def content(path, keys):
    opened = open_predictions(path, keys)
    scores, labels = zip(*Checked(opened), strict=True)
    return opened, torch.cat(scores), torch.cat(labels), len(scores)


@pytest.mark.parametrize("save", SAVED, ids=lambda save: save.__name__.removeprefix("save_"))
def test_every_format_gives_the_rows_in_blocks(save, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 250)
    monkeypatch.setattr(tiles, "_TILE_ELEMENTS", 600)
    logits, labels = drawn
    path, keys = save(tmp_path, logits, labels)
    opened, scores, found, blocks = content(path, keys)
    assert torch.equal(scores.float(), torch.from_numpy(logits))
    assert found.dtype == torch.int64
    assert torch.equal(found, torch.from_numpy(labels))
    assert (opened.kind, opened.num_classes) == ("logits", 5)
    assert opened.num_rows in (400, None)
    assert blocks >= 8 or "columns_first" in save.__name__
    assert ("unpacked" in opened.note) == ("compressed" in save.__name__)


def test_a_file_written_by_the_safetensors_library(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(base64.b64decode(WRITTEN_BY_SAFETENSORS))
    _, scores, labels, _ = content(tmp_path / "a.safetensors", Keys())
    assert scores.dtype == torch.bfloat16
    assert scores.tolist() == [[1, 2], [3, 4.5]]
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("names", "keys", "found"),
    [
        (["probs", "labels"], {}, ("probs", "probs", "labels")),
        (["x", "Probability", "label"], {}, ("Probability", "probs", "label")),
        (["a_logits", "a_labels", "b_labels"], {}, ("a_logits", "logits", "a_labels")),
        (["a_logits", "b_probs", "y"], {"probs": "y", "labels": "y"}, ("y", "probs", "y")),
        (["net", "labels"], {"logits": "net"}, ("net", "logits", "labels")),
    ],
)
def test_names_declare_what_an_array_is(names, keys, found):
    keys = Keys(**keys)
    name, kind = choose_scores("f", names, keys)
    assert (name, kind, choose_labels("f", names, keys, name)) == found


@pytest.mark.parametrize(
    ("names", "keys", "message"),
    [
        (["scores", "labels"], {}, "f does not say what it holds: .* it has scores, labels"),
        (["logits", "probs"], {}, "f holds several predictions, logits, probs: choose with --log"),
        (["logits", "y"], {}, "f has no `labels`; it has logits, y: choose with --labels"),
        (["logits", "a_label", "b_label"], {}, "several labels, a_label, b_label: choose"),
        (["logits"], {"probs": "p"}, "f has no 'p'; it has logits"),
        (["logits"], {"labels": "y"}, "f has no 'y'; it has logits"),
        ([f"a{k}" for k in range(20)], {}, "a10, a11 and 8 more"),
    ],
)
def test_what_is_not_declared_is_not_guessed(names, keys, message):
    keys = Keys(**keys)
    with pytest.raises(AuditError, match=message):
        choose_labels("f", names, keys, choose_scores("f", names, keys)[0])


def test_both_kinds_cannot_be_asked_for():
    with pytest.raises(AuditError, match="--logits a and --probs b cannot both be meant"):
        Keys(logits="a", probs="b")
    assert Keys(probs="b").or_else(Keys(logits="a", labels="y")) == Keys(probs="b", labels="y")


def refused(path, message, **keys):
    with pytest.raises(AuditError, match=message) as error:
        content(path, Keys(**keys))
    assert "\n" not in str(error.value)


def test_pickles_are_never_loaded(tmp_path, drawn):
    logits, labels = drawn
    np.savez(tmp_path / "a.npz", logits=np.array(list(logits), dtype=object), labels=labels)
    refused(tmp_path / "a.npz", "a.npz: logits holds pickled Python objects, which are never")
    np.save(tmp_path / "logits.npy", np.array([{}, logits], dtype=object), allow_pickle=True)
    np.save(tmp_path / "y.npy", labels)
    y = str(tmp_path / "y.npy")
    refused(tmp_path / "logits.npy", "pickled Python objects", labels=y)
    (tmp_path / "logits.npy").write_bytes(pickle.dumps(logits))
    refused(tmp_path / "logits.npy", "logits.npy is no npy array of numbers", labels=y)


# Text that ends in the middle of a row's last number reads as if it were whole.
BINARY = [save for save in SAVED if save not in (save_csv, save_tsv)]


@pytest.mark.parametrize("save", BINARY, ids=lambda save: save.__name__.removeprefix("save_"))
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(save, share, drawn, tmp_path):
    path, keys = save(tmp_path, *drawn)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AuditError, match=path.name) as error:
        content(path, keys)
    assert "\n" not in str(error.value)


def test_a_damaged_archive_is_refused(tmp_path, drawn):
    for save in (save_npz, save_compressed_npz):
        path, keys = save(tmp_path, *drawn)
        bent = bytearray(path.read_bytes())
        bent[3000:3010] = bytes(10)
        path.write_bytes(bent)
        with pytest.raises(AuditError, match=r"a.npz: .*logits is damaged"):
            content(path, keys)


def test_a_safetensors_header_that_lies_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    for header, message in [
        (b"[]", "has no header of safetensors"),
        (b'{"logits": 3}', "has no header"),
        (b'{"logits": {"dtype": "U8", "shape": [-1, -2], "data_offsets": [0, 2]}}', "no header"),
        (b'{"logits": {"dtype": "U8", "shape": [2], "data_offsets": [4, 2]}}', "no header"),
        (b'{"logits": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 99]}}', "is truncated"),
        (b'{"logits": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}', "type F8_E4M3"),
        (b'{"logits": {"dtype": "F32", "shape": [9], "data_offsets": [0, 2]}}', "fit its shape"),
    ]:
        header = header.replace(
            b"}}", b'}, "labels": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}'
        )
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
        refused(path, message)


def test_shapes_and_types_are_checked(tmp_path, drawn):
    logits, labels = drawn
    for stored, message in [
        ({"logits": logits, "labels": labels[1:]}, r"labels must have shape \(400,\), .* \(399,\)"),
        ({"logits": logits, "labels": np.eye(5)[labels]}, r"labels must have shape \(400,\)"),
        ({"logits": logits[:, 0], "labels": labels}, r"must have shape \(N, K\), got \(400,\)"),
        ({"logits": logits.astype(int), "labels": labels}, "must hold floating point numbers"),
        *(
            ({**whole, key: whole[key].astype(np.longdouble)}, f"{key} must hold .*, got .*128")
            for whole in [{"logits": logits, "labels": labels}]
            for key in whole
            if np.finfo(np.longdouble).bits == 128
        ),
        ({"logits": logits, "labels": labels.astype(str)}, "labels must hold whole numbers"),
        ({"logits": logits[:, :1], "labels": labels * 0}, "must have at least 2 classes, got 1"),
        ({"logits": logits[:0], "labels": labels[:0]}, "holds no rows"),
    ]:
        np.savez(tmp_path / "a.npz", **stored)
        refused(tmp_path / "a.npz", message)


def test_columns_first_needs_memory_and_says_how_much(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST_WHOLE", 1000)
    path, _ = save_columns_first(tmp_path, *drawn)
    refused(
        path, r"column by column, which needs 0.0 GiB .* numpy.ascontiguous", logits="z", labels="y"
    )


def test_csv_cells_are_named(tmp_path, drawn):
    logits, labels = drawn
    path = tmp_path / "a.csv"
    write_csv(path, logits, labels)
    good = path.read_text()
    lines = good.splitlines()
    for line, text, message in [
        (5, "x,1,0.5,oops,0,0,0", "line 5, column logit_1: 'oops' is no number; mend it, or"),
        (5, "x,1,0.5,,0,0,0", "line 5, column logit_1: '' is no number; fill it in, or drop"),
        (5, "x,cat,0.5,1,0,0,0", "line 5, column label: 'cat' is no number; number the classes"),
        (5, "x,,0.5,1,0,0,0", "line 5, column label: '' is no number; fill it in, or drop"),
        *(
            (
                5,
                f'x,1,0.5,"{cell}",0,0,0',
                rf"column logit_1: .*{cell}.* is no .* as 1234\.5, with a",
            )
            for cell in ("0,91", "-1,5e-3", "1,234.5", "1.234,5", "1 234", ",5", "1'234.5")
        ),
        (
            5,
            "x,1,0,5,1,2,0,0,0",
            "line 5 has 9 cells, the header has 7; quote .* as 1234\\.5, with",
        ),
        (5, 'x,1,0.5,"1"2,0,0,0', "after line 5: ',' expected after .*; quote cells that hold"),
        (5, "x,1,0.5,1", "line 5 has 4 cells, the header has 7; if the file is cut off, save"),
        (1, lines[0].replace("logit_3", "logit_9"), "has no column logit_3, but logit_9"),
        (1, lines[0].replace("logit_3", "logit_2"), "has two columns 'logit_2'"),
        (1, "a,b,c,d,e,f,g", "does not say what it holds"),
        (1, lines[0].replace(",", ";"), "one column, .*; separate columns by commas, or by tabs"),
    ]:
        changed = [*lines[: line - 1], text, *lines[line:]]
        path.write_text("\n".join(changed))
        refused(path, message)
    path.write_text("\n".join([lines[0].replace(",", ", "), *lines[1:]]))
    assert len(content(path, Keys())[1]) == len(logits)
    path.write_text('label,logits\n0,"[1, 2]"\n')
    refused(path, "has one column 'logits'; give each class one, logits_0")
    path.write_bytes(good.encode("utf-16"))
    refused(path, r"a\.csv is UTF-16, as its first .*; .* `iconv -f UTF-16 -t UTF-8`$")
    path.write_bytes("\n".join([*lines[:300], "Bär,1,0,0,0,0,0"]).encode("latin-1"))
    refused(path, "a.csv, line 301: byte 2 of the line, 0xe4, is not UTF-8; convert the file, as")
    path.write_text("\ufeff" + good)
    assert len(content(path, Keys())[1]) == len(logits)
    path.write_text(lines[0] + "\n\n")
    refused(path, "holds no rows")


def test_parquet_nulls_are_named(tmp_path, drawn):
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    logits, labels = drawn
    path = tmp_path / "a.parquet"
    columns = {f"logit_{k}": logits[:, k] for k in range(5)}
    holed = arrow.array([None if place == 310 else 1.0 for place in range(400)])
    lists = [None if place == 7 else row for place, row in enumerate(logits)]
    inner = [[1.0, None] if place == 9 else [1.0, 2.0] for place in range(400)]
    ragged = [row[:4] if place == 9 else row for place, row in enumerate(logits)]
    for table, message in [
        ({**columns, "logit_2": holed, "label": labels}, "logit_2 is null in row 310"),
        ({**columns, "label": holed.cast("int64")}, "label is null in row 310"),
        ({"logits": lists, "label": labels}, "logits is null in row 7"),
        ({"logits": inner, "label": labels}, "logits is null in row 9"),
        ({"logits": ragged, "label": labels}, "lists of one length, 5 in row 0, got 4 in row 9"),
        ({"logits": logits[:, 0], "label": labels}, "must be a column of lists, or one column per"),
        ({**columns, "label": labels.astype(str)}, "label must hold whole numbers, got string"),
        ({**columns, "logit_1": labels, "label": labels}, "logit_1 must hold floating point"),
    ]:
        parquet.write_table(arrow.table(table), path, row_group_size=150)
        refused(path, message)


@pytest.mark.parametrize("lists", [True, False])
def test_parquet_without_rows(lists, tmp_path, drawn):
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    logits, labels = drawn
    scores = {"logits": list(logits)} if lists else {f"logit_{k}": logits[:, k] for k in range(5)}
    table = arrow.table({**scores, "label": labels})
    parquet.write_table(table[:0], tmp_path / "none.parquet")
    refused(tmp_path / "none.parquet", "none.parquet holds no rows")
    with parquet.ParquetWriter(tmp_path / "gap.parquet", table.schema) as writer:
        for part in (table[:150], table[:0], table[150:]):
            writer.write_table(part)
    _, found, _, _ = content(tmp_path / "gap.parquet", Keys())
    assert torch.equal(found, torch.from_numpy(logits))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    refused(tmp_path / "a.parquet", r"need pyarrow; pip install 'softtargets\[parquet\]'")


def test_files_that_are_not_there_or_nothing_known(tmp_path):
    refused(tmp_path / "no.npz", "cannot read .*no.npz \\(No such file or directory\\)")
    refused(tmp_path / "a.pkl", "a.pkl must end in one of .npz, .npy")
    (tmp_path / "a.npz").mkdir()
    refused(tmp_path / "a.npz", "is a folder")
    (tmp_path / "a.csv").touch()
    refused(tmp_path / "a.csv", "a.csv is empty")
    np.save(tmp_path / "logits.npy", np.eye(2))
    refused(tmp_path / "logits.npy", "holds no labels; name their file with --labels LABELS.npy")
    refused(tmp_path / "logits.npy", "cannot read", labels=str(tmp_path / "y.npy"))
    np.save(tmp_path / "z.npy", np.eye(2))
    refused(tmp_path / "z.npy", "it has z: choose with --logits or --probs")
