"""`softtargets audit` of sequences, label maps and clusters: what is printed, written, refused."""

import json

import numpy as np
import pytest

from softtargets.cli.app import run
from tests.audit.test_layouts import sequences
from tests.cli.test_audit import folder, save

__all__ = ["folder"]  # a fixture


def maps(name="a.npz", *, void=11, **changes):
    logits, labels = sequences(24, 20, 4, ignored=void)
    logits = np.moveaxis(logits.reshape(24, 5, 4, 4), -1, 1)
    return save(name, **({"logits": logits, "labels": labels.reshape(24, 5, 4)} | changes))


def test_label_maps_become_a_verdict_a_page_and_numbers(folder, capsys):
    name = maps()
    assert run(["audit", name]) == 2
    error = capsys.readouterr().err
    assert "in 0 .. 3, got 11 in position (" in error
    assert "if 11 marks what has no label, say --ignore-index 11" in error
    assert error.count("\n") == 1
    assert run(["audit", name, "--ignore-index", "11", "--json", "a.json"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    found = json.loads((folder / "a.json").read_text())
    page = (folder / "a-audit.html").read_text()
    count, sampling = found["num_samples"], found["sampling"]
    assert count + sampling["ignored"] == 24 * 20
    basis = f"{count} positions in 23 images, {sampling['ignored']} ignored; 4 classes"
    for shown in (printed, page):
        assert basis in shown
    assert "95 % intervals for whole images drawn" in printed
    assert "Intervals for whole images drawn hold" in page
    cautions = found["verdict"]["findings"]["How far can this be trusted?"]
    assert f"{sampling['ignored']} positions without a label are left out." in cautions
    assert any("whole images, 23 here" in caution for caution in cautions)
    assert any("23 images are few" in caution for caution in cautions)


def test_two_models_a_calibration_file_and_drawn_positions(folder, capsys):
    name = maps(void=-100)
    logits = np.load(name)["logits"]
    other = maps("b.npz", void=-100, logits=3 * logits)
    assert run(["audit", name, "--against", other, "--positions", "15"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "paired by position; 95 % intervals for whole images drawn" in printed
    page = (folder / "a-audit.html").read_text()
    assert "(15 of 20 positions of each image drawn at random, seeded); 4 classes" in page
    assert run(["audit", other, "--calibration", name, "--json", "-"]) == 0
    scaling = json.loads(capsys.readouterr().out)["scaling"]
    assert 2 < scaling["temperature"] < 5
    assert scaling["source"] == "a.npz: logits"


def test_clusters_are_drawn_as_a_whole(folder, capsys):
    logits, labels = sequences(30, 12, 4, ignored=2)
    arrays = {"logits": logits.reshape(-1, 4), "labels": labels.flatten()}
    name = save("a.npz", **arrays, video=np.arange(360) // 12)
    assert run(["audit", name, "--cluster", "video"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "360 samples in 30 clusters by video, drawn as a whole; 4 classes" in printed
    for options, message in [
        (["--cluster", "seq"], "a.npz has no 'seq' to cluster by; it has logits, labels, video"),
        (["--against", name, "--against.cluster", "video"], "FILE has no clusters; say --cluster"),
        (["--cluster", "video", "--group", "video"], "cannot both be meant"),
        (["--positions", "0"], "--positions must be at least 1, got 0"),
        (["--ignore-index", "2.2"], "it must be a whole number, got '2.2'"),
    ]:
        assert run(["audit", name, *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("option", [["--class-dim", "-1"], ["--class-dim", "1"]])
def test_the_place_of_the_classes_can_be_said(option, folder, capsys):
    logits, labels = sequences(30, 4, 4)
    assert run(["audit", save(logits=logits, labels=labels)]) == 2
    assert "say --class-dim -1 or --class-dim 1" in capsys.readouterr().err
    assert run(["audit", "a.npz", *option, "--ignore-index", "-100", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sampling"]["unit"] == ("sequence" if option[1] == "-1" else "image")
