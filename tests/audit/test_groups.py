"""Logits averaged while a file is read, against the whole arrays at once."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from softtargets.audit import groups, predictions, tiles
from softtargets.audit.against import compare
from softtargets.audit.errors import AuditError
from softtargets.audit.files import open_predictions
from softtargets.audit.groups import group_rows
from softtargets.audit.naming import Keys
from softtargets.audit.run import audit, read
from softtargets.calibration import (
    TemperatureScaling,
    accuracy,
    aggregate,
    brier_score,
    evaluate,
    expected_calibration_error,
    negative_log_likelihood,
)
from softtargets.report.audit.record import record
from tests.audit.conftest import draw, write_csv, write_safetensors
from tests.audit.test_run import of


def bursts(rows=900, classes=4, *, most=5, seed=0, sharpness=1.0):
    """Logits, labels and groups of 1 to `most` rows that do not follow each other."""
    generator = np.random.default_rng(seed)
    names = generator.integers(2 * rows // (most + 1), size=rows)
    labels = generator.integers(classes, size=names.max() + 1)[names]
    logits = generator.standard_normal((rows, classes)).astype(np.float32)
    logits[np.arange(rows), labels] += 1
    return torch.from_numpy(sharpness * logits), torch.from_numpy(labels), names


def in_groups(logits, labels, names, kind="logits"):
    column = group_rows("x.npz: burst", "burst", [list(map(str, names))], logits.shape[1])
    return replace(of(logits, labels, kind), grouping=column)


@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_values_are_those_of_the_averaged_arrays(kind, monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 60)
    logits, labels, names = bursts()
    scores = logits if kind == "logits" else logits.double().softmax(-1)
    found = audit(read(in_groups(scores, labels, names, kind)))
    whole = aggregate(logits, names, labels)
    report = evaluate(whole.logits, whole.labels)
    assert (found.num_samples, found.unit) == (len(whole), "group")
    for name in ("accuracy", "negative_log_likelihood", "brier_score"):
        value, expected = getattr(found.measures, name), getattr(report, name)
        assert value.value == pytest.approx(expected.value, rel=1e-6)
        assert (value.low, value.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    error, expected = (
        found.measures.expected_calibration_error,
        report.expected_calibration_error_debiased,
    )
    assert error.value == pytest.approx(expected.value, abs=1e-6)
    assert (error.low, error.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    fitted = TemperatureScaling().fit(whole.logits, whole.labels).temperature
    assert found.scaling.temperature == pytest.approx(fitted, rel=1e-5)
    assert found.scaling.rows == len(whole)
    single, probs = found.aggregation.single, logits.double().softmax(-1)
    assert found.aggregation.num_predictions == 900
    ends = found.aggregation.smallest, found.aggregation.largest
    assert ends == (int(whole.counts.min()), int(whole.counts.max()))
    assert single.accuracy.value == pytest.approx(float(accuracy(probs, labels)))
    nll = float(negative_log_likelihood(logits, labels))
    assert single.negative_log_likelihood.value == pytest.approx(nll)
    assert single.brier_score.value == pytest.approx(float(brier_score(probs, labels)))
    error = float(expected_calibration_error(probs, labels, debiased=True))
    assert single.expected_calibration_error.value == pytest.approx(error)
    for name in single.__slots__:
        change = getattr(found.aggregation.difference, name).value
        expected = getattr(found.measures, name).value - getattr(single, name).value
        assert change == pytest.approx(expected, abs=1e-9)


def test_intervals_of_single_predictions_are_those_of_groups_drawn():
    logits, labels, names = bursts(1500, most=9, sharpness=2.0)
    found = audit(read(in_groups(logits, labels, names))).aggregation
    whole = aggregate(logits, names, labels)
    rows = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    means = torch.nn.functional.cross_entropy(whole.logits, whole.labels, reduction="none")
    sums = torch.zeros(len(whole)).double().index_add_(0, whole.inverse, rows)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(whole), (2000, len(whole)), generator=generator)
    single = sums[drawn].sum(1) / whole.counts[drawn].sum(1)
    changes = means[drawn].mean(1) - single
    for estimate, draws in (
        (found.single.negative_log_likelihood, single),
        (found.difference.negative_log_likelihood, changes),
    ):
        half = (estimate.high - estimate.low) / 2
        assert half == pytest.approx(1.96 * float(draws.std()), rel=0.08)
        assert estimate.value == pytest.approx(float(draws.mean()), abs=0.2 * half)
    every = torch.arange(1500).repeat_interleave(4)  # each row four times tells no more
    repeated = audit(read(in_groups(logits[every], labels[every], every))).aggregation
    ends = repeated.single.negative_log_likelihood
    assert (ends.high - ends.low) / 2 == pytest.approx(
        1.96 * float(rows.std()) / 1500**0.5, rel=1e-4
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=25, max_size=60), st.integers(1, 70), st.booleans())
def test_any_order_and_blocks_give_each_group_once(names, rows_per_block, shuffled_labels):
    generator = torch.Generator().manual_seed(len(names))
    labels = torch.tensor([3, 1, 0, 2] * 3)[torch.tensor(names) + shuffled_labels]
    labels[0] = labels[torch.tensor(names) == names[0]][0]
    logits = torch.randn(len(names), 4, generator=generator, dtype=torch.float64)
    if len(set(labels.tolist())) < 2:
        return
    given_rows = replace(
        in_groups(logits, labels, names),
        read=lambda: (
            pair
            for pair in zip(logits.split(rows_per_block), labels.split(rows_per_block), strict=True)
        ),
    )
    found = read(given_rows)
    whole = aggregate(logits, list(map(str, names)), labels)
    order = given_rows.grouping.completed
    torch.testing.assert_close(found.sample.scores, whole.logits[order], rtol=1e-12, atol=1e-14)
    assert torch.equal(found.sample.labels, whole.labels[order])
    assert len(found.tally) == len(whole)
    assert len(found.single) == len(names)


def test_groups_of_one_row_change_nothing():
    logits, labels = map(torch.from_numpy, draw(500))
    alone, grouped = read(of(logits, labels)), read(in_groups(logits, labels, range(500)))
    assert torch.equal(alone.sample.scores, grouped.sample.scores)
    one, other = audit(alone), audit(grouped)
    assert one.measures == other.measures
    assert other.aggregation.difference.accuracy.value == 0
    assert other.aggregation.single.accuracy.value == one.measures.accuracy.value
    answers = record(other)["verdict"]["findings"]["What does averaging bring?"]
    assert answers == ["Averaging changes nothing: every group holds one prediction."]
    assert record(one)["aggregation"] is None


def test_only_unfinished_groups_are_held_and_too_many_are_refused_before_reading(monkeypatch):
    names = np.arange(3000) // 3
    column = group_rows("a: g", "g", [names.tolist()], 1000)
    assert (len(column), column.most_open) == (1000, 1)
    shuffled = np.concatenate([np.arange(1000), np.arange(1000)]).tolist()
    assert group_rows("a: g", "g", [shuffled], 1000).most_open == 1000
    monkeypatch.setattr(groups, "LARGEST_OPEN", 2**22)
    group_rows("a: g", "g", [names.tolist()], 1000)
    with pytest.raises(
        AuditError, match=r"a: g has up to 1,000 groups .* 0\.0 GiB .* sort the rows by g"
    ):
        group_rows("a: g", "g", [shuffled], 1000)


def test_probabilities_of_zero_rule_a_class_out():
    probs = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    labels = torch.tensor([1, 1, 2])
    found = read(in_groups(probs, labels, [0, 0, 1], "probs"))
    assert found.sample.scores[0].softmax(-1).tolist() == [0.0, 1.0, 0.0]
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    with pytest.raises(AuditError, match="above 0 in the group '0' of burst: its rows rule out"):
        read(in_groups(certain, torch.tensor([0, 0, 1]), [0, 0, 1], "probs"))


def test_labels_that_differ_name_group_rows_and_labels(monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 60)
    logits, labels, names = bursts()
    row = int((names == names[5]).nonzero()[0][-1])
    assert row != 5
    labels = labels.clone()
    first = int(labels[5])
    labels[row] = (first + 1) % 4
    expected = f"'{names[5]}' of burst has {first} in row {int((names == names[5]).argmax())} and "
    with pytest.raises(AuditError, match=f"{expected}{(first + 1) % 4} in row {row}; split"):
        read(in_groups(logits, labels, names))


def test_a_calibration_file_is_averaged_too():
    logits, labels, names = bursts(sharpness=6.0)
    others = bursts(600, seed=1, sharpness=6.0)
    fitted = replace(in_groups(*others), path=Path("validation.npz"))
    scaling = audit(read(in_groups(logits, labels, names)), read(fitted)).scaling
    whole = aggregate(others[0], others[2], others[1])
    expected = TemperatureScaling().fit(whole.logits, whole.labels).temperature
    assert scaling.temperature == pytest.approx(expected, rel=1e-5)
    assert scaling.improves
    with pytest.raises(AuditError, match="must both be grouped, or neither: a temperature"):
        audit(read(in_groups(logits, labels, names)), read(replace(fitted, grouping=None)))


def test_two_models_are_compared_by_group():
    logits, labels, names = bursts()
    other = in_groups(3 * logits, labels, names)
    found = compare(read(in_groups(logits, labels, names)), read(other))
    one, two = (aggregate(each, names, labels) for each in (logits, 3 * logits))
    losses = [float(negative_log_likelihood(each.logits, each.labels)) for each in (one, two)]
    assert found.differences.negative_log_likelihood.value == pytest.approx(
        losses[1] - losses[0], rel=1e-5
    )
    with pytest.raises(AuditError, match="must both be grouped, or neither; leave"):
        compare(read(in_groups(logits, labels, names)), read(of(logits, labels)))
    moved = names.copy()
    moved[7] = 10_000
    with pytest.raises(
        AuditError, match=r"puts row (\d+) into .* '4' that begins in row \1, .* in row 7;"
    ):
        compare(read(in_groups(logits, labels, names)), read(in_groups(logits, labels, moved)))
    wrong = torch.where(torch.from_numpy(names == names[7]), (labels + 1) % 4, labels)
    with pytest.raises(AuditError, match=f"has the label .* in the group '{names[7]}', x.npz"):
        compare(read(in_groups(logits, labels, names)), read(in_groups(logits, wrong, names)))


def npz(folder, logits, labels, names):
    np.savez(folder / "a.npz", logits=logits, labels=labels, burst=names)
    return folder / "a.npz", Keys(group="burst")


def npz_of_strings(folder, logits, labels, names):
    named = np.array([f"côté/{name}" for name in names])
    np.savez_compressed(folder / "a.npz", logits=logits, labels=labels, burst_label=named)
    return folder / "a.npz", Keys(group="burst_label")


def npy(folder, logits, labels, names):
    np.save(folder / "logits.npy", logits)
    np.save(folder / "y.npy", labels)
    np.save(folder / "g.npy", names.astype(">u2"))
    return folder / "logits.npy", Keys(labels=str(folder / "y.npy"), group=str(folder / "g.npy"))


def safetensors(folder, logits, labels, names):
    tensors = {"logits": logits, "labels": labels, "burst": names.astype(np.int64)}
    write_safetensors(folder / "a.safetensors", tensors)
    return folder / "a.safetensors", Keys(group="burst")


def csv(folder, logits, labels, names):
    write_csv(folder / "a.csv", logits, labels)
    lines = (folder / "a.csv").read_text().splitlines()
    # Of all names the one most like a class, and a label's.
    cells = ["logit_4", *map(str, names)]
    joined = [f"{line},{cell} " for line, cell in zip(lines, cells, strict=True)]
    (folder / "a.csv").write_text("\n".join(joined))
    return folder / "a.csv", Keys(group="logit_4")


def parquet(folder, logits, labels, names, kind="string"):
    arrow, files = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    column = arrow.array(list(map(str, names))) if kind == "string" else arrow.array(names)
    classes = {f"prob_{k}": logits[:, k] for k in range(logits.shape[1])}
    named = {"seq_prob": column, "label": labels, **classes}
    files.write_table(arrow.table(named), folder / "a.parquet", row_group_size=150)
    return folder / "a.parquet", Keys(group="seq_prob", logits="prob")


def parquet_lists(folder, logits, labels, names):
    arrow, files = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    column = arrow.array(list(map(str, names))).dictionary_encode()
    table = arrow.table({"label": labels, "logits": list(logits), "burst": column})
    files.write_table(table, folder / "a.parquet", row_group_size=150)
    return folder / "a.parquet", Keys(group="burst")


@pytest.mark.parametrize(
    "save", [npz, npz_of_strings, npy, safetensors, csv, parquet, parquet_lists]
)
def test_every_format_has_groups(save, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 250)
    monkeypatch.setattr(tiles, "_TILE_ELEMENTS", 600)
    monkeypatch.setattr("softtargets.audit.pairing._NAMES_AT_ONCE", 70)
    logits, labels, names = bursts(400)
    path, keys = save(tmp_path, logits.numpy(), labels.numpy(), names)
    opened = open_predictions(path, keys)
    assert opened.num_classes == 4
    assert opened.grouping.column == Path(keys.group).stem
    found = read(opened)
    whole = aggregate(logits, names, labels)
    assert torch.equal(opened.grouping.index, whole.inverse)
    scores, expected = found.sample.scores, whole.logits[opened.grouping.completed].float()
    torch.testing.assert_close(scores.float(), expected, rtol=1e-6, atol=1e-6)


def refused(message, path, **keys):
    with pytest.raises(AuditError, match=message) as error:
        open_predictions(path, Keys(**keys))
    assert "\n" not in str(error.value)


def test_what_is_no_column_of_groups_is_refused(tmp_path):
    logits, labels, names = bursts(40)
    arrays = {"logits": logits, "labels": labels, "burst": names}
    np.savez(tmp_path / "a.npz", **arrays, half=names / 2, few=names[:39], blank=["", *"b" * 39])
    path = tmp_path / "a.npz"
    refused(
        "no 'seq' to group by; it has logits, labels, burst, half, few, blank", path, group="seq"
    )
    refused("half must hold whole numbers or strings to group by, got float64", path, group="half")
    refused(r"few must have shape \(40,\), one group for each row of .*logits", path, group="few")
    refused("blank names no group in row 0; give", path, group="blank")
    coded = np.array(["b"] * 39 + [""], dtype=bytes)
    np.savez(tmp_path / "coded.npz", logits=logits, labels=labels, coded=coded)
    refused("coded names no group in row 39; give", tmp_path / "coded.npz", group="coded")
    refused("cannot read .*nope.npy", path, group=str(tmp_path / "nope.npy"))
    with pytest.raises(AuditError, match="--group y cannot be the predictions or labels too"):
        Keys(group="y", labels="y")
    write_csv(tmp_path / "a.csv", logits.numpy(), labels.numpy())
    refused(
        "a.csv has no 'seq' to group by; it has name, label, logit_0",
        tmp_path / "a.csv",
        group="seq",
    )
    refused("is a table; add the groups to it as a column", tmp_path / "a.csv", group="g.npy")
    text = (tmp_path / "a.csv").read_text().replace('"no. 7"', "")
    (tmp_path / "a.csv").write_text(text)
    refused("a.csv: name names no group in row 7", tmp_path / "a.csv", group="name")
    (tmp_path / "a.csv").write_text(text.splitlines()[0] + "\n")
    refused("a.csv: name holds no rows", tmp_path / "a.csv", group="name")


def test_parquet_columns_that_are_no_groups_are_refused(tmp_path):
    arrow, files = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    logits, labels, _ = bursts(40)
    columns = {"label": labels.numpy(), "logits": list(logits.numpy())}
    columns |= {"time": np.linspace(0, 1, 40), "burst": [*range(30), None, *range(9)]}
    files.write_table(arrow.table(columns), tmp_path / "a.parquet")
    path = tmp_path / "a.parquet"
    refused("time must hold whole numbers or strings to group by, got double", path, group="time")
    refused("burst is null in row 30; fill it in", path, group="burst")


SCRIPT = """
import json, resource, sys
from pathlib import Path
from softtargets.audit.files import open_predictions
from softtargets.audit.naming import Keys
from softtargets.audit.run import read
folder = Path(sys.argv[1])


def peak(folder):
    keys = Keys(labels=str(folder / "y.npy"), group=str(folder / "g.npy"))
    read(open_predictions(folder / "logits.npy", keys))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak(folder / "small")
print(json.dumps(peak(folder) - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured as Linux reports it")
def test_200_mb_in_bursts_are_read_in_little_memory(tmp_path):
    rows, classes = 200_000, 250
    (tmp_path / "small").mkdir()
    for folder, count in ((tmp_path, rows), (tmp_path / "small", 500)):
        np.save(folder / "g.npy", np.arange(count) // 2)
        np.save(folder / "y.npy", np.arange(count) // 2 % classes)
    np.save(tmp_path / "small" / "logits.npy", np.zeros((500, classes), np.float32))
    np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float32, (rows, classes)).flush()
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    # 100,000 means in float64 would be 200 MB. 50 MB are the sample's, 25 the numbers per row and
    # group, 20 the names.
    assert json.loads(result.stdout) < 150
