import json
import os
import subprocess
import sys

import numpy as np
import pytest

from softtargets.audit import predictions
from softtargets.cli.app import run
from tests.audit.conftest import draw


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder; blocks are small, so that rows are counted over blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 100)
    return tmp_path


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)


def save(name="a.npz", **arrays):
    np.savez(name, **arrays)
    return name


def test_a_file_becomes_a_verdict_a_page_and_numbers(folder, capsys):
    logits, labels = draw(sharpness=2.0)
    name = save(test_logits=logits, test_labels=labels)
    assert run(["audit", name, "--json", "a.json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads((folder / "a.json").read_text())
    page = (folder / "a-audit.html").read_text()
    assert "it is over-confident" in printed
    assert "a-audit.html" in printed
    assert found["verdict"]["lean"] == "over-confident"
    told = " ".join(printed.split())
    for sentence in (found["verdict"]["headline"], *found["verdict"]["findings"].popitem()[1]):
        assert sentence in told or sentence in page.replace("\N{NO-BREAK SPACE}", " ")
    error = 100 * found["measures"]["expected_calibration_error"]["value"]
    assert f"{error:.2f}" in printed
    assert f"{error:.2f}" in page
    assert (found["num_samples"], found["num_classes"], found["kind"]) == (400, 5, "logits")


def test_json_on_standard_output_is_all_there_is(folder, capsys):
    logits, labels = draw()
    name = save(probs=softmax(logits), labels=labels)
    assert run(["audit", name, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "probs"
    assert [path.name for path in folder.iterdir()] == ["a.npz"]
    assert run(["audit", name, "--json", "-", "--out", "page.html"]) == 0
    json.loads(capsys.readouterr().out)
    assert (folder / "page.html").stat().st_size > 10_000


def test_keys_are_named_by_options(folder, capsys):
    logits, labels = draw()
    name = save(net_a_probs=softmax(logits), net_b_probs=softmax(logits / 2), y=labels)
    assert run(["audit", "--probs", "net_b_probs", "--labels", "y", name, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["lean"] == "under-confident"


def test_the_temperature_is_fitted_on_another_file_if_there_is_one(folder, capsys):
    logits, labels = draw(1000, sharpness=3.0, seed=1)
    name = save(val_logits=logits, val_labels=labels, logits=logits[:200], labels=labels[:200])
    options = ["--logits", "logits", "--calibration", name, "--calibration.logits", "val_logits"]
    assert run(["audit", name, *options, "--calibration.labels", "val_labels", "--json", "-"]) == 0
    scaling = json.loads(capsys.readouterr().out)["scaling"]
    assert scaling["source"] == "a.npz: val_logits"
    assert (scaling["rows"], scaling["improves"]) == (200, True)
    assert 2.5 < scaling["temperature"] < 3.5


def test_two_models_are_compared(folder, capsys):
    logits, labels = draw(1000)
    name = save(a_logits=logits, b_logits=3 * logits, labels=labels)
    arguments = ["audit", name, "--logits", "a_logits", "--against", name]
    assert run([*arguments, "--against.logits", "b_logits", "--json", "a.json"]) == 0
    assert "b_logits is worse calibrated than a_logits" in capsys.readouterr().out
    found = json.loads((folder / "a.json").read_text())
    assert found["differences"]["expected_calibration_error"]["low"] > 0
    page = (folder / "a-audit.html").read_text()
    assert "b_logits against a_logits" in page
    save("other.npz", logits=logits, labels=np.roll(labels, 1))
    assert run([*arguments[:4], "--against", "other.npz", "--against.logits", "logits"]) == 2
    error = capsys.readouterr().err
    assert "other.npz: logits has the label" in error
    assert error.count("\n") == 1
    assert (folder / "a-audit.html").read_text() == page


def changed(array, row, column, value):
    array = array.copy()
    array[row, column] = value
    return array


LOGITS, LABELS = draw()
PROBS = softmax(LOGITS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"logits": changed(LOGITS, 321, 2, np.nan)},
            "a.npz: logits must hold no NaN, got one in row 321; mend",
        ),
        (
            {"logits": changed(LOGITS, 321, 2, np.inf)},
            "must be finite or -inf, got inf in row 321; mend or drop that sample",
        ),
        ({"logits": changed(LOGITS, 321, slice(None), -np.inf)}, "row 321 is all -inf;"),
        (
            {"probs": changed(PROBS, 321, 2, np.nan)},
            "must have entries in [0, 1], got nan in row 321; if these",
        ),
        (
            {"probs": changed(PROBS, 321, 2, -0.1)},
            "must have entries in [0, 1], got -0.1 in row 321;",
        ),
        (
            {"probs": changed(PROBS, 321, 2, np.inf)},
            "must have entries in [0, 1], got inf in row 321;",
        ),
        (
            {"probs": changed(PROBS, 321, slice(None), 0.3)},
            "row 321 sums to 1.5; save more digits, or",
        ),
        ({"probs": LOGITS}, "in row 0; if these are logits, say --logits probs"),
        ({"logits": PROBS}, "every row is a distribution (entries in [0, 1], sum 1); say --probs"),
        ({"logits": LOGITS[:, :1], "labels": LABELS * 0}, "at least 2 classes, got 1"),
        ({"logits": LOGITS[:, :0]}, "at least 2 classes, got 0"),
        ({"logits": LOGITS[:0], "labels": LABELS[:0]}, "holds no rows"),
        ({"labels": LABELS * 0 + 3}, "one class only: every label is 3"),
        (
            {"labels": np.where(np.arange(400) == 399, 5, LABELS)},
            "a.npz: labels must hold whole numbers in 0 .. 4, got 5 in row 399",
        ),
        (
            {"labels": np.where(np.arange(400) == 7, -1, LABELS)},
            "0 .. 4, got -1 in row 7; if -1 marks what has no label, say --ignore-index -1",
        ),
        ({"labels": np.where(np.arange(400) == 7, 1.5, LABELS)}, "0 .. 4, got 1.5 in row 7"),
        ({"labels": np.where(np.arange(400) == 7, np.nan, LABELS)}, "0 .. 4, got nan in row 7"),
        ({"labels": LABELS[:399]}, "must have shape (400,), one label for each row"),
        ({"logits": np.array([{}, 2])}, "pickled Python objects, which are never loaded"),
        ({"scores": LOGITS, "logits": None}, "it has labels, scores: choose with --logits"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arrays, message, folder, capsys):
    scores = {} if {"probs", "logits"} & set(arrays) else {"logits": LOGITS}
    given = {"labels": LABELS, **scores, **arrays}
    name = save(**{name: array for name, array in given.items() if array is not None})
    (folder / "a-audit.html").write_text("an earlier page")
    assert run(["audit", name, "--json", "a.json"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert (folder / "a-audit.html").read_text() == "an earlier page"
    assert sorted(path.name for path in folder.iterdir()) == ["a-audit.html", "a.npz"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--logits", "logits", "--probs", "logits"], "cannot both be meant"),
        (["--logits", "nope"], "a.npz has no 'nope'; it has logits, labels"),
        (["--labels", "nope"], "a.npz has no 'nope'; it has logits, labels"),
        (["--labels", "nope.npy"], "cannot read nope.npy (No such file or directory); name a"),
        (["--calibration", "nope.npz"], "cannot read nope.npz"),
        (["--against", "nope.npz"], "cannot read nope.npz"),
        (["--against", "a.npz"], "a.npz: logits cannot be compared with itself; for another"),
        (["--against", "a.npz", "--calibration", "a.npz"], "--calibration serves one model"),
        (["--calibration", "a.npz"], "cannot be fitted on and judged by at once; leave --calib"),
        (["--out", "a.x", "--json", "a.x"], "--out and --json are the same file, a.x"),
        (["--out", "y.npy", "--labels", "y.npy"], "y.npy is read, so it cannot be written"),
        (["--out", "a.npz"], "a.npz is read, so it cannot be written"),
        (["--out", "."], "cannot write ., it is a folder"),
        (["--out", "no/such/a.html"], "its folder is missing or not writable; make it, or"),
        (["--out", "a" * 300 + "/a.html"], "its folder is missing or not writable; make it, or"),
        (["--json", "a" * 300], " (File name too long); choose another name"),
        (["--labels", "a" * 300 + ".npy"], ".npy (File name too long); name a file"),
        (["--out", "a.npz/a.html"], "a.npz/a.html: its folder is missing or not writable"),
        (["--json", "no/such/a.json"], "its folder is missing or not writable"),
        (["--threads", "0"], "--threads must be a whole number from 1"),
    ],
)
def test_options_that_cannot_be_followed_are_one_line(options, message, folder, capsys):
    name = save(logits=LOGITS, labels=LABELS)
    before = (folder / name).read_bytes()
    assert run(["audit", name, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["a.npz"]
    assert (folder / name).read_bytes() == before


def test_files_that_may_not_or_cannot_be_read_are_one_line(folder, capsys, monkeypatch):
    (folder / "loop.npz").symlink_to("loop.npz")
    assert run(["audit", "loop.npz"]) == 2
    assert "cannot read loop.npz (" in capsys.readouterr().err
    name = save(logits=LOGITS, labels=LABELS)

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read what forbids it
    assert run(["audit", name]) == 2
    assert capsys.readouterr().err.endswith(
        "cannot read a.npz (Permission denied); name a file that may be read\n"
    )


def test_a_compressed_file_says_what_it_needs(folder, capsys):
    np.savez_compressed("a.npz", logits=np.tile(LOGITS, (200, 1)), labels=np.tile(LABELS, 200))
    assert run(["audit", "a.npz", "--json", "a.json"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "a.npz is compressed: 2 MB are unpacked while it is read, which takes time" in printed
    assert "2 MB are unpacked" in (folder / "a-audit.html").read_text()


def test_names_in_brackets_are_shown_as_they_are(folder, capsys):
    for name in ("a[b].npz", "v[red].npz"):
        save(name, logits=LOGITS, labels=LABELS)
    assert run(["audit", "a[b].npz", "--calibration", "v[red].npz"]) == 0
    said = capsys.readouterr().out
    assert "T fitted on v[red].npz" in said
    assert str(folder / "a[b]-audit.html") in said
    assert run(["audit", "a[b].npz", "--against", "v[red].npz"]) == 0
    assert "v[red].npz minus a[b].npz" in capsys.readouterr().out


def test_an_output_that_is_a_link_to_the_input_is_refused(folder, capsys):
    name = save(logits=LOGITS, labels=LABELS)
    (folder / "a.html").symlink_to(name)
    assert run(["audit", name, "--out", "a.html"]) == 2
    assert "a.html is read, so it cannot be written" in capsys.readouterr().err


def test_a_file_without_errors_has_no_temperature(folder, capsys):
    logits, _ = draw()
    name = save(logits=logits, labels=logits.argmax(1))
    assert run(["audit", name, "--json", "a.json"]) == 0
    scaling = json.loads((folder / "a.json").read_text())["scaling"]
    assert scaling["at_bound"]
    assert "No temperature can be determined: all 400 rows" in capsys.readouterr().out


def test_a_probability_of_zero_at_the_label_is_said(folder, capsys):
    probs = PROBS.copy()
    probs[5] = np.eye(5)[(LABELS[5] + 1) % 5]
    assert run(["audit", save(probs=probs, labels=LABELS), "--json", "a.json"]) == 0
    found = json.loads((folder / "a.json").read_text())
    assert found["scaling"] is None
    assert "1 of 400 rows give the true class the probability 0" in found["not_scaled"]
    assert found["measures"]["negative_log_likelihood"]["value"] is None
    assert "Temperature scaling was not tried" in capsys.readouterr().out


def test_an_encoding_without_the_signs_shows_plainer_ones(folder):
    result = subprocess.run(
        [sys.executable, "-m", "softtargets", "audit", save(logits=LOGITS, labels=LABELS)],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.isascii()
    assert "?" not in result.stdout
