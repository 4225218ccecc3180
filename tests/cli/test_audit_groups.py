"""`softtargets audit --group`: what is printed, written and refused."""

import json

import numpy as np
import pytest

from softtargets.cli.app import run
from tests.audit.test_groups import bursts
from tests.cli.test_audit import folder, save

__all__ = ["folder"]  # a fixture


def saved(name="a.npz", **changes):
    logits, labels, names = bursts(sharpness=2.0)
    arrays = {"logits": logits, "labels": labels, "burst": names} | changes
    return save(name, **{key: np.asarray(array) for key, array in arrays.items()})


def test_groups_become_a_verdict_a_page_and_numbers(folder, capsys):
    assert run(["audit", saved(), "--group", "burst", "--json", "a.json"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    found = json.loads((folder / "a.json").read_text())
    page = (folder / "a-audit.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    groups, brought = found["num_samples"], found["aggregation"]
    basis = (
        f"900 predictions in {groups} groups by burst, {brought['smallest']} to "
        f"{brought['largest']} each"
    )
    finding = found["verdict"]["findings"]["What does averaging bring?"][0]
    error = 100 * brought["single"]["expected_calibration_error"]["value"]
    for text in (basis, finding, f"{error:.2f} %", "What averaging brings"):
        assert text in printed
        assert text in page
    assert found["verdict"]["headline"] in printed
    assert "All groups" in page
    assert "sample" not in printed
    assert brought["num_predictions"] == 900
    assert brought["single"]["expected_calibration_error"]["low"] is None
    change = brought["difference"]["accuracy"]
    assert 0 < change["low"] < change["value"] < change["high"]
    assert "Groups tell nothing for or against label smoothing" in printed


def test_groups_of_two_models_and_of_a_calibration_file(folder, capsys):
    logits = bursts(sharpness=9.0)[0]
    saved("b.npz", logits=logits)
    assert run(["audit", saved(), "--group", "burst", "--against", "b.npz"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "b.npz minus a.npz, paired by group" in printed
    assert printed.count("Averaging logits by burst takes accuracy") == 2
    page = (folder / "a-audit.html").read_text()
    assert "paired by group" in page
    assert "The same 900 predictions in" in page
    logits, labels, names = bursts(seed=1, sharpness=2.0)
    save("c.npz", logits=logits, labels=labels, seq=names)
    arguments = ["audit", "a.npz", "--group", "burst", "--calibration", "c.npz"]
    assert run([*arguments, "--calibration.group", "seq"]) == 0
    assert "groups, T fitted on c.npz" in " ".join(capsys.readouterr().out.split())
    assert run(arguments) == 2
    assert "c.npz has no 'burst' to group by; it has logits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group", "seq"], "a.npz has no 'seq' to group by; it has logits, labels, burst"),
        (["--group", "labels", "--labels", "labels"], "--group labels cannot be the predictions"),
        (["--group", "g.npy"], "cannot read g.npy"),
        (["--group", "labels"], "a.npz has no `labels`; it has logits, burst"),
        (["--against", "a.npz", "--against.group", "burst"], "FILE is not grouped; say --group"),
        (["--calibration", "a.npz", "--calibration.group", "burst"], "FILE is not grouped;"),
        (["--group", "a-g.npy", "--out", "a-g.npy"], "a-g.npy is read, so it cannot be written"),
        (["--group", "wrong"], "labels must be the same in all of a group, 0 of wrong has"),
    ],
)
def test_what_cannot_be_grouped_is_one_line(options, message, folder, capsys):
    saved(wrong=np.arange(900) // 30)
    before = sorted(folder.iterdir())
    assert run(["audit", "a.npz", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_a_certain_mistake_has_an_infinite_loss_that_is_shown(folder, capsys):
    logits, labels, names = bursts()
    exponentials = np.exp(logits.double().numpy())
    probs = exponentials / exponentials.sum(1, keepdims=True)
    probs[3] = np.eye(4)[(int(labels[3]) + 1) % 4]
    save("a.npz", probs=probs, labels=labels, burst=names)
    assert run(["audit", "a.npz", "--group", "burst", "--json", "a.json"]) == 0
    found = json.loads((folder / "a.json").read_text())
    brought = found["aggregation"]
    assert brought["single"]["negative_log_likelihood"]["value"] is None
    assert brought["difference"]["negative_log_likelihood"]["value"] is None
    assert "groups give the true class the probability 0" in found["not_scaled"]
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "NLL from inf to inf (–)" in " ".join(printed.split())
